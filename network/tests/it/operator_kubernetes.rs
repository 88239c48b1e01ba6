//! The Kubernetes format, parsed as objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fabric_network::node::NodeKind;
use fabric_network::render::operator::kubernetes::objects::{
    NODE_CONTAINER, Objects, Origin, RECEIVER, Settings, Size, UPLOADED,
};
use fabric_network::render::operator::{Format, Rendered};
use fabric_network::topology::Topology;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, Secret, Service, Volume};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::operator::{large, rendered, text};

/// The objects of one kind in a file.
fn objects<T: DeserializeOwned>(rendered: &Rendered, path: &str, kind: &str) -> BTreeMap<String, T> {
    let documents = text(rendered, path).split("---\n").filter(|document| !document.trim().is_empty());
    let values = documents.map(|document| serde_saphyr::from_str::<Value>(document).unwrap());
    values
        .filter(|value| value["kind"] == kind)
        .map(|value| {
            let name = value["metadata"]["name"].as_str().unwrap().to_owned();
            (name, serde_json::from_value(value).unwrap())
        })
        .collect()
}

const NODES: &str = "kubernetes/base/nodes.yaml";
const CHAINCODE: &str = "kubernetes/base/chaincode.yaml";

fn environment(container: &Container) -> BTreeMap<String, String> {
    container.env.iter().flatten().map(|variable| (variable.name.clone(), variable.value.clone().unwrap())).collect()
}

/// The files of a projected volume, with the content of its objects.
fn directory(rendered: &Rendered, volume: &Volume) -> BTreeMap<String, Vec<u8>> {
    let maps: BTreeMap<String, ConfigMap> = objects(rendered, "kubernetes/base/configuration.yaml", "ConfigMap");
    let secrets: BTreeMap<String, Secret> = objects(rendered, "kubernetes/base/secrets.yaml", "Secret");
    let mut files = BTreeMap::new();
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(map) = &source.config_map {
            for item in map.items.iter().flatten() {
                let text = maps[&map.name].data.as_ref().unwrap()[&item.key].clone();
                files.insert(item.path.clone(), text.into_bytes());
            }
        }
        if let Some(secret) = &source.secret {
            for item in secret.items.iter().flatten() {
                files.insert(item.path.clone(), secrets[&secret.name].data.as_ref().unwrap()[&item.key].0.clone());
            }
        }
    }
    files
}

/// The files of a directory of the bundle.
fn expected(rendered: &Rendered, directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let below = |(path, file): (&std::path::PathBuf, &fabric_network::bundle::File)| {
        let path = path.strip_prefix(directory).ok()?.to_str()?.to_owned();
        Some((path, file.bytes.clone()))
    };
    rendered.bundle.files.iter().filter_map(below).collect()
}

