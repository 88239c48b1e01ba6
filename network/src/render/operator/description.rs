//! `deployment.yaml`: the nodes and the chaincode, for the program that deploys.
//!
//! It contains no keys. A program outside the network replaces the hosts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Source;
use crate::identity::organization_directory;
use crate::topology::NodeKind;

/// The file in the bundle.
pub const FILE: &str = "deployment.yaml";

/// A network and the chaincode for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The version of Fabric.
    pub fabric: String,
    /// The chaincode.
    pub chaincode: ChaincodeDescription,
    /// Every node, orderers first.
    pub nodes: Vec<NodeDescription>,
}

/// The chaincode and its package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaincodeDescription {
    /// Its name in the definition.
    pub name: String,
    /// The version in the definition.
    pub version: String,
    /// The package's file, relative to the bundle.
    pub package: PathBuf,
    /// The package's ID.
    pub package_id: String,
}

/// The addresses of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeDescription {
    /// Its full name, with which its certificate is verified.
    pub name: String,
    /// Whether it is an orderer; otherwise a peer.
    pub orderer: bool,
    /// Its host.
    pub host: String,
    /// The port of its gRPC services.
    pub port: u16,
    /// Orderers: the port of the channel participation API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_port: Option<u16>,
}

impl Description {
    /// The text of the file.
    pub fn to_yaml(&self) -> String {
        super::yaml(self)
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    ///
    /// What is wrong, with its position.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

/// The directory with `msp/` and `tls/` of an organization's administrator, relative to the bundle.
pub fn administrator_directory(kind: NodeKind, domain: &str) -> PathBuf {
    organization_directory(kind, domain).join("users").join(format!("Admin@{domain}"))
}

/// The files of private key and certificate, for signing and for TLS, in an [`administrator_directory`].
pub fn administrator_files(domain: &str) -> [(PathBuf, PathBuf); 2] {
    let certificate = Path::new("msp/signcerts").join(format!("Admin@{domain}-cert.pem"));
    [("msp/keystore/priv_sk".into(), certificate), ("tls/client.key".into(), "tls/client.crt".into())]
}

pub(super) fn describe(source: &Source<'_>) -> Description {
    let package = &source.options.package;
    let nodes = source.bundle.nodes.iter().map(|node| NodeDescription {
        name: node.name.clone(),
        orderer: node.kind == NodeKind::Orderer,
        host: node.placement.host.clone(),
        port: node.placement.ports.grpc,
        admin_port: node.placement.ports.admin,
    });
    Description {
        fabric: source.options.fabric.clone(),
        chaincode: ChaincodeDescription {
            name: package.name.clone(),
            version: package.version.clone(),
            package: source.package_path(),
            package_id: package.id.clone(),
        },
        nodes: nodes.collect(),
    }
}
