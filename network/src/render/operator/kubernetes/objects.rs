//! The typed objects of nodes and chaincode servers. A bundle writes them as YAML; a run of the harness creates the
//! same objects in a cluster. [`Settings`] has the differences. Nothing is written or sent here.

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
/// The directory of an uploaded chaincode server in its pod.
pub const PROGRAM_DIRECTORY: &str = "/opt/program";
/// The file name of that program.
pub const PROGRAM: &str = "chaincode-server";
/// The last file of an upload, in its directory.
pub const UPLOADED: &str = ".uploaded";

/// The settings of the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The namespace, a DNS label.
    pub namespace: String,
    /// The official image of a peer, with its tag.
    pub peer: String,
    /// The official image of an orderer, with its tag.
    pub orderer: String,
    /// The origin of the external builder.
    pub builder: Origin,
    /// The image of the harness, whose program is the readiness probe of each container. Without it, nodes have no
    /// readiness probe, and a chaincode server is ready when its port opens.
    pub harness: Option<String>,
    /// The resources of each node.
    pub size: Size,
}

/// The origin of a program that is not in the official images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This image, which copies it into the pod.
    Image(String),
    /// An [`Upload`] into the pod, for which an init container waits.
    Uploaded,
}

/// The resources of each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A persistent volume claim, and the requests of the base.
    Base,
    /// As in the development overlay: ledgers are deleted with the pod, and requests are small.
    Development,
}

/// Files for a pod, which are written to this directory while the init container [`RECEIVER`] runs, which has `sh`
/// and `tar`. [`UPLOADED`] is the last one.
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
    /// Its private files and secret variables.
    pub secrets: Vec<Secret>,
    /// Its service, which makes its name known in the namespace.
    pub service: Service,
    /// Its pod, whose name is that of the set with the suffix `-0`.
    pub stateful_set: StatefulSet,
    /// The upload that the pod waits for.
    pub upload: Option<Upload>,
}

/// A chaincode server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name of its objects, and its host name: a DNS label of at most 52 characters.
    pub name: String,
    /// The image. For an uploaded program, it needs `sh` and `tar`.
    pub image: String,
    /// The program.
    pub program: Program,
    /// Its arguments; empty for those of the image.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// The port that it listens on.
    pub port: u16,
    /// The directory of its files in the network. The server sees it as [`CHAINCODE_DIRECTORY`].
    pub directory: PathBuf,
}

/// The program of a chaincode server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The entry point of the image.
    OfImage,
    /// [`PROGRAM`] in [`PROGRAM_DIRECTORY`], after the upload.
    Uploaded,
}

/// The objects of one chaincode server.
#[derive(Clone, Debug)]
pub struct ServerObjects {
    /// Its public files.
    pub configuration: Vec<ConfigMap>,
    /// Its private files.
    pub secrets: Vec<Secret>,
    /// Its service, which makes its name known in the namespace.
    pub service: Service,
    /// Its pod.
    pub deployment: Deployment,
    /// The upload that the pod waits for.
    pub upload: Option<Upload>,
}

/// Creates objects.
pub struct Objects<'a> {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) files: &'a BTreeMap<PathBuf, File>,
}

/// The placement of a node in a cluster.
pub fn place_node(topology: &Topology, node: &NodeRef<'_>, namespace: &str) -> NodePlacement {
    super::place(topology, node, namespace).0
}

impl<'a> Objects<'a> {
    /// Objects of a network with these files.
    pub fn new(topology: &Topology, files: &'a BTreeMap<PathBuf, File>, settings: Settings) -> Self {
        Self { settings, names: Names::new(topology), files }
    }

    /// The namespace, which enforces the pod security level "restricted".
    pub fn namespace(&self) -> Namespace {
        parts::namespace(&self.settings.namespace)
    }

    /// The name of a node's objects, which is also its host name.
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

    /// The settings of the objects.
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
