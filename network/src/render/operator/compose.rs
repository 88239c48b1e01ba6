//! `compose.yaml`: every node and every chaincode server as a service.
//!
//! For `docker compose` and for docker-compose 1.29, without the engine's socket, without privileges.
//! The types are what is used of the Compose specification; they are also read back.

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

/// The network that all nodes are in.
const NETWORK: &str = "fabric";
/// Who owns the bundle's files, told by `.env`.
const OWNER: &str = "${BUNDLE_OWNER:?is set by the file .env beside compose.yaml}";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// What runs.
    pub services: BTreeMap<String, Service>,
    /// Who reaches whom.
    pub networks: BTreeMap<String, Network>,
    /// What stays.
    pub volumes: BTreeMap<String, Volume>,
}

/// A network of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether there is no way out of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name for the engine, if it is not made of the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The image, with its tag.
    pub image: String,
    /// Present only when it is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// What to start; the image's own when it is not given.
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
    /// Mounts: files of the bundle, and volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Directories in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Ports of the engine's machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Networks; none without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// `none` for what needs no network at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// What must be there before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<String, Dependency>,
    /// How to find out that it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Whether the container's own files are read-only.
    pub read_only: bool,
    /// Capabilities that are taken away.
    pub cap_drop: Vec<String>,
    /// Capabilities that remain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Further restrictions.
    pub security_opt: Vec<String>,
}

/// What a service waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// `service_healthy` or `service_completed_successfully`.
    pub condition: String,
}

/// How the engine finds out that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// `CMD` and a command.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: String,
    /// Of one check.
    pub timeout: String,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// At the start, in which failures do not count.
    pub start_period: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Where the node of this number among its kind is, and the chaincode server beside it.
pub(super) fn place(node: &NodeRef<'_>, index: u16) -> (NodePlacement, ServerPlacement) {
    // Through a published port the engine's machine is what a client dials.
    let placement = in_container(node, node.name.clone(), ports(node.kind, index), vec!["localhost".to_owned()]);
    (placement, server_in_container(server_name(&node.name), Vec::new()))
}

/// The service, and the host, of a peer's chaincode server.
fn server_name(peer: &str) -> String {
    format!("chaincode.{peer}")
}

pub(super) fn files(source: &Source<'_>) -> Files {
    let (user, group) = source.options.owner;
    let note = "# Read by docker compose. The user and group that may read the private keys of this directory.\n";
    let header = "# A Fabric network with a chaincode server for each peer. README.md says how to use it.\n";
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
        // Nobody but its peer reaches a chaincode server, and it reaches nobody.
        networks.insert(server_name(&server.peer), Network { internal: true });
    }
    Compose { services, networks, volumes }
}

/// What every service is: unable to change itself or to gain rights.
fn confined(image: &str) -> Service {
    Service {
        image: image.to_owned(),
        read_only: true,
        cap_drop: vec!["ALL".to_owned()],
        security_opt: vec!["no-new-privileges:true".to_owned()],
        ..Service::default()
    }
}

/// Puts an image's program into a volume, and ends.
fn installer(image: &str, volume: &str, directory: &str) -> Service {
    Service {
        command: vec!["install".to_owned(), directory.to_owned()],
        // The volume is root's.
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
        // The images declare the latter a volume; nothing is there that the node uses.
        tmpfs: vec!["/tmp".to_owned(), "/etc/hyperledger/fabric".to_owned()],
        ports: published.map(|port| format!("127.0.0.1:{port}:{port}")).collect(),
        networks,
        depends_on: installed.into_iter().map(|name| depends(name, "service_completed_successfully")).collect(),
        healthcheck: Some(check(ready_command(&node.readiness.server_name, node.readiness.port))),
        restart: Some("unless-stopped".to_owned()),
        // The image's user is root and the volume root's, while the keys are readable for their owner
        // alone. Reading them is all that is left of root.
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

/// Creates the channels, deploys the chaincode, checks it, and ends.
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
