//! The programs as a peer runs them, and packages as a peer reads them. What single functions do is
//! tested beside them.

// A test may panic; helpers outside of `#[test]` functions are tests too.
#![allow(clippy::unwrap_used)]

mod cases;
mod commands;
mod docs;
mod install;
mod package;
mod pki;
