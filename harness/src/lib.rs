//! Starts a Hyperledger Fabric network, deploys a chaincode to it, checks it, and stops it.
//!
//! A test starts a [`Network`] and calls the chaincode. The crate [`fabric_network`] describes
//! a network; [`runtime`] runs it.
//!
//! ```no_run
//! use fabric_harness::{CallError, Network, TlsMode};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::builder("target/release/my-chaincode").topology("duo").tls(TlsMode::Mtls).start().await?;
//! network.call(["CreateAsset", "a1", "blue"]).identity("User1@Org1").submit().await?;
//! match network.call(["ReadAsset", "a2"]).evaluate().await {
//!     Err(CallError::Client(error)) => assert!(error.chaincode_error().is_some()),
//!     other => panic!("an error of the chaincode was expected: {other:?}"),
//! }
//! network.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! All are enabled by default. `docker` and `kubernetes` add the runtimes of these names; `cli` adds the
//! commands of the program `fabric-harness`. Without them, the runtimes process and embedded remain.
//!
//! # Layers
//!
//! The modules are listed from the lowest layer up. A module uses modules of its own and of lower layers;
//! `xtask/tests/it/layers.rs` checks it.

#![cfg_attr(
    not(feature = "cli"),
    allow(dead_code, unreachable_pub, unused_imports, reason = "only the commands use it")
)]

// The terminal and what is recorded of a run.
pub mod console;
mod evidence;
mod interrupt;
mod journal;
mod wait;

// What a runtime is made of.
pub mod cleanup;
pub mod client;
pub mod server;
mod tap;

pub mod runtime;

// What is done with a network that runs.
pub mod check;
pub mod couchdb;
pub mod deploy;
pub mod explain;

// What is asked for.
mod options;
mod plan;

pub mod network;

// The commands.
#[cfg(feature = "cli")]
mod bundle;
#[cfg(feature = "cli")]
mod daemon;
#[cfg(feature = "cli")]
mod doctor;
#[cfg(feature = "cli")]
mod packaging;
#[cfg(feature = "cli")]
mod probe;
#[cfg(feature = "cli")]
mod run;

#[cfg(feature = "cli")]
mod report;

#[cfg(feature = "cli")]
pub mod program;

pub use check::Difference;
pub use check::definition::ChaincodeSection;
pub use client::{ClientError, Committed, Submitted};
pub use network::{Call, CallError, Network, NetworkBuilder, NetworkError, NotEmbedded, StopError, TopologySource};
pub use runtime::RuntimeChoice;
pub use server::TlsMode;

pub use fabric_network::topology::Topology;
