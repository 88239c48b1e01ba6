//! Integration tests with child processes, sockets and files.

#![allow(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod chaincode;
