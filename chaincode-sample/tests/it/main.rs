//! The program as an operator runs it: environment, flags, a peer over TLS,
//! signals, exit codes.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
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
