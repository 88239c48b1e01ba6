//! Integration tests with child processes, sockets and files.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod chaincode;
