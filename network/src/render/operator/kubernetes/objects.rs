//! The typed objects of nodes and chaincode servers, whoever uses them: a bundle writes them as YAML, a
//! run of the harness puts the same ones into a cluster.
//!
//! What depends on who uses them is in [`Settings`]. Nothing is written or sent here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};

use super::material::Material;
use super::names::Names;
use super::parts::{self, Labels, metadata, selector, service};
use super::workloads::{component, node_labels, node_ports, server_labels, server_ports};
use crate::bundle::File;
use crate::node::NodeSpec;
use crate::placement::NodePlacement;
use crate::topology::{NodeRef, Topology};

pub use super::workloads::NODE_CONTAINER;
pub use crate::render::operator::{BUILDER as BUILDER_DIRECTORY, CHAINCODE as CHAINCODE_DIRECTORY};

/// The init container that waits for an [`Upload`].
pub const RECEIVER: &str = "receive";
/// The container of a chaincode server in its pod.
pub const CHAINCODE_CONTAINER: &str = "chaincode";
/// Where a pod has the chaincode server's program that was uploaded.
pub const PROGRAM_DIRECTORY: &str = "/opt/program";
/// The name of that program there.
pub const PROGRAM: &str = "chaincode-server";
/// The file whose arrival ends an upload, in the upload's directory.
pub const UPLOADED: &str = ".uploaded";

/// What the objects depend on, beside the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace, a DNS label.
    pub namespace: String,
    /// The official image of the peer, with its tag.
    pub peer: String,
    /// The official image of the orderer, with its tag.
    pub orderer: String,
    /// How peers come to the external builder.
    pub builder: Origin,
    /// The image of the harness, whose program is each container's probe. Without it nodes have none
    /// that tells whether they are ready, which is then for others to find out, and a chaincode server
    /// is ready when its port opens.
    pub harness: Option<String>,
    /// How much there is for each node.
    pub size: Size,
}

/// Where a program comes from that the official images don't have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Of this image, which puts it into the pod by itself.
    Image(String),
    /// Uploaded into the pod while an init container waits for it: see [`Upload`].
    Uploaded,
}

/// How much there is for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A claim for a volume, and the requests of the base.
    Base,
    /// What the development overlay makes of it: the ledgers go with the pod, and little is requested.
    Development,
}

/// Something that whoever runs a pod puts into it: files in this directory, the last of them
/// [`UPLOADED`], while the init container [`RECEIVER`], which has `sh` and `tar`, runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The directory in the init container.
    pub directory: &'static str,
}

/// The objects of one node.
#[derive(Clone, Debug)]
pub struct NodeObjects {
    /// Its public files.
    pub configuration: Vec<ConfigMap>,
    /// Its private files, and secret variables.
    pub secrets: Vec<Secret>,
    /// Its name in the namespace.
    pub service: Service,
    /// Its one pod, whose name is that of the set and `-0`.
    pub stateful_set: StatefulSet,
    /// What the pod waits for.
    pub upload: Option<Upload>,
}

/// A chaincode server to be made objects of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name of its objects and its host name, a DNS label of at most 52 characters.
    pub name: String,
    /// The image; of a program that is uploaded, one with `sh` and `tar`.
    pub image: String,
    /// Whether the program is the image's own.
    pub program: Program,
    /// Its arguments; none leaves the image's.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// The port that it listens on.
    pub port: u16,
    /// Its files are those of the network below this directory; they appear to it as
    /// [`CHAINCODE_DIRECTORY`].
    pub directory: PathBuf,
}

/// What a chaincode server's container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The image's own entry point.
    OfImage,
    /// [`PROGRAM`] in [`PROGRAM_DIRECTORY`], once it is uploaded.
    Uploaded,
}

/// The objects of one chaincode server.
#[derive(Clone, Debug)]
pub struct ServerObjects {
    /// Its public files.
    pub configuration: Vec<ConfigMap>,
    /// Its private files.
    pub secrets: Vec<Secret>,
    /// Its name in the namespace.
    pub service: Service,
    /// Its one pod.
    pub deployment: Deployment,
    /// What the pod waits for.
    pub upload: Option<Upload>,
}

/// What objects are made from.
pub struct Objects<'a> {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) files: &'a BTreeMap<PathBuf, File>,
}

/// Where a node is that Kubernetes runs.
pub fn place_node(topology: &Topology, node: &NodeRef<'_>, namespace: &str) -> NodePlacement {
    super::place(topology, node, namespace).0
}

impl<'a> Objects<'a> {
    /// Objects of a network with these files.
    pub fn new(topology: &Topology, files: &'a BTreeMap<PathBuf, File>, settings: Settings) -> Self {
        Self { settings, names: Names::new(topology), files }
    }

    /// The namespace of all of them, in which no pod may do more than these need.
    pub fn namespace(&self) -> Namespace {
        parts::namespace(&self.settings.namespace)
    }

    /// The name of a node's objects, and its host name.
    pub fn name_of(&self, node: &NodeSpec) -> String {
        self.names.of(&node.name)
    }

    /// The objects of a node.
    pub fn node(&self, node: &NodeSpec) -> NodeObjects {
        let name = self.name_of(node);
        let material = self.node_material(node);
        let metadata = self.metadata(&name, node_labels(node, &name));
        let stateful_set = self.stateful_set(node, &name, &material);
        let Material { configuration, mut secrets, .. } = material;
        secrets.extend(self.secret_environment(node));
        NodeObjects {
            configuration,
            secrets,
            service: service(metadata, selector(component(node), &name), &node_ports(node)),
            stateful_set,
            upload: self.upload_of(node),
        }
    }

    /// The objects of a chaincode server.
    pub fn server(&self, server: &Server) -> ServerObjects {
        let material = self.material_of(&server.directory, server);
        let metadata = self.metadata(&server.name, server_labels(&server.name));
        let deployment = self.deployment(server, &material);
        let Material { configuration, secrets, .. } = material;
        ServerObjects {
            configuration,
            secrets,
            service: service(metadata, selector(CHAINCODE_CONTAINER, &server.name), &server_ports(server)),
            deployment,
            upload: (server.program == Program::Uploaded).then_some(Upload { directory: PROGRAM_DIRECTORY }),
        }
    }

    /// What the objects depend on.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn metadata(
        &self,
        name: &str,
        labels: Labels,
    ) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        metadata(&self.settings.namespace, name, labels)
    }

    pub(super) fn node_material(&self, node: &NodeSpec) -> Material {
        let name = self.names.of(&node.name);
        self.material(&node.directory, &name, "node", &node_labels(node, &name))
    }

    pub(super) fn material_of(&self, directory: &Path, server: &Server) -> Material {
        self.material(directory, &server.name, CHAINCODE_CONTAINER, &server_labels(&server.name))
    }
}
