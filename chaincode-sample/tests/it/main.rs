//! The programs as an operator runs them: environment, flags, TLS, signals and exit codes.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(unreachable_pub, dead_code, reason = "the peer is shared with the shim's tests")]

mod assets;
#[path = "../../shim/tests/it/certificates.rs"]
mod certificates;
mod conformance;
mod image;
#[path = "../../shim/tests/it/peer.rs"]
mod peer;
mod program;
mod running;
