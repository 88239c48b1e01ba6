//! Tests of the public API. Those that need Fabric's programs, in the directory `FABRIC_BIN` or on `PATH`, are
//! ignored by default.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod certificates;
mod channel;
mod channel_fabric;
mod channel_fixture;
mod fabric;
mod files;
mod network;
mod operator;
mod operator_kubernetes;
mod running;
mod topologies;
