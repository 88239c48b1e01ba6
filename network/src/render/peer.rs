//! core.yaml, the configuration of a peer, and the peer's [`NodeSpec`].
//!
//! The text and its explanations are in `templates/core.yaml`. Here are the values that differ between peers and
//! releases.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::template::{fill, quoted};
use super::{RenderOptions, environment, path_text, readiness};
use crate::couchdb::{CouchDb, Secret};
use crate::identity::node_directory;
use crate::node::NodeSpec;
use crate::placement::{NodePlacement, Placement};
use crate::topology::{NodeKind, NodeRef, Topology};

const TEMPLATE: &str = include_str!("templates/core.yaml");
const COUCHDB: &str = include_str!("templates/core-couchdb.yaml");
const RUNTIME_PARAMS: &str = include_str!("templates/core-runtime-params.yaml");
const DELIVERY_POLICY: &str = include_str!("templates/core-delivery-policy.yaml");

/// The peer's core.yaml.
pub(super) fn core_yaml(
    topology: &Topology,
    placement: &Placement,
    node: &NodeRef<'_>,
    at: &NodePlacement,
    options: &RenderOptions,
) -> String {
    let listen = |port: u16| quoted(&SocketAddr::new(at.bind, port).to_string());
    let only_if = |condition: bool, text: &str| if condition { text.to_owned() } else { String::new() };
    let chaincode = at.ports.chaincode.unwrap_or_default();
    let release = options.release;
    let couchdb = options.couchdb.get(&node.name);
    let couchdb_config = |couchdb: &CouchDb| fill(COUCHDB, &[("address", quoted(&couchdb.address()))]);
    fill(
        TEMPLATE,
        &[
            ("name", node.name.clone()),
            ("id", quoted(&node.name)),
            ("release", release.to_string()),
            ("msp_id", quoted(node.msp_id)),
            ("data_dir", quoted(&path_text(&at.data_dir))),
            ("builder_dir", quoted(&path_text(&at.builder_dir))),
            ("listen_address", listen(at.ports.grpc)),
            ("address", quoted(&at.endpoint(at.ports.grpc))),
            ("chaincode_listen_address", listen(chaincode)),
            ("chaincode_address", quoted(&at.endpoint(chaincode))),
            ("operations_address", listen(at.ports.operations)),
            ("bootstrap", bootstrap(topology, placement, node, at)),
            ("runtime_params", only_if(release.has_key_batches(), RUNTIME_PARAMS)),
            ("state_database", if couchdb.is_some() { "CouchDB" } else { "goleveldb" }.to_owned()),
            ("couchdb", couchdb.map(couchdb_config).unwrap_or_default()),
            ("delivery_policy", only_if(release.has_bft(), DELIVERY_POLICY)),
        ],
    )
}

/// The other peers of the organization. A single peer names itself, which gossip skips.
fn bootstrap(topology: &Topology, placement: &Placement, node: &NodeRef<'_>, at: &NodePlacement) -> String {
    let mut endpoints: Vec<String> = topology
        .nodes()
        .filter(|other| other.kind == NodeKind::Peer && other.domain == node.domain && other.name != node.name)
        .filter_map(|other| placement.nodes.get(&other.name))
        .map(|other| quoted(&other.endpoint(other.ports.grpc)))
        .collect();
    if endpoints.is_empty() {
        endpoints.push(quoted(&at.endpoint(at.ports.grpc)));
    }
    format!("[{}]", endpoints.join(", "))
}

/// How the peer is started.
pub(super) fn spec(node: &NodeRef<'_>, at: &NodePlacement, options: &RenderOptions, tls_ca_pem: &str) -> NodeSpec {
    let mut environment = environment(at, options, options.release.peer_logging());
    // For the builder; the same values as in core.yaml.
    environment.extend([
        ("CORE_PEER_ID".to_owned(), node.name.clone()),
        ("CORE_PEER_LOCALMSPID".to_owned(), node.msp_id.to_owned()),
    ]);
    environment.extend(chaincode_client(at));
    if let Some(chaincode) = &options.chaincode {
        environment.extend(chaincode.peer_environment(&node.name, at));
    }
    NodeSpec {
        name: node.name.clone(),
        kind: NodeKind::Peer,
        msp_id: node.msp_id.to_owned(),
        program: "peer".to_owned(),
        arguments: vec!["node".to_owned(), "start".to_owned()],
        image: "hyperledger/fabric-peer".to_owned(),
        environment,
        secrets: options.couchdb.get(&node.name).map(couchdb_secrets).unwrap_or_default(),
        directory: node_directory(NodeKind::Peer, node.domain, &node.name),
        placement: at.clone(),
        readiness: readiness(node, at, tls_ca_pem),
    }
}

/// Variables, because everybody can read core.yaml.
fn couchdb_secrets(couchdb: &CouchDb) -> BTreeMap<String, Secret> {
    BTreeMap::from([
        ("CORE_LEDGER_STATE_COUCHDBCONFIG_USERNAME".to_owned(), Secret::new(couchdb.username())),
        ("CORE_LEDGER_STATE_COUCHDBCONFIG_PASSWORD".to_owned(), couchdb.password().clone()),
    ])
}

/// The paths of the peer's client pair for chaincode servers. The builder reads it, so that no package needs one.
fn chaincode_client(at: &NodePlacement) -> BTreeMap<String, String> {
    let path = |file: &str| path_text(&at.config_dir.join(PathBuf::from("chaincode").join(file)));
    BTreeMap::from([
        ("CORE_CHAINCODE_TLS_CLIENT_KEY".to_owned(), path("client.key")),
        ("CORE_CHAINCODE_TLS_CLIENT_CERT".to_owned(), path("client.crt")),
    ])
}
