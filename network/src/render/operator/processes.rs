//! Environment files and systemd units, for programs on one machine.
//!
//! Each node has its own directory in the bundle, and its own ports on the loopback address.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::{Files, Source, ports};
use crate::bundle::File;
use crate::identity::{node_directory, server_directory};
use crate::placement::{NodePlacement, ServerPlacement};
use crate::topology::{NodeKind, NodeRef};

/// The first port of chaincode servers, higher than those of nodes.
const CHAINCODE_PORT: u16 = 20_000;

/// The directory of programs in units.
const PROGRAMS: &str = "/usr/local/bin";

/// The placements of the node with this index among its kind, and of its chaincode server.
pub(super) fn place(node: &NodeRef<'_>, index: u16, directory: &Path) -> (NodePlacement, ServerPlacement) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let placement = NodePlacement {
        host: loopback.to_string(),
        bind: loopback,
        ports: ports(node.kind, index),
        extra_sans: vec!["localhost".to_owned()],
        config_dir: directory.join(node_directory(node.kind, node.domain, &node.name)),
        data_dir: data_directory(directory).join(&node.name),
        builder_dir: directory.join("builder"),
    };
    let server = ServerPlacement {
        host: loopback.to_string(),
        bind: loopback,
        port: CHAINCODE_PORT.saturating_add(index),
        extra_sans: Vec::new(),
        directory: directory.join(server_directory(node.domain, &node.name)),
    };
    (placement, server)
}

/// The directory of the ledgers, next to the bundle, so that a new bundle can replace the old one.
pub(super) fn data_directory(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!("{name}-data"))
}

/// The environment file of a node or chaincode server.
pub fn environment_file(name: &str) -> PathBuf {
    Path::new("environment").join(format!("{name}.env"))
}

/// The unit of a node or chaincode server.
pub fn unit_file(name: &str) -> PathBuf {
    Path::new("systemd").join(format!("{name}.service"))
}

/// The name of the unit of a peer's chaincode server.
pub fn server_name(peer: &str) -> String {
    format!("chaincode.{peer}")
}

pub(super) fn files(source: &Source<'_>) -> Files {
    let mut files = Files::new();
    let directory = &source.options.directory;
    for node in &source.bundle.nodes {
        let command: Vec<&str> =
            std::iter::once(node.program.as_str()).chain(node.arguments.iter().map(String::as_str)).collect();
        let kind = match node.kind {
            NodeKind::Peer => "peer",
            NodeKind::Orderer => "orderer",
        };
        let unit = Unit {
            description: format!("Hyperledger Fabric {kind} {}", node.name),
            directory: node.placement.config_dir.clone(),
            environment: directory.join(environment_file(&node.name)),
            command: format!("{PROGRAMS}/{}", command.join(" ")),
            writable: Some(node.placement.data_dir.clone()),
        };
        files.insert(environment_file(&node.name), File::public(environment(&node.environment)));
        files.insert(unit_file(&node.name), File::public(unit.text()));
    }
    for server in &source.bundle.servers {
        let name = server_name(&server.peer);
        let unit = Unit {
            description: format!("Chaincode of {}", server.peer),
            directory: directory.clone(),
            environment: directory.join(environment_file(&name)),
            command: format!("{PROGRAMS}/chaincode"),
            writable: None,
        };
        files.insert(environment_file(&name), File::public(environment(&server.environment)));
        files.insert(unit_file(&name), File::public(unit.text()));
    }
    files
}

/// Lines for systemd and for the shell's `.`.
fn environment(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let value = value.replace('\'', r"'\''");
        let _ = writeln!(text, "{name}='{value}'");
    }
    text
}

/// A systemd unit.
struct Unit {
    description: String,
    directory: PathBuf,
    environment: PathBuf,
    command: String,
    writable: Option<PathBuf>,
}

impl Unit {
    fn text(&self) -> String {
        let Self { description, directory, environment, command, writable } = self;
        // `%` begins a specifier of systemd.
        let path = |path: &Path| path.display().to_string().replace('%', "%%");
        let writable = writable.as_deref().map(|data| format!("ReadWritePaths={}\n", path(data))).unwrap_or_default();
        format!(
            "[Unit]\nDescription={description}\nAfter=network-online.target\nWants=network-online.target\n\n\
             [Service]\nWorkingDirectory={}\nEnvironmentFile={}\nExecStart={command}\nRestart=on-failure\n\
             User=fabric\nUMask=0077\nNoNewPrivileges=yes\nCapabilityBoundingSet=\nPrivateTmp=yes\n\
             PrivateDevices=yes\nProtectSystem=strict\nProtectHome=read-only\n{writable}\n\
             [Install]\nWantedBy=multi-user.target\n",
            path(directory),
            path(environment),
        )
    }
}
