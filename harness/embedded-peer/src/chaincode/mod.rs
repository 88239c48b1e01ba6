//! Chaincode as a peer deals with it: packages, external builders, the connection to a chaincode's
//! server, and the shim protocol.
//!
//! A package is [installed](ChaincodeSupport::install): stored and built by an external builder,
//! which says where the chaincode's server is. Then the peer [executes](ChaincodeSupport::execute)
//! transactions on it, over one stream for all of them. What the chaincode asks meanwhile is answered
//! from the transaction's [simulation](crate::ledger::Simulation), and by a [`Host`] for what is
//! beyond one ledger. Endorsing, validating and the lifecycle of definitions are elsewhere.

mod builder;
mod call;
mod config;
mod connection;
mod cursor;
mod dial;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod go;
mod handler;
mod link;
mod listener;
mod package;
mod queries;
mod registry;
mod requests;
mod session;
mod support;
mod tls;
mod transaction;

pub use builder::BuildError;
pub use call::{Call, CollectionAccess, Executed, Host};
pub use config::{ChaincodeConfig, ConfigError, ExternalBuilder};
pub use connection::{ConnectionError, ServerInfo, TlsInfo};
pub use dial::DialError;
pub use error::{ExecuteError, ExecuteReason, InstallError, LaunchError};
pub use package::{Installed, Metadata, Package, PackageError, PackageStore, SaveError};
pub use support::ChaincodeSupport;
