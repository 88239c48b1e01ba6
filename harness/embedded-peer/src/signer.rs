//! A node's own identity, and its signatures.
