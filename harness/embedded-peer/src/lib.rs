//! A Hyperledger Fabric peer and orderer for development and tests, which run inside the caller's process.
//!
//! [`Network::start`] starts the nodes of a rendered network. They serve Fabric's gRPC services over TLS to
//! unmodified clients and chaincodes, run external builders as child processes, and keep their ledgers in
//! memory, and old blocks in a temporary file. Where they differ from Fabric, they are wrong.
//!
//! The modules are layers, listed from the bottom to the top: each uses only those listed before it.

// Time, events, faults.
pub mod clock;
pub mod trace;

pub mod faults;

// The blocks of all nodes.
mod block_store;

// Identities, policies, channel configuration.
pub mod msp;

pub mod policy;
pub mod signer;

pub mod config;

// Ledgers, chaincode definitions, validation of blocks.
pub mod ledger;

pub mod lifecycle;

pub mod validation;

// Chaincode packages, builders and servers.
#[doc(hidden)]
pub mod chaincode;

// Decoded messages, endorsement layouts.
mod envelope;
mod grpc_go;
mod layouts;

pub mod proposal;

// Nodes.
pub mod node;

pub mod deliver;

pub mod orderer;

pub mod channel;

pub mod peer;

// Services of a peer.
pub mod system;

pub mod endorser;

pub mod discovery;

pub mod gateway;

// The whole network.
pub mod network;

mod snapshot;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod testing;

pub use network::{Network, Options, StartError};
pub use snapshot::Snapshot;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
