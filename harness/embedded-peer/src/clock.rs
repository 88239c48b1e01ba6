//! The time that nodes go by, which a test may set.
