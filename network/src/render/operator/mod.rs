//! Bundles for operators: a network's files for Compose, Kubernetes or systemd, and a README with the commands.
//!
//! Every format is made from the same [`Bundle`] as a run of the harness, by translating its node specifications.
//! Nothing is written or started here.

pub mod compose;
pub mod description;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod processes;
mod readme;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::{RenderError, RenderOptions, render};
use crate::bundle::{Bundle, File};
use crate::chaincode::{ChaincodeOptions, ChaincodeTls};
use crate::placement::{NodePlacement, Placement, Ports, ServerPlacement};
use crate::topology::{NodeKind, NodeRef, Topology};

/// The files of an operator's bundle, by their path in it.
pub type Files = BTreeMap<PathBuf, File>;

/// The port of a chaincode server with its own address.
const CHAINCODE_PORT: u16 = 9999;

/// The directory of a node in its container. Not `/etc/hyperledger/fabric`, where some official images have a
/// sample MSP.
const NODE: &str = "/etc/hyperledger/node";
/// The directory that the images declare as the volume for data.
const DATA: &str = "/var/hyperledger";
/// The directory of the external builder in a peer's container.
pub const BUILDER: &str = "/opt/ccaas";
/// The directory of the program for readiness checks in a container.
const TOOLS: &str = "/opt/tools";
/// The directory of the TLS files in a chaincode server's container.
pub const CHAINCODE: &str = "/etc/hyperledger/chaincode";
/// The directory of the bundle in the container that deploys.
const DEPLOYMENT: &str = "/bundle";

/// The format of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Compose file.
    Compose,
    /// A kustomize base with overlays.
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// Environment files and systemd units for programs on one machine.
    Files,
}

/// The images, with their tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The official image of a peer.
    pub peer: String,
    /// The official image of an orderer.
    pub orderer: String,
    /// The image of the external builder (`builder/Dockerfile`).
    pub builder: String,
    /// The image of the chaincode server.
    pub chaincode: String,
    /// The image of the harness (`harness/Dockerfile`), which deploys and checks readiness.
    pub harness: String,
}

/// A chaincode package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// The chaincode's name in its definition.
    pub name: String,
    /// The version in its definition.
    pub version: String,
    /// The label, which is also the name of the file.
    pub label: String,
    /// The package's ID.
    pub id: String,
    /// The `.tar.gz`.
    pub bytes: Vec<u8>,
}

/// The options of a bundle for operators.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The format of the deployment.
    pub format: Format,
    /// Release, validity, identities. Its `chaincode` is ignored.
    pub render: RenderOptions,
    /// The version of Fabric, which is the tag of its images.
    pub fabric: String,
    /// TLS between peers and chaincode servers.
    pub tls: ChaincodeTls,
    /// The images.
    pub images: Images,
    /// The chaincode.
    pub package: PackageFile,
    /// Compose: user and group that may read the bundle's private keys, as numbers.
    pub owner: (u32, u32),
    /// Kubernetes: the namespace, a DNS label.
    pub namespace: String,
    /// Files: the absolute path at which the bundle will be used.
    pub directory: PathBuf,
}

/// A bundle for operators.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Every file.
    pub files: Files,
    /// The network.
    pub bundle: Bundle,
}

/// The input of every format.
struct Source<'a> {
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(dead_code, reason = "only the names of Kubernetes' objects need it")
    )]
    topology: &'a Topology,
    options: &'a OperatorOptions,
    bundle: &'a Bundle,
}

/// Renders every file of a bundle for operators. The same arguments give the same bytes, except for generated keys
/// and what depends on them.
///
/// # Errors
///
/// [`RenderError`], as of [`render`]; also for a CouchDB.
pub fn render_for_operator(topology: &Topology, options: &OperatorOptions) -> Result<Rendered, RenderError> {
    // The formats have no place for its password.
    if let Some(peer) = options.render.couchdb.keys().next() {
        return Err(RenderError::CouchDbInOperatorBundle { peer: peer.clone() });
    }
    let (placement, servers) = place(topology, options);
    let chaincode = ChaincodeOptions { package_id: options.package.id.clone(), tls: options.tls, servers };
    let render_options = RenderOptions { chaincode: Some(chaincode), ..options.render.clone() };
    let bundle = render(topology, &placement, &render_options)?;
    let source = Source { topology, options, bundle: &bundle };
    let mut files = match options.format {
        Format::Compose => compose::files(&source),
        #[cfg(feature = "kubernetes")]
        Format::Kubernetes => kubernetes::files(&source),
        Format::Files => processes::files(&source),
    };
    files.extend(bundle.files.clone());
    files.insert("topology.yaml".into(), File::public(topology.to_yaml()));
    files.insert(description::FILE.into(), File::public(description::describe(&source).to_yaml()));
    files.insert(source.package_path(), File::public(options.package.bytes.clone()));
    files.insert("README.md".into(), File::public(readme::readme(&source)));
    Ok(Rendered { files, bundle })
}

