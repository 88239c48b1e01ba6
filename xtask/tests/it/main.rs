//! Tests of the repository itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod layers;
mod links;
mod modules;