#[test]
fn stateful_sets_match_the_node_specifications() {
    let rendered = rendered(&Topology::duo(), Format::Kubernetes);
    let sets: BTreeMap<String, StatefulSet> = objects(&rendered, NODES, "StatefulSet");
    let services: BTreeMap<String, Service> = objects(&rendered, NODES, "Service");
    assert_eq!(sets.len(), rendered.bundle.nodes.len());
    for node in &rendered.bundle.nodes {
        let at = &node.placement;
        let spec = sets[&at.host].spec.as_ref().unwrap();
        let pod = spec.template.spec.as_ref().unwrap();
        let container = &pod.containers[0];
        assert_eq!(container.image, Some(format!("{}:3.1.5", node.image)));
        let command = container.command.as_ref().unwrap();
        assert_eq!((&command[0], &command[1..]), (&node.program, &node.arguments[..]));
        assert_eq!(environment(container), node.environment);
        assert_eq!(container.working_dir.as_deref(), at.config_dir.to_str());
        let mounts: BTreeMap<_, _> =
            container.volume_mounts.iter().flatten().map(|mount| (mount.mount_path.as_str(), &mount.name)).collect();
        let own = mounts[at.config_dir.to_str().unwrap()];
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == *own).unwrap();
        let (seen, expected) = (directory(&rendered, volume), expected(&rendered, &node.directory));
        assert_eq!(seen.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(seen == expected, "the files of {} differ", node.name);
        assert!(mounts.keys().any(|path| *path != "/tmp" && at.data_dir.starts_with(path)), "no volume for data");
        assert_eq!(mounts.contains_key(at.builder_dir.to_str().unwrap()), node.kind == NodeKind::Peer);
        let ready = format!("ready 127.0.0.1:{} --server-name {}", node.readiness.port, node.readiness.server_name);
        for probe in [&container.startup_probe, &container.readiness_probe] {
            let command = probe.as_ref().and_then(|probe| probe.exec.as_ref()?.command.clone()).unwrap().join(" ");
            assert!(command.contains(&ready), "{command}");
        }
        // Its host is a service that selects only its pod.
        let service = services[&at.host].spec.as_ref().unwrap();
        let selected = service.selector.as_ref().unwrap();
        let fits =
            |labels: &BTreeMap<String, String>| selected.iter().all(|(name, value)| labels.get(name) == Some(value));
        let labels = |set: &StatefulSet| set.spec.clone().unwrap().template.metadata.unwrap().labels.unwrap();
        let fitting: Vec<_> = sets.iter().filter(|(_, set)| fits(&labels(set))).map(|(name, _)| name).collect();
        assert_eq!(fitting, [&at.host]);
        let ports: BTreeSet<_> = service.ports.iter().flatten().map(|port| port.port).collect();
        assert!(ports.contains(&i32::from(at.ports.grpc)));
    }
}

#[test]
fn deployments_match_the_specifications_and_only_their_peer_reaches_them() {
    let rendered = rendered(&Topology::duo(), Format::Kubernetes);
    let deployments: BTreeMap<String, Deployment> = objects(&rendered, CHAINCODE, "Deployment");
    let sets: BTreeMap<String, StatefulSet> = objects(&rendered, NODES, "StatefulSet");
    let policies: BTreeMap<String, NetworkPolicy> =
        objects(&rendered, "kubernetes/base/network-policies.yaml", "NetworkPolicy");
    assert_eq!(deployments.len(), rendered.bundle.servers.len());
    for server in &rendered.bundle.servers {
        let spec = deployments[&server.placement.host].spec.as_ref().unwrap();
        let pod = spec.template.spec.as_ref().unwrap();
        assert_eq!(environment(&pod.containers[0]), server.environment);
        let own = pod.volumes.iter().flatten().find(|volume| volume.projected.is_some()).unwrap();
        let seen = directory(&rendered, own);
        assert!(seen == expected(&rendered, &server.directory), "the files of {} differ", server.placement.host);

        let labels = spec.template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
        let policy = policies[&server.placement.host].spec.as_ref().unwrap();
        let selected = policy.pod_selector.as_ref().unwrap().match_labels.as_ref().unwrap();
        assert!(selected.iter().all(|(name, value)| labels.get(name) == Some(value)));
        assert_eq!(policy.policy_types.as_ref().unwrap().len(), 2, "in and out");
        assert_eq!(policy.egress, None);
        let from: Vec<_> = policy.ingress.iter().flatten().flat_map(|rule| rule.from.clone().unwrap()).collect();
        assert_eq!(from.len(), 1);
        let from = from[0].pod_selector.as_ref().unwrap().match_labels.as_ref().unwrap();
        let labels = |set: &StatefulSet| set.spec.clone().unwrap().template.metadata.unwrap().labels.unwrap();
        let admitted = sets.iter().filter(|(_, set)| {
            let labels = labels(set);
            from.iter().all(|(name, value)| labels.get(name) == Some(value))
        });
        let peer = rendered.bundle.nodes.iter().find(|node| node.name == server.peer).unwrap();
        assert_eq!(admitted.map(|(name, _)| name).collect::<Vec<_>>(), [&peer.placement.host]);
    }
}

