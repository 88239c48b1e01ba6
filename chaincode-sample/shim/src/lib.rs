#![doc = include_str!("../README.md")]

mod address;
mod arguments;
mod endorsement;
mod response;
mod stub_error;
pub mod variable;

mod outbox;
mod peer_stream;
mod protocol;

mod chaincode;
mod contract;
mod identity;
mod stub;

mod config;
mod health;
mod listener;
mod reload;
mod server;
mod session;
mod tls;

#[cfg(any(test, feature = "mock"))]
pub mod mock;

pub use address::{AddressError, ListenAddress};
pub use arguments::{ArgumentError, Arguments, FromArgument, Json};
pub use chaincode::Chaincode;
pub use config::{Config, ConfigError};
pub use contract::{Contract, Contracts, Function};
pub use endorsement::{EndorsementPolicy, PolicyError, PrincipalRole};
pub use identity::{ClientIdentity, IdentityError, NodeRole};
pub use protocol::Limits;
pub use response::{Error, Response};
pub use server::{Server, ServerBuilder, ServerError};
pub use stub::{
    HistoryResults, KeyModification, KeyValue, Page, StateResults, Stub, composite_key, split_composite_key,
};
pub use stub_error::StubError;
pub use tls::{TlsError, TlsFiles};

/// Runs the model of the protocol, for the fuzz target.
#[cfg(fuzzing)]
pub fn run_protocol_model(bytes: &[u8]) {
    protocol::model::run(bytes);
}

/// Compiles the examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/chaincode.md")]
struct Documentation;
