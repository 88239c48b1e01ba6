//! Tests of the programs as a peer runs them, and of packages as a peer reads them. Unit tests are in
//! the modules.

// Helper functions of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod cases;
mod commands;
mod docs;
mod install;
mod package;
mod pki;
