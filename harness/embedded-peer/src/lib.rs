//! A development peer and orderer of Hyperledger Fabric, in the caller's own process.
//!
//! It speaks Fabric's own services over gRPC and TLS to unmodified clients and chaincodes, and runs
//! the same external builders as child processes. It keeps its ledgers in memory. It is for
//! development and tests, and where it differs from Fabric, it is wrong.

pub mod chaincode;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod discovery;
pub mod endorser;
pub mod faults;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod ledger;
pub mod lifecycle;
pub mod msp;
pub mod network;
pub mod orderer;
pub mod peer;
pub mod policy;
mod powers;
pub mod signer;
pub mod system;
#[cfg(any(test, fuzzing))]
mod testing;
pub mod trace;
pub mod validation;

pub use powers::Snapshot;
