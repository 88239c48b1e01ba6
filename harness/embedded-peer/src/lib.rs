//! A development peer and orderer of Hyperledger Fabric, in the caller's own process.
//!
//! It speaks Fabric's own services over gRPC and TLS to unmodified clients and chaincodes, and runs
//! the same external builders as child processes. It keeps its ledgers in memory. It is for
//! development and tests, and where it differs from Fabric, it is wrong.
//!
//! The modules are layers: each uses only those above it in this list.

// What happens, when, and what is to go wrong.
pub mod clock;
pub mod trace;

pub mod faults;

// Who is who, who may do what, and a channel's configuration.
pub mod msp;

pub mod policy;
pub mod signer;

pub mod config;

// Ledgers, and what decides what is committed to them.
pub mod ledger;

pub mod lifecycle;

pub mod validation;

// Chaincodes and their servers.
pub mod chaincode;

// Messages taken apart, and who can endorse.
mod envelope;
pub mod layouts;

pub mod proposal;

// Nodes.
pub mod node;

pub mod deliver;

pub mod orderer;

pub mod channel;

pub mod peer;

// A peer's services.
pub mod system;

pub mod endorser;

pub mod discovery;

pub mod gateway;

// All of it.
pub mod network;

mod snapshot;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod testing;

pub use snapshot::Snapshot;