/// Checks the requirements of the pod security level "restricted", and more.
fn assert_restricted(pod: &PodSpec) {
    let security = pod.security_context.as_ref().unwrap();
    assert_eq!(security.run_as_non_root, Some(true));
    assert!(security.run_as_user.unwrap() > 0);
    assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
    assert!(pod.volumes.iter().flatten().all(|volume| volume.host_path.is_none()));
    for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.capabilities.as_ref().unwrap().drop.as_ref().unwrap(), &["ALL"]);
        assert!(container.resources.as_ref().unwrap().requests.is_some(), "{}", container.name);
        assert!(container.image.as_ref().unwrap().rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"));
    }
}

#[test]
fn every_pod_is_restricted() {
    let rendered = rendered(&Topology::solo(), Format::Kubernetes);
    let sets: BTreeMap<String, StatefulSet> = objects(&rendered, NODES, "StatefulSet");
    let deployments: BTreeMap<String, Deployment> = objects(&rendered, CHAINCODE, "Deployment");
    let jobs: BTreeMap<String, Job> = objects(&rendered, "kubernetes/deploy/job.yaml", "Job");
    let templates = sets.values().map(|set| set.spec.clone().unwrap().template);
    let templates = templates.chain(deployments.values().map(|deployment| deployment.spec.clone().unwrap().template));
    let templates = templates.chain(jobs.values().map(|job| job.spec.clone().unwrap().template));
    let pods: Vec<PodSpec> = templates.map(|template| template.spec.unwrap()).collect();
    assert_eq!(pods.len(), 4);
    pods.iter().for_each(assert_restricted);
}

#[test]
fn a_large_network_has_valid_names_for_kubernetes() {
    let rendered = rendered(&large(), Format::Kubernetes);
    let sets: BTreeMap<String, StatefulSet> = objects(&rendered, NODES, "StatefulSet");
    assert_eq!(sets.len(), 43);
    let services: BTreeMap<String, Service> = objects(&rendered, CHAINCODE, "Service");
    assert_eq!(services.len(), 40);
    assert!(services.keys().chain(sets.keys()).all(|name| name.len() <= 52));
    // The limit of an object is 1 MB.
    for file in
        ["kubernetes/base/configuration.yaml", "kubernetes/deploy/configuration.yaml", "kubernetes/deploy/secrets.yaml"]
    {
        for document in text(&rendered, file).split("---\n") {
            assert!(document.len() < 1_000_000, "{file}");
        }
    }
}

/// The settings of the harness.
fn settings(rendered: &Rendered) -> Settings {
    let sets: BTreeMap<String, StatefulSet> = objects(rendered, NODES, "StatefulSet");
    let namespace = sets.values().next().unwrap().metadata.namespace.clone().unwrap();
    Settings {
        namespace,
        peer: "hyperledger/fabric-peer:3.1.5".to_owned(),
        orderer: "hyperledger/fabric-orderer:3.1.5".to_owned(),
        builder: Origin::Uploaded,
        harness: None,
        size: Size::Development,
    }
}

/// The documented differences of a run: no claim, small requests, and no image of the harness or the builder.
fn as_in_a_run(mut set: StatefulSet) -> StatefulSet {
    let spec = set.spec.as_mut().unwrap();
    spec.volume_claim_templates = None;
    let pod = spec.template.spec.as_mut().unwrap();
    pod.init_containers = None;
    let volumes = pod.volumes.as_mut().unwrap();
    volumes.retain(|volume| !matches!(volume.name.as_str(), "tools" | "data"));
    let container = &mut pod.containers[0];
    container.volume_mounts.as_mut().unwrap().retain(|mount| mount.name != "tools");
    container.resources = None;
    (container.startup_probe, container.readiness_probe) = (None, None);
    set
}