/// The placements of the nodes and of the chaincode server of each peer.
fn place(topology: &Topology, options: &OperatorOptions) -> (Placement, BTreeMap<String, ServerPlacement>) {
    let (mut nodes, mut servers) = (BTreeMap::new(), BTreeMap::new());
    let (mut peers, mut orderers) = (0, 0);
    for node in topology.nodes() {
        let counter = match node.kind {
            NodeKind::Peer => &mut peers,
            NodeKind::Orderer => &mut orderers,
        };
        let (place, server) = match options.format {
            Format::Compose => compose::place(&node, *counter),
            #[cfg(feature = "kubernetes")]
            Format::Kubernetes => kubernetes::place(topology, &node, &options.namespace),
            Format::Files => processes::place(&node, *counter, &options.directory),
        };
        *counter += 1;
        if node.kind == NodeKind::Peer {
            servers.insert(node.name.clone(), server);
        }
        nodes.insert(node.name, place);
    }
    (Placement { nodes, chaincode_hosts: Vec::new() }, servers)
}

/// The ports of the node with this index among its kind. The first has those of Fabric's documentation; each
/// further one adds 100.
fn ports(kind: NodeKind, index: u16) -> Ports {
    let above = index.saturating_mul(100);
    let port = |first: u16| first.saturating_add(above);
    match kind {
        NodeKind::Peer => Ports { grpc: port(7051), operations: port(7054), admin: None, chaincode: Some(port(7052)) },
        NodeKind::Orderer => {
            Ports { grpc: port(7050), operations: port(7055), admin: Some(port(7053)), chaincode: None }
        }
    }
}

/// A node in its own container.
fn in_container(node: &NodeRef<'_>, host: String, ports: Ports, extra_sans: Vec<String>) -> NodePlacement {
    let data = match node.kind {
        NodeKind::Peer => "production",
        NodeKind::Orderer => "production/orderer",
    };
    NodePlacement {
        host,
        bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ports,
        extra_sans,
        config_dir: NODE.into(),
        data_dir: Path::new(DATA).join(data),
        builder_dir: BUILDER.into(),
    }
}

/// A chaincode server in its own container.
fn server_in_container(host: String, extra_sans: Vec<String>) -> ServerPlacement {
    let bind = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    ServerPlacement { host, bind, port: CHAINCODE_PORT, extra_sans, directory: CHAINCODE.into() }
}

/// A command that exits with 0 when the node answers a call.
fn ready_command(name: &str, port: u16) -> Vec<String> {
    let program = format!("{TOOLS}/fabric-harness");
    let (address, ca) = (format!("127.0.0.1:{port}"), format!("{NODE}/tls/ca.crt"));
    [&program, "ready", &address, "--server-name", name, "--ca", &ca].map(str::to_owned).into()
}

/// A command that exits with 0 when a server listens at the address.
fn listening_command(address: &str) -> Vec<String> {
    [&format!("{TOOLS}/fabric-harness"), "ready", address, "--listening"].map(str::to_owned).into()
}

impl Source<'_> {
    /// The package, relative to the bundle.
    fn package_path(&self) -> PathBuf {
        Path::new("chaincode").join(format!("{}.tar.gz", self.options.package.label))
    }

    /// The files and directories that `deploy` needs, relative to the bundle. Their only keys are those of the
    /// administrators.
    fn deployment_paths(&self) -> Vec<PathBuf> {
        let identities = &self.bundle.identities;
        let organizations = identities.peer_organizations.iter().map(|organization| (NodeKind::Peer, organization));
        let administrators = std::iter::once((NodeKind::Orderer, &identities.orderer_organization))
            .chain(organizations)
            .map(|(kind, organization)| description::administrator_directory(kind, &organization.domain));
        [description::FILE.into(), "topology.yaml".into(), "channels".into(), self.package_path()]
            .into_iter()
            .chain(administrators)
            .collect()
    }
}

/// A value as YAML. Maps with text for keys, lists and scalars always serialize.
fn yaml(value: &impl serde::Serialize) -> String {
    // A long path or command is easier to copy from one line.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 10_000 };
    serde_saphyr::to_string_with_options(value, options).unwrap_or_default()
}
