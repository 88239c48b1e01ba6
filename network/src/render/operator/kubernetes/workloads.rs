//! The workloads: a `StatefulSet` for each node, a Deployment for each chaincode server.

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Secret, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::material::Material;
use super::objects::{CHAINCODE_CONTAINER, Objects, Origin, PROGRAM, PROGRAM_DIRECTORY, Program, Server, Size, Upload};
use super::parts::{
    Labels, command_probe, confined_container, confined_pod, container_ports, empty, environment, health_probe,
    installer, labels, matching, mount, port_probe, receiver, requests, secret_environment, selector,
};
use crate::couchdb::Secret as Hidden;
use crate::node::NodeSpec;
use crate::render::operator::{BUILDER, CHAINCODE, DATA, NODE, TOOLS, listening_command, ready_command};
use crate::topology::NodeKind;

/// The annotation with the digest of the files that a pod mounts.
const DIGEST: &str = "fabric-network/configuration-digest";
/// The volume with a node's ledgers.
pub(super) const DATA_VOLUME: &str = "data";
/// The container of a node in its pod.
pub const NODE_CONTAINER: &str = "node";

pub(super) fn component(node: &NodeSpec) -> &'static str {
    match node.kind {
        NodeKind::Peer => "peer",
        NodeKind::Orderer => "orderer",
    }
}

pub(super) fn node_labels(node: &NodeSpec, name: &str) -> Labels {
    labels(component(node), name)
}

pub(super) fn server_labels(name: &str) -> Labels {
    labels(CHAINCODE_CONTAINER, name)
}

