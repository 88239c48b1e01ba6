//! The channel configuration as its nodes use it, and updates of it.
