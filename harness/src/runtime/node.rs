//! A node that runs, and where a client finds its services.

use fabric_network::node::{NodeKind, NodeSpec};

use super::RuntimeError;
use crate::client::Endpoint;

/// A node that answers.
#[derive(Debug, Clone)]
pub struct RunningNode {
    /// Its full name, such as `peer0.org1.example.com`.
    pub name: String,
    /// Peer or orderer.
    pub kind: NodeKind,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// Its gRPC services.
    pub grpc: Endpoint,
    /// Orderers: the channel participation API, which demands a client certificate.
    pub admin: Option<Endpoint>,
}

impl RunningNode {
    /// A node as clients will reach it: `grpc` and `admin` are `HOST:PORT`.
    pub(super) fn new(spec: &NodeSpec, grpc: &str, admin: Option<&str>) -> Self {
        let endpoint = |address: &str| Endpoint {
            uri: format!("https://{address}"),
            server_name: spec.readiness.server_name.clone(),
            tls_ca_pem: spec.readiness.tls_ca_pem.clone(),
        };
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
            msp_id: spec.msp_id.clone(),
            grpc: endpoint(grpc),
            admin: admin.map(endpoint),
        }
    }
}

/// The error of a name that none of these nodes has.
pub(super) fn no_such_node(name: &str, nodes: &[RunningNode]) -> RuntimeError {
    RuntimeError::NoSuchNode { name: name.to_owned(), nodes: nodes.iter().map(|node| node.name.clone()).collect() }
}
