//! Runs a network's nodes and chaincode servers: in containers, in pods of a cluster, as processes, or in
//! this process.
//!
//! The order is [`Runtime::place`], [`Placed::start`], [`Running::stop`]. Dropping any of them stops and
//! removes everything. Outside of this module nobody asks which runtime it is: differences are
//! [`Capabilities`]. What is in the nodes' files, and what a running network is used for, is not known
//! here.

mod chaincode;
mod contract;
#[cfg(feature = "docker")]
pub mod docker;
pub mod embedded;
mod error;
mod exit;
mod external_server;
mod files;
pub(crate) mod finding;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod log;
mod loopback;
mod node;
mod options;
#[cfg(any(feature = "docker", feature = "kubernetes"))]
mod package_addresses;
mod placed;
pub mod process;
mod ready;
pub mod registry;
mod running;

use std::time::Duration;

pub(crate) use chaincode::not_in_cluster;
pub use chaincode::{ChaincodePlacement, ChaincodeSpec, ServerRequest};
pub use contract::{ChaincodeServer, Prepared, RunningNetwork, Runtime, StartRequest};
pub use error::{PortHolder, RuntimeError, StartError, Unavailable};
pub use exit::{Cause, UnexpectedExit};
pub use external_server::VARIABLES_FILE;
pub use finding::Finding;
pub(crate) use log::last_lines;
pub use node::RunningNode;
pub use options::{ClusterOptions, ReadinessCheck, RuntimeOptions};
pub use placed::Placed;
pub use registry::{Capabilities, Descriptor, FindRequest, RuntimeChoice};
pub use running::{Action, Running};

/// Between SIGTERM and SIGKILL of a node that is started again: its data must survive.
const RESTART_GRACE: Duration = Duration::from_secs(10);

/// The official image of a peer.
pub const PEER_IMAGE: &str = "hyperledger/fabric-peer";
/// The official image of an orderer.
pub const ORDERER_IMAGE: &str = "hyperledger/fabric-orderer";

/// Whether so many ports of the loopback are free at the same time.
///
/// # Errors
///
/// The system's error if they are not.
pub(crate) fn can_take_ports(count: usize) -> std::io::Result<()> {
    loopback::Ports::take(count, None).map(drop)
}
