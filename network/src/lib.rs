//! Generates every file of a Hyperledger Fabric network from a topology and a placement: keys, certificates,
//! genesis blocks, core.yaml, orderer.yaml, and the deployment for Compose, Kubernetes or systemd.
//!
//! The crate opens no sockets, starts no processes, and reads no clock and no environment. Its only side
//! effect is [`Bundle::write_to`](bundle::Bundle::write_to). Running a network is the job of the crate
//! `fabric-harness`.

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod bundle;
pub mod chaincode;
pub mod channel;
pub mod couchdb;
mod files;
pub mod identity;
pub mod logging;
pub mod node;
pub mod placement;
pub mod release;
pub mod render;
pub mod topology;
