//! Which transactions of a block are valid, before their reads are checked against the state.
