//! Write a Hyperledger Fabric chaincode in Rust, and run it as a service.
//!
//! A chaincode is a [`Contract`] made of typed functions, or anything that
//! implements [`Chaincode`]. [`Server`] waits for peers, with TLS and mutual
//! TLS, and runs transactions side by side. What a transaction may ask of the
//! ledger is in [`Stub`]. [`mock::MockLedger`] tests a contract without a
//! network. [`protocol`] is the conversation with a peer as a
//! state machine without input or output.
//!
//! ```no_run
//! use chaincode_shim::{Config, Contract, Error, Server, Stub};
//!
//! async fn greet(stub: Stub, name: String) -> Result<String, Error> {
//!     stub.put_state("last", name.as_str()).await?;
//!     Ok(format!("hello {name}"))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let contract = Contract::new("Greeter").submit("Greet", greet);
//! let server = Server::builder(contract, Config::from_env()?).bind().await?;
//! eprintln!("listening on {}", server.local_addr());
//! server.serve().await?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate does not start a peer, does not package chaincode and knows no
//! contract: those are the rooms around it.

mod address;
mod arguments;
mod chaincode;
mod config;
mod contract;
mod endorsement;
mod health;
mod identity;
mod listener;
pub mod mock;
mod outbox;
pub mod protocol;
mod reload;
mod response;
mod server;
mod session;
mod stub;
mod tls;

pub use address::{AddressError, ListenAddress};
pub use arguments::{ArgumentError, Arguments, FromArgument, Json};
pub use chaincode::Chaincode;
pub use config::{Config, ConfigError, Options, variable};
pub use contract::{Contract, Contracts, Function, Signature};
pub use endorsement::{EndorsementPolicy, PolicyError, PrincipalRole};
pub use identity::{ClientIdentity, IdentityError, NodeRole};
pub use response::{Error, Response};
pub use server::{Server, ServerBuilder, ServerError};
pub use stub::{
    HistoryResults, KeyModification, KeyValue, Page, StateResults, Stub, StubError, composite_key, split_composite_key,
};
pub use tls::{TlsError, TlsFiles};

pub use fabric_primitives::limits::MAX_MESSAGE_BYTES;

/// Compiles what the documentation shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/chaincode.md")]
struct Documentation;
