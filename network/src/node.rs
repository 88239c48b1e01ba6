//! What a runtime must know to start a node, whichever runtime it is.
//!
//! A [`NodeSpec`] names a program and an image, and leaves the choice between them to the
//! runtime. It starts nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use crate::topology::NodeKind;

use crate::couchdb::Secret;
use crate::placement::NodePlacement;

/// One node, ready to be started.
///
/// The contract with a runtime:
///
/// - The tree at [`directory`](Self::directory) of the written bundle appears to the node as
///   `placement.config_dir`, and that is its **working directory** too: Fabric resolves some of
///   orderer.yaml's paths against the one and some against the other.
/// - Of the runtime's own environment, nothing that begins with `CORE_` or `ORDERER_` reaches the
///   node: such variables override its configuration.
/// - It is ready when its [`readiness`](Self::readiness) says so, not when a port opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its full name, such as `peer0.org1.example.com`.
    pub name: String,
    /// Peer or orderer.
    pub kind: NodeKind,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// The program, found by a process runtime and called inside the image by others: `peer` or
    /// `orderer`.
    pub program: String,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The official image without a tag, such as `hyperledger/fabric-peer`.
    pub image: String,
    /// The environment that it needs beyond what the runtime gives any program.
    pub environment: BTreeMap<String, String>,
    /// More of it, whose values must not be shown, logged or written to a file that others read.
    pub secrets: BTreeMap<String, Secret>,
    /// Its own tree, relative to the bundle: configuration, MSP, TLS pair.
    pub directory: PathBuf,
    /// Where it is.
    pub placement: NodePlacement,
    /// How to find out that it is ready.
    pub readiness: Readiness,
}

impl NodeSpec {
    /// The whole environment, with its secrets: for whoever starts the node, and for nobody else.
    pub fn full_environment(&self) -> BTreeMap<String, String> {
        let secrets = self.secrets.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
        self.environment.clone().into_iter().chain(secrets).collect()
    }
}

/// A node is ready when a gRPC call to [`port`](Self::port) gets an answer: any status that the
/// server itself sent. An open port or a healthy `/healthz` come earlier and mean less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The gRPC port, as in the placement.
    pub port: u16,
    /// The name to verify its certificate against. Always in the certificate, whatever the host.
    pub server_name: String,
    /// The root certificate of its TLS certificate.
    pub tls_ca_pem: String,
}
