//! orderer.yaml, the configuration of an orderer, and the orderer's [`NodeSpec`].
//!
//! The text and its explanations are in `templates/orderer.yaml`. Here are the values that differ between
//! orderers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;

use super::template::{fill, quoted};
use super::{RenderOptions, environment, path_text, readiness};
use crate::identity::node_directory;
use crate::node::NodeSpec;
use crate::placement::NodePlacement;
use crate::topology::{NodeKind, NodeRef};

const TEMPLATE: &str = include_str!("templates/orderer.yaml");

/// The orderer's orderer.yaml.
pub(super) fn orderer_yaml(node: &NodeRef<'_>, at: &NodePlacement, options: &RenderOptions) -> String {
    let listen = |port: u16| quoted(&SocketAddr::new(at.bind, port).to_string());
    let below_data = |path: &str| quoted(&path_text(&at.data_dir.join(path)));
    fill(
        TEMPLATE,
        &[
            ("name", node.name.clone()),
            ("release", options.release.to_string()),
            ("msp_id", quoted(node.msp_id)),
            ("listen_host", quoted(&at.bind.to_string())),
            ("listen_port", at.ports.grpc.to_string()),
            ("admin_address", listen(at.ports.admin.unwrap_or_default())),
            ("operations_address", listen(at.ports.operations)),
            ("ledger_dir", below_data("ledger")),
            ("wal_dir", below_data("consensus/wal")),
            ("max_message", MAX_MESSAGE_BYTES.to_string()),
            ("snapshot_dir", below_data("consensus/snapshot")),
        ],
    )
}

/// How the orderer is started.
pub(super) fn spec(node: &NodeRef<'_>, at: &NodePlacement, options: &RenderOptions, tls_ca_pem: &str) -> NodeSpec {
    NodeSpec {
        name: node.name.clone(),
        kind: NodeKind::Orderer,
        msp_id: node.msp_id.to_owned(),
        program: "orderer".to_owned(),
        arguments: Vec::new(),
        image: "hyperledger/fabric-orderer".to_owned(),
        environment: environment(at, options, options.release.orderer_logging()),
        secrets: BTreeMap::new(),
        directory: node_directory(NodeKind::Orderer, node.domain, &node.name),
        placement: at.clone(),
        readiness: readiness(node, at, tls_ca_pem),
    }
}
