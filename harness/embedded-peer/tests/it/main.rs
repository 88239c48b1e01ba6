//! The embedded peer's parts against the outside: child processes, sockets, files.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod chaincode;
