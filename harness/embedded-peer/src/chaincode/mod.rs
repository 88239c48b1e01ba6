//! The chaincode side of a peer: packages, external builders, connections to chaincode servers, and
//! the shim protocol.
//!
//! [Installing](ChaincodeSupport::install) stores a package and runs an external builder, which
//! provides the address of the chaincode server. [Executing](ChaincodeSupport::execute) sends
//! transactions over one stream. The chaincode's requests are answered from the transaction's
//! [simulation](crate::ledger::Simulation), or by a [`Host`] for anything beyond one ledger.

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
