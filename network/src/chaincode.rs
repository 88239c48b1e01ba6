//! Chaincode servers that serve one peer each: where they are, and how each is started.
//!
//! One package is installed on all peers, so it names no server. The environment of each peer has the address
//! of its server, the roots to trust and the client certificate. Nothing is packaged or started here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::files::File;
use crate::identity::{CLIENT_ROOTS, Identities, SERVER_ROOTS, node_directory, server_directory};
use crate::placement::{NodePlacement, ServerPlacement, is_host};
use crate::topology::{NodeKind, Topology};

/// TLS between a peer and its chaincode server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChaincodeTls {
    /// Plain text.
    Off,
    /// The server has a certificate.
    Server,
    /// Both sides have a certificate.
    #[default]
    Mutual,
}

/// A chaincode with one server for each peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaincodeOptions {
    /// The ID of the package on every peer, under which each server registers.
    pub package_id: String,
    /// TLS between peer and server.
    pub tls: ChaincodeTls,
    /// The servers by their peer's full name; exactly the peers of the topology.
    pub servers: BTreeMap<String, ServerPlacement>,
}

/// One chaincode server, ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// The full name of its peer.
    pub peer: String,
    /// The MSP ID of its peer's organization.
    pub msp_id: String,
    /// Its whole environment: what Fabric's chaincode libraries name `CHAINCODE_…`.
    pub environment: BTreeMap<String, String>,
    /// Its directory, relative to the bundle. The server sees it as `placement.directory`. Without TLS it does
    /// not exist.
    pub directory: PathBuf,
    /// Where it is.
    pub placement: ServerPlacement,
}

impl ChaincodeOptions {
    /// Everything that does not fit the topology or cannot be used.
    pub(crate) fn problems(&self, topology: &Topology) -> Vec<String> {
        let peers: BTreeSet<String> =
            topology.nodes().filter(|node| node.kind == NodeKind::Peer).map(|node| node.name).collect();
        let missing = peers.iter().filter(|peer| !self.servers.contains_key(*peer));
        let mut problems: Vec<String> = missing.map(|peer| format!("{peer}: missing chaincode server")).collect();
        for (peer, server) in &self.servers {
            let mut problem = |text: String| problems.push(format!("the chaincode server of {peer}: {text}"));
            if !peers.contains(peer) {
                problem("not a peer of the topology".to_owned());
            }
            for host in std::iter::once(&server.host).chain(&server.extra_sans).filter(|host| !is_host(host)) {
                problem(format!("invalid host name or IP address {host:?}"));
            }
            if server.port == 0 {
                problem("invalid port 0".to_owned());
            }
            if !server.directory.is_absolute() || server.directory.to_str().is_none() {
                problem(format!("the directory {} is not absolute, or not UTF-8", server.directory.display()));
            }
        }
        problems
    }

    /// The variables of a peer that replace the connection in the package.
    pub(crate) fn peer_environment(&self, peer: &str, at: &NodePlacement) -> BTreeMap<String, String> {
        let Some(server) = self.servers.get(peer) else { return BTreeMap::new() };
        let mut environment = BTreeMap::from([
            ("CORE_CHAINCODE_ADDRESS".to_owned(), server.address()),
            ("CORE_CHAINCODE_TIMEOUT".to_owned(), "10s".to_owned()),
            ("CORE_CHAINCODE_TLS_REQUIRED".to_owned(), (self.tls != ChaincodeTls::Off).to_string()),
            ("CORE_CHAINCODE_CLIENT_AUTH_REQUIRED".to_owned(), (self.tls == ChaincodeTls::Mutual).to_string()),
        ]);
        if self.tls != ChaincodeTls::Off {
            environment.insert("CORE_CHAINCODE_ROOT_CERT".to_owned(), text(&at.config_dir.join(SERVER_ROOTS)));
        }
        environment
    }

    /// The servers, and the files that they and their peers need in addition to the TLS pairs.
    pub(crate) fn servers(&self, topology: &Topology, identities: &Identities) -> Servers {
        let mut servers = Servers::default();
        for node in topology.nodes().filter(|node| node.kind == NodeKind::Peer) {
            let organization = identities.peer_organizations.iter().find(|other| other.domain == node.domain);
            let identity = organization.and_then(|organization| organization.nodes.get(&node.name));
            let (Some(placement), Some(identity)) = (self.servers.get(&node.name), identity) else { continue };
            let directory = server_directory(node.domain, &node.name);
            if let Some(roots) = identity.chaincode_roots.as_ref().filter(|_| self.tls != ChaincodeTls::Off) {
                let peer = node_directory(NodeKind::Peer, node.domain, &node.name);
                servers.files.insert(peer.join(SERVER_ROOTS), File::public(&*roots.server_roots_pem));
                if self.tls == ChaincodeTls::Mutual {
                    servers.files.insert(directory.join(CLIENT_ROOTS), File::public(&*roots.client_roots_pem));
                }
            }
            servers.specs.push(ServerSpec {
                peer: node.name,
                msp_id: node.msp_id.to_owned(),
                environment: self.server_environment(placement, node.msp_id),
                directory,
                placement: placement.clone(),
            });
        }
        servers
    }

    fn server_environment(&self, at: &ServerPlacement, msp_id: &str) -> BTreeMap<String, String> {
        let file = |name: &str| text(&at.directory.join(name));
        let mut environment = BTreeMap::from([
            ("CHAINCODE_ID".to_owned(), self.package_id.clone()),
            ("CHAINCODE_SERVER_ADDRESS".to_owned(), SocketAddr::new(at.bind, at.port).to_string()),
            ("CHAINCODE_TLS_DISABLED".to_owned(), (self.tls == ChaincodeTls::Off).to_string()),
            // As a peer sets it for a chaincode that it starts itself.
            ("CORE_PEER_LOCALMSPID".to_owned(), msp_id.to_owned()),
        ]);
        if self.tls != ChaincodeTls::Off {
            environment.insert("CHAINCODE_TLS_CERT".to_owned(), file("server.crt"));
            environment.insert("CHAINCODE_TLS_KEY".to_owned(), file("server.key"));
        }
        if self.tls == ChaincodeTls::Mutual {
            environment.insert("CHAINCODE_CLIENT_CA_CERT".to_owned(), file(CLIENT_ROOTS));
        }
        environment
    }
}

/// The chaincode servers of a network.
#[derive(Default)]
pub(crate) struct Servers {
    pub(crate) specs: Vec<ServerSpec>,
    pub(crate) files: BTreeMap<PathBuf, File>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
