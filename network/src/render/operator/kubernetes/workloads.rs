//! What runs: a `StatefulSet` and a Service for each node, a Deployment and a Service for each chaincode
//! server.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Volume,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::material::Material;
use super::parts::{
    Labels, command_probe, confined_container, confined_pod, container_ports, empty, environment, health_probe,
    installer, labels, matching, metadata, mount, requests, selector, service,
};
use super::{Context, Manifest, names};
use crate::chaincode::ServerSpec;
use crate::node::NodeSpec;
use crate::render::operator::{BUILDER, CHAINCODE, DATA, NODE, TOOLS, listening_command, ready_command};
use crate::topology::NodeKind;

/// The annotation with the digest of what a pod has mounted.
const DIGEST: &str = "fabric-network/configuration-digest";
/// The volume of a node's ledgers.
pub(super) const DATA_VOLUME: &str = "data";
/// The container of a node in its pod.
pub(super) const NODE_CONTAINER: &str = "node";

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
    labels("chaincode", name)
}

impl Context<'_> {
    pub(super) fn node_manifest(&self) -> Manifest {
        let mut manifest = Manifest::default();
        for node in &self.source.bundle.nodes {
            let name = self.names.of(&node.name);
            let metadata = self.metadata(&name, node_labels(node, &name));
            manifest.add(&service(metadata, selector(component(node), &name), &node_ports(node)));
            manifest.add(&self.stateful_set(node, &name));
        }
        manifest
    }

    pub(super) fn server_manifest(&self) -> Manifest {
        let mut manifest = Manifest::default();
        for server in &self.source.bundle.servers {
            let name = names::of_server(&self.names.of(&server.peer));
            let metadata = self.metadata(&name, server_labels(&name));
            manifest.add(&service(metadata, selector("chaincode", &name), &server_ports(server)));
            manifest.add(&self.deployment(server, &name));
        }
        manifest
    }

    pub(super) fn metadata(&self, name: &str, labels: Labels) -> ObjectMeta {
        metadata(&self.source.options.namespace, name, labels)
    }

    fn stateful_set(&self, node: &NodeSpec, name: &str) -> StatefulSet {
        let material = self.node_material(node);
        let labels = node_labels(node, name);
        StatefulSet {
            metadata: self.metadata(name, labels.clone()),
            spec: Some(StatefulSetSpec {
                replicas: Some(1),
                service_name: Some(name.to_owned()),
                selector: matching(selector(component(node), name)),
                template: template(labels, &material, self.node_pod(node, material.volume.clone())),
                volume_claim_templates: Some(vec![claim()]),
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }
    }

    fn node_pod(&self, node: &NodeSpec, own: Volume) -> PodSpec {
        let images = &self.source.options.images;
        let mut installers = vec![installer("install-tools", &images.harness, "tools", TOOLS)];
        let mut mounts = vec![
            mount("node", NODE, true),
            mount(DATA_VOLUME, DATA, false),
            mount("tools", TOOLS, true),
            mount("tmp", "/tmp", false),
        ];
        let mut volumes = vec![own, empty("tools"), empty("tmp")];
        let image = match node.kind {
            NodeKind::Peer => {
                installers.push(installer("install-builder", &images.builder, "builder", BUILDER));
                mounts.push(mount("builder", BUILDER, true));
                volumes.push(empty("builder"));
                &images.peer
            }
            NodeKind::Orderer => &images.orderer,
        };
        let ready = || ready_command(&node.readiness.server_name, node.readiness.port);
        PodSpec {
            init_containers: Some(installers),
            containers: vec![Container {
                command: Some(std::iter::once(&node.program).chain(&node.arguments).cloned().collect()),
                working_dir: Some(node.placement.config_dir.display().to_string()),
                env: Some(environment(&node.environment)),
                ports: Some(container_ports(&node_ports(node))),
                volume_mounts: Some(mounts),
                startup_probe: Some(command_probe(ready(), 2, 90)),
                readiness_probe: Some(command_probe(ready(), 10, 3)),
                liveness_probe: Some(health_probe("operations", 20, 6)),
                resources: Some(requests("100m", "256Mi")),
                ..confined_container(NODE_CONTAINER, image)
            }],
            volumes: Some(volumes),
            ..confined_pod()
        }
    }

    fn deployment(&self, server: &ServerSpec, name: &str) -> Deployment {
        let material = self.server_material(server);
        let labels = server_labels(name);
        let mut volumes = vec![empty("tools")];
        volumes.extend((!material.is_empty).then(|| material.volume.clone()));
        let pod = PodSpec {
            init_containers: Some(vec![installer(
                "install-tools",
                &self.source.options.images.harness,
                "tools",
                TOOLS,
            )]),
            containers: vec![self.server_container(server, &material)],
            volumes: Some(volumes),
            ..confined_pod()
        };
        Deployment {
            metadata: self.metadata(name, labels.clone()),
            spec: Some(DeploymentSpec {
                replicas: Some(1),
                selector: matching(selector("chaincode", name)),
                template: template(labels, &material, pod),
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    /// The chaincode server, in a pod of its own or in its peer's.
    pub(super) fn server_container(&self, server: &ServerSpec, material: &Material) -> Container {
        let mut mounts = vec![mount("tools", TOOLS, true)];
        mounts.extend((!material.is_empty).then(|| mount("chaincode", CHAINCODE, true)));
        // It listens when it is ready, and not before; to a probe that calls, it would log an error.
        let listens = || listening_command(&format!("127.0.0.1:{}", server.placement.port));
        Container {
            env: Some(environment(&server.environment)),
            ports: Some(container_ports(&server_ports(server))),
            volume_mounts: Some(mounts),
            startup_probe: Some(command_probe(listens(), 1, 60)),
            readiness_probe: Some(command_probe(listens(), 10, 3)),
            liveness_probe: Some(command_probe(listens(), 20, 3)),
            resources: Some(requests("50m", "64Mi")),
            ..confined_container("chaincode", &self.source.options.images.chaincode)
        }
    }
}

fn node_ports(node: &NodeSpec) -> Vec<(&'static str, u16)> {
    let ports = node.placement.ports;
    let admin = ports.admin.map(|port| ("admin", port));
    [("grpc", ports.grpc), ("operations", ports.operations)].into_iter().chain(admin).collect()
}

fn server_ports(server: &ServerSpec) -> [(&'static str, u16); 1] {
    [("chaincode", server.placement.port)]
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
