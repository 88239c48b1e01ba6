//! What any runtime needs to start a node. A [`NodeSpec`] names a program and an image; the runtime uses one of
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use crate::topology::NodeKind;

use crate::couchdb::Secret;
use crate::placement::NodePlacement;

/// One node, ready to be started.
///
/// The contract with a runtime:
///
/// - The node sees [`directory`](Self::directory) of the written bundle as `placement.config_dir`, which is also
///   its **working directory**: Fabric resolves some paths of orderer.yaml against each of them.
/// - No variable of the runtime's own environment that begins with `CORE_` or `ORDERER_` reaches the node,
///   because such variables override its configuration.
/// - The node is ready when its [`readiness`](Self::readiness) check passes, not when a port opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its full name, such as `peer0.org1.example.com`.
    pub name: String,
    /// Peer or orderer.
    pub kind: NodeKind,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// The program, `peer` or `orderer`: on this machine for a process, in the image for a container.
    pub program: String,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The official image without a tag, such as `hyperledger/fabric-peer`.
    pub image: String,
    /// Its environment variables, in addition to those that the runtime sets for any program.
    pub environment: BTreeMap<String, String>,
    /// Variables whose values must not be shown, logged or written to a file that others can read.
    pub secrets: BTreeMap<String, Secret>,
    /// Its directory, relative to the bundle: configuration, MSP, TLS pair.
    pub directory: PathBuf,
    /// Where it is.
    pub placement: NodePlacement,
    /// How to check that it is ready.
    pub readiness: Readiness,
}

impl NodeSpec {
    /// All variables with the secrets, only for starting the node.
    pub fn full_environment(&self) -> BTreeMap<String, String> {
        let secrets = self.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
        self.environment.clone().into_iter().chain(secrets).collect()
    }
}

/// A node is ready when a gRPC call to [`port`](Self::port) gets any status from the server itself. An open port
/// or a healthy `/healthz` comes earlier and does not prove that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The gRPC port, as in the placement.
    pub port: u16,
    /// The name to verify its certificate with. It is always in the certificate.
    pub server_name: String,
    /// The root certificate that issued its TLS certificate.
    pub tls_ca_pem: String,
}
