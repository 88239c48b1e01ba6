//! Renders a topology and a placement to a [`Bundle`]: every file, and how each node is started.
//!
//! A runtime and an operator get the same bytes. Only keys, certificates and genesis blocks differ on each call,
//! unless they are made from a seed.

mod channels;
pub mod operator;
mod orderer;
mod peer;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, File};
use crate::chaincode::{ChaincodeOptions, ChaincodeTls};
use crate::channel::ChannelError;
use crate::couchdb::CouchDb;
use crate::identity::{self, ExistingIdentities, Identities, IdentityError, OrganizationIdentities, Validity};
use crate::logging::LoggingSpec;
use crate::node::{NodeSpec, Readiness};
use crate::placement::{NodePlacement, Placement};
use crate::release::Release;
use crate::topology::{Consensus, NodeKind, NodeRef, Topology, TopologyError};

/// The options of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// The release line that the nodes run.
    pub release: Release,
    /// The validity of every certificate. Its start is also the time of genesis blocks.
    pub validity: Validity,
    /// With a seed, keys, certificates and genesis blocks are the same on each call with the same validity.
    /// Only for tests: everybody who knows the seed has the keys. Default: none.
    pub seed: Option<u64>,
    /// The nodes' `FABRIC_LOGGING_SPEC`. Default: [`Release::peer_logging`] and [`Release::orderer_logging`].
    pub logging: Option<LoggingSpec>,
    /// The CouchDB for a peer's world state, by the peer's full name. Each serves only one peer. Default: none;
    /// other peers keep their world state in their own directory.
    pub couchdb: BTreeMap<String, CouchDb>,
    /// A chaincode with one server for each peer. Default: none; the peers use the connection in the package.
    pub chaincode: Option<ChaincodeOptions>,
    /// Keys and certificates that exist already. Default: none; all are generated.
    pub identities: Option<ExistingIdentities>,
}

impl RenderOptions {
    /// The default options.
    pub fn new(release: Release, validity: Validity) -> Self {
        Self {
            release,
            validity,
            seed: None,
            logging: None,
            couchdb: BTreeMap::new(),
            chaincode: None,
            identities: None,
        }
    }
}

/// Why a network cannot be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The topology has mistakes.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The release does not support BFT.
    #[error("ordering.consensus: bft needs Fabric 3, not {release}; use etcdraft, or a newer release")]
    NoBft {
        /// The release given.
        release: Release,
    },
    /// A CouchDB is for an unknown peer.
    #[error("the CouchDB {couchdb} is for {peer}, which is not a peer of the topology")]
    CouchDbWithoutPeer {
        /// The peer given.
        peer: String,
        /// The CouchDB.
        couchdb: CouchDb,
    },
    /// Two peers would write to the same databases, whose names depend only on the channel.
    #[error("the CouchDB {couchdb} is for two peers; each needs a separate one")]
    SharedCouchDb {
        /// The CouchDB.
        couchdb: CouchDb,
    },
    /// A bundle for operators cannot hold the password of a CouchDB.
    #[error("{peer} has a CouchDB, which a bundle for operators does not support; configure it in the deployment")]
    CouchDbInOperatorBundle {
        /// The peer.
        peer: String,
    },
    /// The placement does not fit the topology.
    #[error("invalid placement:\n{}", problems.join("\n"))]
    Placement {
        /// Every problem, with the name of its node. Never empty.
        problems: Vec<String>,
    },
    /// Keys or certificates could not be generated.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A genesis block could not be built.
    #[error("channel {name}")]
    Channel {
        /// The channel.
        name: String,
        /// Why.
        #[source]
        source: ChannelError,
    },
}