impl Objects<'_> {
    pub(super) fn stateful_set(&self, node: &NodeSpec, name: &str, material: &Material) -> StatefulSet {
        let labels = node_labels(node, name);
        StatefulSet {
            metadata: self.metadata(name, labels.clone()),
            spec: Some(StatefulSetSpec {
                replicas: Some(1),
                service_name: Some(name.to_owned()),
                selector: matching(selector(component(node), name)),
                template: template(labels, material, self.node_pod(node, material.volume.clone())),
                volume_claim_templates: (self.settings.size == Size::Base).then(|| vec![claim()]),
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }
    }

    /// The upload that a node's pod waits for.
    pub(super) fn upload_of(&self, node: &NodeSpec) -> Option<Upload> {
        let is_uploaded = node.kind == NodeKind::Peer && self.settings.builder == Origin::Uploaded;
        is_uploaded.then_some(Upload { directory: BUILDER })
    }

    fn node_pod(&self, node: &NodeSpec, own: Volume) -> PodSpec {
        let mut mounts = vec![mount("node", NODE, true), mount(DATA_VOLUME, DATA, false)];
        let mut volumes = vec![own];
        let mut installers = self.install_tools(&mut mounts, &mut volumes);
        mounts.push(mount("tmp", "/tmp", false));
        volumes.push(empty("tmp"));
        let image = match node.kind {
            NodeKind::Peer => {
                installers.push(match &self.settings.builder {
                    Origin::Image(image) => installer("install-builder", image, "builder", BUILDER),
                    Origin::Uploaded => receiver(&self.settings.peer, "builder", BUILDER),
                });
                mounts.push(mount("builder", BUILDER, true));
                volumes.push(empty("builder"));
                &self.settings.peer
            }
            NodeKind::Orderer => &self.settings.orderer,
        };
        let (cpu, memory) = match self.settings.size {
            Size::Base => ("100m", "256Mi"),
            Size::Development => {
                volumes.push(empty(DATA_VOLUME));
                ("20m", "64Mi")
            }
        };
        let ready = |period, failures| {
            let command = || ready_command(&node.readiness.server_name, node.readiness.port);
            self.settings.harness.as_ref().map(|_| command_probe(command(), period, failures))
        };
        let mut variables = environment(&node.environment);
        variables.extend(secret_environment(node.secrets.keys(), &self.environment_name(node)));
        PodSpec {
            init_containers: (!installers.is_empty()).then_some(installers),
            containers: vec![Container {
                command: Some(std::iter::once(&node.program).chain(&node.arguments).cloned().collect()),
                working_dir: Some(node.placement.config_dir.display().to_string()),
                env: Some(variables),
                ports: Some(container_ports(&node_ports(node))),
                volume_mounts: Some(mounts),
                startup_probe: ready(2, 90),
                readiness_probe: ready(10, 3),
                liveness_probe: Some(health_probe("operations", 20, 6)),
                resources: Some(requests(cpu, memory)),
                ..confined_container(NODE_CONTAINER, image)
            }],
            volumes: Some(volumes),
            ..confined_pod()
        }
    }

    /// The init container with the program for readiness checks, if there is one.
    fn install_tools(&self, mounts: &mut Vec<VolumeMount>, volumes: &mut Vec<Volume>) -> Vec<Container> {
        let Some(image) = &self.settings.harness else { return Vec::new() };
        mounts.push(mount("tools", TOOLS, true));
        volumes.push(empty("tools"));
        vec![installer("install-tools", image, "tools", TOOLS)]
    }

    fn environment_name(&self, node: &NodeSpec) -> String {
        format!("{}-environment", self.names.of(&node.name))
    }

    /// The Secret with the secret variables of a node.
    pub(super) fn secret_environment(&self, node: &NodeSpec) -> Option<Secret> {
        let value = |(name, value): (&String, &Hidden)| (name.clone(), ByteString(value.reveal().into()));
        (!node.secrets.is_empty()).then(|| Secret {
            metadata: self.metadata(&self.environment_name(node), node_labels(node, &self.names.of(&node.name))),
            data: Some(node.secrets.iter().map(value).collect()),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        })
    }

    pub(super) fn deployment(&self, server: &Server, material: &Material) -> Deployment {
        let labels = server_labels(&server.name);
        let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
        let mut installers = self.install_tools(&mut mounts, &mut volumes);
        volumes.extend((!material.is_empty).then(|| material.volume.clone()));
        if server.program == Program::Uploaded {
            installers.push(receiver(&server.image, "program", PROGRAM_DIRECTORY));
            volumes.push(empty("program"));
        }
        let pod = PodSpec {
            init_containers: (!installers.is_empty()).then_some(installers),
            containers: vec![self.server_container(server, material)],
            volumes: Some(volumes),
            ..confined_pod()
        };
        Deployment {
            metadata: self.metadata(&server.name, labels.clone()),
            spec: Some(DeploymentSpec {
                replicas: Some(1),
                selector: matching(selector(CHAINCODE_CONTAINER, &server.name)),
                template: template(labels, material, pod),
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    /// The chaincode server, in its own pod or in its peer's.
    pub(super) fn server_container(&self, server: &Server, material: &Material) -> Container {
        let tools = self.settings.harness.is_some();
        let is_uploaded = server.program == Program::Uploaded;
        let mut mounts = Vec::new();
        mounts.extend(tools.then(|| mount("tools", TOOLS, true)));
        mounts.extend((!material.is_empty).then(|| mount(CHAINCODE_CONTAINER, CHAINCODE, true)));
        mounts.extend(is_uploaded.then(|| mount("program", PROGRAM_DIRECTORY, true)));
        // It listens only when it is ready; for a probe that makes a call, it would log an error.
        let listens = |period, failures| {
            let command = || listening_command(&format!("127.0.0.1:{}", server.port));
            tools.then(|| command_probe(command(), period, failures))
        };
        Container {
            command: is_uploaded.then(|| vec![format!("{PROGRAM_DIRECTORY}/{PROGRAM}")]),
            args: (!server.arguments.is_empty()).then(|| server.arguments.clone()),
            env: Some(environment(&server.environment)),
            ports: Some(container_ports(&server_ports(server))),
            volume_mounts: Some(mounts),
            // It runs only until it passes, so there is at most one such error.
            startup_probe: listens(1, 60).or_else(|| Some(port_probe(CHAINCODE_CONTAINER, 1, 3600))),
            readiness_probe: listens(10, 3),
            liveness_probe: listens(20, 3),
            resources: Some(requests("50m", "64Mi")),
            ..confined_container(CHAINCODE_CONTAINER, &server.image)
        }
    }
}

pub(super) fn node_ports(node: &NodeSpec) -> Vec<(&'static str, u16)> {
    let ports = node.placement.ports;
    let admin = ports.admin.map(|port| ("admin", port));
    [("grpc", ports.grpc), ("operations", ports.operations)].into_iter().chain(admin).collect()
}

pub(super) fn server_ports(server: &Server) -> [(&'static str, u16); 1] {
    [(CHAINCODE_CONTAINER, server.port)]
}

fn template(labels: Labels, material: &Material, pod: PodSpec) -> PodTemplateSpec {
    let annotations = [(DIGEST.to_owned(), material.digest.clone())].into();
    let metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) }
}

fn claim() -> PersistentVolumeClaim {
    let storage = [("storage".to_owned(), Quantity("5Gi".to_owned()))].into();
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA_VOLUME.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements { requests: Some(storage), limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