#[test]
fn a_run_has_the_objects_of_a_bundle() {
    let topology = Topology::duo();
    let rendered = rendered(&topology, Format::Kubernetes);
    let sets: BTreeMap<String, StatefulSet> = objects(&rendered, NODES, "StatefulSet");
    let services: BTreeMap<String, Service> = objects(&rendered, NODES, "Service");
    let maps: BTreeMap<String, ConfigMap> = objects(&rendered, "kubernetes/base/configuration.yaml", "ConfigMap");
    let secrets: BTreeMap<String, Secret> = objects(&rendered, "kubernetes/base/secrets.yaml", "Secret");
    let made = Objects::new(&topology, &rendered.bundle.files, settings(&rendered));
    for node in &rendered.bundle.nodes {
        let (name, of_run) = (made.name_of(node), made.node(node));
        assert_eq!(of_run.service, services[&name]);
        for map in of_run.configuration {
            assert_eq!(map, maps[map.metadata.name.as_ref().unwrap()]);
        }
        for secret in of_run.secrets {
            assert_eq!(secret, secrets[secret.metadata.name.as_ref().unwrap()]);
        }
        let requests = of_run.stateful_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0]
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.clone())
            .unwrap();
        // The development overlay has the same.
        let overlay = text(&rendered, "kubernetes/overlays/development/kustomization.yaml");
        for (what, quantity) in requests {
            assert!(overlay.contains(&format!("{what}: {}", quantity.0)), "{what}: {}", quantity.0);
        }
        let pod = of_run.stateful_set.spec.as_ref().unwrap().template.spec.clone().unwrap();
        assert!(pod.volumes.iter().flatten().any(|volume| volume.name == "data" && volume.empty_dir.is_some()));
        assert_eq!(of_run.upload.is_some(), node.kind == NodeKind::Peer);
        if let Some(upload) = of_run.upload {
            let receiver = &pod.init_containers.unwrap()[0];
            let waits_for = receiver.command.as_ref().unwrap().last().unwrap();
            assert_eq!((receiver.name.as_str(), waits_for), (RECEIVER, &format!("{}/{UPLOADED}", upload.directory)));
            assert_eq!(node.placement.builder_dir, Path::new(upload.directory));
        }
        assert_eq!(pod.containers[0].name, NODE_CONTAINER);
        assert_eq!(as_in_a_run(of_run.stateful_set), as_in_a_run(sets[&name].clone()));
    }
}

#[test]
fn secret_variables_of_a_node_are_only_in_a_secret() {
    let topology = Topology::solo();
    let rendered = rendered(&topology, Format::Kubernetes);
    let mut node = rendered.bundle.nodes[0].clone();
    node.secrets.insert("CORE_PASSWORD".to_owned(), "open sesame".to_owned().into());
    let made = Objects::new(&topology, &rendered.bundle.files, settings(&rendered)).node(&node);
    let set = serde_json::to_string(&made.stateful_set).unwrap();
    assert!(set.contains("CORE_PASSWORD") && !set.contains("sesame"), "{set}");
    let is_there = |secret: &Secret| {
        secret.data.iter().flatten().any(|(name, value)| name == "CORE_PASSWORD" && value.0 == b"open sesame")
    };
    assert_eq!(made.secrets.iter().filter(|secret| is_there(secret)).count(), 1);
}

#[test]
fn the_workloads() {
    let rendered = rendered(&Topology::solo(), Format::Kubernetes);
    for path in [
        "base/nodes",
        "base/chaincode",
        "base/network-policies",
        "base/namespace",
        "deploy/job",
        "overlays/development-sidecar/kustomization",
        "overlays/development-sidecar/peer0-org1-example-com",
    ] {
        let name = format!("kubernetes_{}", path.replace('/', "_"));
        insta::assert_snapshot!(name, without_digests(text(&rendered, &format!("kubernetes/{path}.yaml"))));
    }
}

/// Keys differ on each run, and so do the digests of their files.
fn without_digests(text: &str) -> String {
    let line = |line: &str| match line.split_once("configuration-digest: ") {
        Some((before, _)) => format!("{before}configuration-digest: (a SHA-256)\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
