//! `compose.yaml`: every node and every chaincode server as a service.
//!
//! For `docker compose` and docker-compose 1.29, without the engine's socket and without privileges. The types are
//! the part of the Compose specification that is used, also for reading the file back.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    BUILDER, CHAINCODE, CHAINCODE_PORT, DATA, DEPLOYMENT, Files, NODE, Source, TOOLS, in_container, listening_command,
    ports, ready_command, server_in_container,
};
use crate::bundle::File;
use crate::chaincode::ServerSpec;
use crate::node::NodeSpec;
use crate::placement::{NodePlacement, ServerPlacement};
use crate::topology::{NodeKind, NodeRef};

/// The file's name in the bundle.
pub const FILE: &str = "compose.yaml";

/// The network of all nodes.
const NETWORK: &str = "fabric";
/// The owner of the bundle's files, which `.env` sets.
const OWNER: &str = "${BUNDLE_OWNER:?it is set in the file .env next to compose.yaml}";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// The containers.
    pub services: BTreeMap<String, Service>,
    /// The networks.
    pub networks: BTreeMap<String, Network>,
    /// The volumes.
    pub volumes: BTreeMap<String, Volume>,
}

/// A network of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether it has no connection to the outside.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name in the engine, if it is not derived from the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The image, with its tag.
    pub image: String,
    /// The profiles in which it starts; empty for always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// The command; empty for that of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// User and group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Mounts of files and volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Directories in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Ports that are published on the engine's machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// `none` for a service that needs no network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// The services that must be ready before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<String, Dependency>,
    /// The check that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When it is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Whether the container's file system is read-only.
    pub read_only: bool,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    /// Kept capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Other restrictions.
    pub security_opt: Vec<String>,
}

/// The state of another service that a service waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// `service_healthy` or `service_completed_successfully`.
    pub condition: String,
}

/// How the engine checks that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// `CMD` and a command.
    pub test: Vec<String>,
    /// The time between two checks.
    pub interval: String,
    /// The timeout of one check.
    pub timeout: String,
    /// The consecutive failures after which it is unhealthy.
    pub retries: u32,
    /// The time after the start in which failures do not count.
    pub start_period: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The placements of the node with this index among its kind, and of its chaincode server.
pub(super) fn place(node: &NodeRef<'_>, index: u16) -> (NodePlacement, ServerPlacement) {
    // Through a published port, a client dials the engine's machine.
    let placement = in_container(node, node.name.clone(), ports(node.kind, index), vec!["localhost".to_owned()]);
    (placement, server_in_container(server_name(&node.name), Vec::new()))
}

/// The service and host name of a peer's chaincode server.
fn server_name(peer: &str) -> String {
    format!("chaincode.{peer}")
}

pub(super) fn files(source: &Source<'_>) -> Files {
    let (user, group) = source.options.owner;
    let note = "# For docker compose: the user and group that can read the private keys in this directory.\n";
    let header = "# A Fabric network with a chaincode server for each peer. Usage: README.md.\n";
    Files::from([
        (FILE.into(), File::public(format!("{header}{}", super::yaml(&compose(source))))),
        (".env".into(), File::public(format!("{note}BUNDLE_OWNER={user}:{group}\n"))),
    ])
}

fn compose(source: &Source<'_>) -> Compose {
    let bundle = source.bundle;
    let images = &source.options.images;
    let mut services = BTreeMap::from([
        ("install-builder".to_owned(), installer(&images.builder, "builder", BUILDER)),
        ("install-tools".to_owned(), installer(&images.harness, "tools", TOOLS)),
        ("deploy".to_owned(), deployer(source)),
    ]);
    let mut networks = BTreeMap::from([(NETWORK.to_owned(), Network::default())]);
    let mut volumes: BTreeMap<String, Volume> =
        ["builder", "tools"].map(|name| (name.to_owned(), Volume::default())).into();
    for node in &bundle.nodes {
        services.insert(node.name.clone(), node_service(source, node));
        volumes.insert(node.name.clone(), Volume::default());
    }
    for server in &bundle.servers {
        services.insert(server_name(&server.peer), server_service(source, server));
        // Only its peer can reach a chaincode server, which can reach nothing else.
        networks.insert(server_name(&server.peer), Network { internal: true });
    }
    Compose { services, networks, volumes }
}

