//! A kustomize base with overlays, and a Job that deploys: typed objects, written as YAML.
//!
//! Each peer and orderer is a `StatefulSet` with one pod, because each has its own configuration and identity. Each
//! peer has its own chaincode server.
//!
//! ```text
//! kubernetes/base/                       the network and the chaincode servers
//! kubernetes/overlays/development/       ledgers are deleted with the pod
//! kubernetes/overlays/development-sidecar/   the same, with the chaincode in its peer's pod
//! kubernetes/overlays/production/        larger volumes, limits, disruption budgets, spread nodes
//! kubernetes/deploy/                     creates the channels, deploys and checks the chaincode
//! ```

mod deploy;
mod material;
mod names;
pub mod objects;
mod overlays;
mod parts;
mod policies;
mod workloads;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{Files, Source, in_container, ports, server_in_container};
use crate::bundle::{File, PRIVATE_MODE};
use crate::chaincode::ServerSpec;
use crate::placement::{NodePlacement, ServerPlacement};
use crate::topology::{NodeRef, Topology};
use names::Names;
use objects::{Objects, Origin, Program, Server, Settings, Size};
use parts::Labels;

/// The directory of this format in the bundle.
const DIRECTORY: &str = "kubernetes";

/// The placements of a node and of its chaincode server.
pub(super) fn place(topology: &Topology, node: &NodeRef<'_>, namespace: &str) -> (NodePlacement, ServerPlacement) {
    let names = Names::new(topology);
    let in_cluster = |service: &str| {
        ["", ".svc", ".svc.cluster.local"].map(|suffix| format!("{service}.{namespace}{suffix}")).to_vec()
    };
    let service = names.of(&node.name);
    let mut extra_sans = in_cluster(&service);
    // For `kubectl port-forward`.
    extra_sans.push("localhost".to_owned());
    let server = names::of_server(&service);
    let mut server_sans = in_cluster(&server);
    // In the peer's pod.
    server_sans.push("127.0.0.1".to_owned());
    (in_container(node, service, ports(node.kind, 0), extra_sans), server_in_container(server, server_sans))
}

/// The objects of one file, in order.
#[derive(Default)]
struct Manifest {
    text: String,
    is_private: bool,
}

impl Manifest {
    fn add<T: Serialize + Resource>(&mut self, object: &T) {
        self.text.push_str("---\n");
        self.text.push_str(&super::yaml(object));
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn all<T: Serialize + Resource>(objects: impl IntoIterator<Item = T>) -> Self {
        let mut manifest = Self::default();
        for object in objects {
            manifest.add(&object);
        }
        manifest
    }

    fn private(self) -> Self {
        Self { is_private: true, ..self }
    }

    fn file(self) -> File {
        if self.is_private {
            File { bytes: self.text.into_bytes(), mode: PRIVATE_MODE }
        } else {
            File::public(self.text)
        }
    }
}

/// A directory of manifests, and the kustomization that lists them.
struct Kustomization {
    directory: PathBuf,
    manifests: Vec<(&'static str, Manifest)>,
}

impl Kustomization {
    fn into_files(self, files: &mut Files) {
        let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
        for (name, manifest) in self.manifests {
            let _ = writeln!(text, "  - {name}");
            files.insert(self.directory.join(name), manifest.file());
        }
        files.insert(self.directory.join("kustomization.yaml"), File::public(text));
    }
}

pub(super) fn files(source: &Source<'_>) -> Files {
    let mut files = Files::new();
    let context = Context::new(source);
    context.base().into_files(&mut files);
    context.deploy().into_files(&mut files);
    files.extend(context.overlays());
    files
}

/// The input of the objects of a bundle.
struct Context<'a> {
    source: &'a Source<'a>,
    objects: Objects<'a>,
}

impl<'a> Context<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        let images = &source.options.images;
        let settings = Settings {
            namespace: source.options.namespace.clone(),
            peer: images.peer.clone(),
            orderer: images.orderer.clone(),
            builder: Origin::Image(images.builder.clone()),
            harness: Some(images.harness.clone()),
            size: Size::Base,
        };
        Self { source, objects: Objects::new(source.topology, &source.bundle.files, settings) }
    }

    fn base(&self) -> Kustomization {
        let (mut configuration, mut secrets, mut nodes, mut servers) =
            (Vec::new(), Vec::new(), Manifest::default(), Manifest::default());
        for node in &self.source.bundle.nodes {
            let objects = self.objects.node(node);
            configuration.extend(objects.configuration);
            secrets.extend(objects.secrets);
            nodes.add(&objects.service);
            nodes.add(&objects.stateful_set);
        }
        for server in &self.source.bundle.servers {
            let objects = self.objects.server(&self.server(server));
            configuration.extend(objects.configuration);
            secrets.extend(objects.secrets);
            servers.add(&objects.service);
            servers.add(&objects.deployment);
        }
        Kustomization {
            directory: Path::new(DIRECTORY).join("base"),
            manifests: vec![
                ("namespace.yaml", Manifest::all([self.objects.namespace()])),
                ("configuration.yaml", Manifest::all(configuration)),
                ("secrets.yaml", Manifest::all(secrets).private()),
                ("nodes.yaml", nodes),
                ("chaincode.yaml", servers),
                ("network-policies.yaml", Manifest::all(self.policies())),
            ],
        }
    }

    /// The chaincode server of one peer.
    fn server(&self, server: &ServerSpec) -> Server {
        Server {
            name: names::of_server(&self.objects.names.of(&server.peer)),
            image: self.source.options.images.chaincode.clone(),
            program: Program::OfImage,
            arguments: Vec::new(),
            environment: server.environment.clone(),
            port: server.placement.port,
            directory: server.directory.clone(),
        }
    }

    fn metadata(&self, name: &str, labels: Labels) -> ObjectMeta {
        self.objects.metadata(name, labels)
    }
}
