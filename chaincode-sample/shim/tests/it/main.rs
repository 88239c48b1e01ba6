//! The shim as a peer sees it: over loopback, plain, with TLS and with mutual
//! TLS. The contracts here are made for the tests.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
#![allow(unreachable_pub, reason = "modules of a test are one program")]

mod certificates;
mod go;
mod operations;
mod peer;
mod server;
mod startup;
mod stub;
mod support;