/// A service with a read-only file system and without privileges.
fn confined(image: &str) -> Service {
    Service {
        image: image.to_owned(),
        read_only: true,
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges:true".to_owned()],
        ..Service::default()
    }
}

/// Copies the program of an image into a volume, and exits.
fn installer(image: &str, volume: &str, directory: &str) -> Service {
    Service {
        command: vec!["install".to_owned(), directory.to_owned()],
        // Root owns the volume.
        user: Some("0:0".to_owned()),
        volumes: vec![format!("{volume}:{directory}")],
        network_mode: Some("none".to_owned()),
        ..confined(image)
    }
}

fn node_service(source: &Source<'_>, node: &NodeSpec) -> Service {
    let images = &source.options.images;
    let at = &node.placement;
    let own = format!("./{}:{NODE}:ro", node.directory.display());
    let mut volumes = vec![own, format!("{}:{DATA}", node.name), format!("tools:{TOOLS}:ro")];
    let mut networks = vec![NETWORK.to_owned()];
    let mut installed = vec!["install-tools"];
    let image = match node.kind {
        NodeKind::Peer => {
            volumes.push(format!("builder:{BUILDER}:ro"));
            networks.push(server_name(&node.name));
            installed.push("install-builder");
            &images.peer
        }
        NodeKind::Orderer => &images.orderer,
    };
    let published = [Some(at.ports.grpc), at.ports.admin].into_iter().flatten();
    Service {
        command: std::iter::once(&node.program).chain(&node.arguments).cloned().collect(),
        working_dir: Some(at.config_dir.display().to_string()),
        environment: node.environment.clone(),
        volumes,
        // The images declare the second one as a volume; the node does not use it.
        tmpfs: vec!["/tmp".to_owned(), "/etc/hyperledger/fabric".to_owned()],
        ports: published.map(|port| format!("127.0.0.1:{port}:{port}")).collect(),
        networks,
        depends_on: installed.into_iter().map(|name| depends(name, "service_completed_successfully")).collect(),
        healthcheck: Some(check(ready_command(&node.readiness.server_name, node.readiness.port))),
        restart: Some("unless-stopped".to_owned()),
        // The image's user is root, and root owns the volume, but only their owner can read the keys. The only
        // privilege is reading them.
        cap_add: vec!["DAC_OVERRIDE".to_owned()],
        ..confined(image)
    }
}

fn server_service(source: &Source<'_>, server: &ServerSpec) -> Service {
    let mut volumes = vec![format!("tools:{TOOLS}:ro")];
    if source.bundle.files.keys().any(|path| path.starts_with(&server.directory)) {
        volumes.push(format!("./{}:{CHAINCODE}:ro", server.directory.display()));
    }
    let listens = listening_command(&format!("127.0.0.1:{CHAINCODE_PORT}"));
    Service {
        environment: server.environment.clone(),
        user: Some(OWNER.to_owned()),
        volumes,
        networks: vec![server_name(&server.peer)],
        depends_on: [depends("install-tools", "service_completed_successfully")].into(),
        healthcheck: Some(check(listens)),
        restart: Some("unless-stopped".to_owned()),
        ..confined(&source.options.images.chaincode)
    }
}

/// Creates the channels, deploys the chaincode, checks it, and exits.
fn deployer(source: &Source<'_>) -> Service {
    let nodes = source.bundle.nodes.iter().map(|node| node.name.clone());
    let servers = source.bundle.servers.iter().map(|server| server_name(&server.peer));
    let mount = |path: &Path| format!("./{}:{DEPLOYMENT}/{}:ro", path.display(), path.display());
    Service {
        profiles: vec!["deploy".to_owned()],
        command: vec!["deploy".to_owned(), DEPLOYMENT.to_owned()],
        user: Some(OWNER.to_owned()),
        volumes: source.deployment_paths().iter().map(|path| mount(path)).collect(),
        networks: vec![NETWORK.to_owned()],
        depends_on: nodes.chain(servers).map(|name| depends(&name, "service_healthy")).collect(),
        ..confined(&source.options.images.harness)
    }
}

fn depends(name: &str, condition: &str) -> (String, Dependency) {
    (name.to_owned(), Dependency { condition: condition.to_owned() })
}

fn check(command: Vec<String>) -> HealthCheck {
    HealthCheck {
        test: std::iter::once("CMD".to_owned()).chain(command).collect(),
        interval: "5s".to_owned(),
        timeout: "5s".to_owned(),
        retries: 3,
        start_period: "60s".to_owned(),
    }
}