/// Renders every file of a network.
///
/// # Errors
///
/// [`RenderError`]. Topology, release and placement are checked before any key is generated.
///
/// # Examples
///
/// The default network on this machine, each node in its own directory of the bundle:
///
/// ```no_run
/// use std::path::Path;
/// use std::time::{Duration, SystemTime};
///
/// use fabric_network::identity::Validity;
/// use fabric_network::placement::{NodePlacement, Placement, Ports};
/// use fabric_network::release::Release;
/// use fabric_network::render::{RenderOptions, render};
/// use fabric_network::topology::{NodeKind, Topology};
///
/// let directory = Path::new("/tmp/network");
/// let topology = Topology::solo();
/// let place = |kind, port, own: &str| NodePlacement {
///     host: "127.0.0.1".to_owned(),
///     bind: [127, 0, 0, 1].into(),
///     ports: Ports {
///         grpc: port,
///         operations: port + 1,
///         admin: (kind == NodeKind::Orderer).then_some(port + 2),
///         chaincode: (kind == NodeKind::Peer).then_some(port + 2),
///     },
///     extra_sans: vec!["localhost".to_owned()],
///     config_dir: directory.join("organizations").join(own),
///     data_dir: "data".into(),
///     builder_dir: "/opt/ccaas-builder".into(),
/// };
/// let orderer = "ordererOrganizations/example.com/orderers/orderer.example.com";
/// let peer = "peerOrganizations/org1.example.com/peers/peer0.org1.example.com";
/// let placement = Placement {
///     nodes: [
///         ("orderer.example.com".to_owned(), place(NodeKind::Orderer, 6050, orderer)),
///         ("peer0.org1.example.com".to_owned(), place(NodeKind::Peer, 7050, peer)),
///     ]
///     .into(),
///     chaincode_hosts: vec!["127.0.0.1".to_owned()],
/// };
/// let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
/// let bundle = render(&topology, &placement, &RenderOptions::new(Release::V3_1, validity))?;
/// bundle.write_to(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn render(topology: &Topology, placement: &Placement, options: &RenderOptions) -> Result<Bundle, RenderError> {
    topology.validate()?;
    if topology.ordering.consensus == Consensus::Bft && !options.release.has_bft() {
        return Err(RenderError::NoBft { release: options.release });
    }
    check_couchdb(topology, &options.couchdb)?;
    let mut problems = placement.problems(topology);
    problems.extend(options.chaincode.iter().flat_map(|chaincode| chaincode.problems(topology)));
    if !problems.is_empty() {
        return Err(RenderError::Placement { problems });
    }
    // Without TLS, a chaincode server needs no certificate.
    let servers = options.chaincode.as_ref().filter(|chaincode| chaincode.tls != ChaincodeTls::Off);
    let identities = identity::reuse_or_generate(&identity::Source {
        topology,
        placement,
        validity: options.validity,
        seed: options.seed,
        existing: options.identities.as_ref(),
        servers: servers.map(|chaincode| &chaincode.servers),
    })?;
    let mut files = identity::files(&identities);
    let servers = options.chaincode.as_ref().map(|chaincode| chaincode.servers(topology, &identities));
    let servers = servers.unwrap_or_default();
    files.extend(servers.files);
    let mut nodes = Vec::new();
    for node in topology.nodes() {
        let at = placement.nodes.get(&node.name).ok_or_else(|| IdentityError::NotPlaced { name: node.name.clone() })?;
        let spec = node_spec(&node, at, options, &identities);
        let (name, text) = match node.kind {
            NodeKind::Peer => ("core.yaml", peer::core_yaml(topology, placement, &node, at, options)),
            NodeKind::Orderer => ("orderer.yaml", orderer::orderer_yaml(&node, at, options)),
        };
        files.insert(spec.directory.join(name), File::public(text));
        nodes.push(spec);
    }
    let source = channels::Source { topology, placement, identities: &identities, options };
    let channels = source.channels()?;
    for channel in &channels {
        files.insert(channel_path(&channel.name), File::public(&*channel.genesis_block));
    }
    Ok(Bundle { files, nodes, servers: servers.specs, channels, identities })
}

fn check_couchdb(topology: &Topology, couchdb: &BTreeMap<String, CouchDb>) -> Result<(), RenderError> {
    let is_peer = |name: &str| topology.nodes().any(|node| node.kind == NodeKind::Peer && node.name == name);
    let mut seen = BTreeSet::new();
    for (peer, couchdb) in couchdb {
        if !is_peer(peer) {
            return Err(RenderError::CouchDbWithoutPeer { peer: peer.clone(), couchdb: couchdb.clone() });
        }
        if !seen.insert(couchdb.address()) {
            return Err(RenderError::SharedCouchDb { couchdb: couchdb.clone() });
        }
    }
    Ok(())
}

fn node_spec(node: &NodeRef<'_>, at: &NodePlacement, options: &RenderOptions, identities: &Identities) -> NodeSpec {
    let has_node = |organization: &&OrganizationIdentities| organization.domain == node.domain;
    let organization = identities.peer_organizations.iter().find(has_node);
    let organization = organization.unwrap_or(&identities.orderer_organization);
    match node.kind {
        NodeKind::Peer => peer::spec(node, at, options, &organization.tls_ca_pem),
        NodeKind::Orderer => orderer::spec(node, at, options, &organization.tls_ca_pem),
    }
}

fn channel_path(name: &str) -> PathBuf {
    Path::new("channels").join(format!("{name}.block"))
}

/// The environment of every node. `logging` is the default level of its logs.
fn environment(at: &NodePlacement, options: &RenderOptions, logging: &str) -> BTreeMap<String, String> {
    let logging = options.logging.as_ref().map_or(logging, LoggingSpec::as_str);
    BTreeMap::from([
        ("FABRIC_CFG_PATH".to_owned(), path_text(&at.config_dir)),
        (LoggingSpec::VARIABLE.to_owned(), logging.to_owned()),
    ])
}

fn readiness(node: &NodeRef<'_>, at: &NodePlacement, tls_ca_pem: &str) -> Readiness {
    Readiness { port: at.ports.grpc, server_name: node.name.clone(), tls_ca_pem: tls_ca_pem.to_owned() }
}

/// A path as text. The placement was checked: its paths are UTF-8.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
