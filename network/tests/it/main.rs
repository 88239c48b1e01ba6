//! Tests of the crate as its users see it. Those that need Fabric's own programs are ignored
//! unless asked for, and find the programs in the directory `FABRIC_BIN` or on `PATH`.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

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
