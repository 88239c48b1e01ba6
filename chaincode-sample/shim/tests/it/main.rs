//! The shim as a peer sees it: over loopback, without TLS, with TLS and with mutual TLS.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(unreachable_pub, reason = "the modules of a test are one program")]

mod certificates;
mod go;
mod limits;
mod operations;
mod peer;
mod server;
mod startup;
mod stub;
mod support;
