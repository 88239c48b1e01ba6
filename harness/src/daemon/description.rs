//! The description of a persistent network: the file `network.json` in its state directory, and the text
//! that `up` and `status` print.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fabric_network::topology::NodeKind;
use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::network::choice::describe;
use crate::plan::NetworkPlan;
use crate::runtime::Runtime;

/// A network at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    /// When it was ready, RFC 3339.
    pub(super) since: String,
    /// The same, in seconds since 1970.
    pub(super) since_seconds: u64,
    /// The process ID of its daemon.
    pub(super) process: u32,
    /// What runs the nodes: a name of the registry.
    pub(super) runtime: String,
    /// The Fabric version.
    pub(super) fabric: String,
    /// The name of a preset, or a file.
    pub(super) topology: String,
    /// The state directory.
    pub(super) state: PathBuf,
    pub(super) channels: Vec<Channel>,
    pub(super) organizations: Vec<Organization>,
    pub(super) nodes: Vec<Node>,
    pub(super) chaincodes: Vec<Chaincode>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Channel {
    pub(super) name: String,
    /// The names of its organizations.
    pub(super) organizations: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Organization {
    pub(super) name: String,
    pub(super) msp_id: String,
    /// Such as `User1@org1.example.com`.
    pub(super) users: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    /// `peer` or `orderer`.
    pub(super) kind: String,
    pub(super) msp_id: String,
    /// `HOST:PORT`.
    pub(super) address: String,
    /// Orderers: `HOST:PORT` of the channel participation API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chaincode {
    pub(super) name: String,
    pub(super) version: String,
    /// The MSP ID of the organization that has its own server; `None` if all share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) organization: Option<String>,
    pub(super) package_id: String,
    /// The address to which the peers connect.
    pub(super) address: String,
    /// `off`, `tls` or `mtls`.
    pub(super) tls: String,
}

impl Description {
    pub(super) fn new(plan: &NetworkPlan, runtime: &dyn Runtime, network: &Network, state: &Path) -> Self {
        let now = SystemTime::now();
        let since = time::OffsetDateTime::from(now).replace_nanosecond(0).ok();
        let since = since.and_then(|now| now.format(&time::format_description::well_known::Rfc3339).ok());
        let bundle = &network.nodes().bundle;
        let names = |channel: &fabric_network::topology::Channel| {
            plan.topology.channel_organizations(channel).map(|organization| organization.name.clone()).collect()
        };
        Self {
            since: since.unwrap_or_default(),
            since_seconds: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            process: std::process::id(),
            runtime: runtime.name().to_owned(),
            fabric: describe(runtime),
            topology: plan.topology_name.clone(),
            state: state.to_owned(),
            channels: (plan.topology.channels.iter())
                .map(|channel| Channel { name: channel.name.clone(), organizations: names(channel) })
                .collect(),
            organizations: (bundle.identities.peer_organizations.iter())
                .map(|organization| Organization {
                    name: organization.name.clone(),
                    msp_id: organization.msp_id.clone(),
                    users: (1..=organization.users.len())
                        .map(|number| format!("User{number}"))
                        .chain(["Admin".to_owned()])
                        .map(|user| format!("{user}@{}", organization.domain))
                        .collect(),
                })
                .collect(),
            nodes: network.nodes().running.nodes().iter().map(Node::new).collect(),
            chaincodes: chaincodes(plan, network),
        }
    }

    /// The time since it was ready.
    pub(super) fn age(&self) -> Duration {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(self.since_seconds);
        SystemTime::now().duration_since(since).unwrap_or_default()
    }

    /// A line for each node: its addresses and its organization.
    pub(super) fn node_lines(&self) -> impl Iterator<Item = String> + '_ {
        let width = self.nodes.iter().map(|node| node.name.len()).max().unwrap_or_default();
        self.nodes.iter().map(move |node| {
            let admin = node.admin.as_ref().map(|admin| format!("  admin {admin}")).unwrap_or_default();
            format!("{:<7}  {:<width$}  {}  {}{admin}", node.kind, node.name, node.address, node.msp_id)
        })
    }

    /// Nodes, channels, users and chaincodes.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for line in self.node_lines() {
            let _ = writeln!(text, "  {line}");
        }
        for channel in &self.channels {
            let _ = writeln!(text, "  channel  {}  of {}", channel.name, channel.organizations.join(", "));
        }
        for organization in &self.organizations {
            let Organization { name, msp_id, users } = organization;
            let _ = writeln!(text, "  users    {name} ({msp_id}): {}", users.join(", "));
        }
        for Chaincode { name, version, organization, package_id, address, tls } in &self.chaincodes {
            let of = organization.as_ref().map(|organization| format!(" of {organization}")).unwrap_or_default();
            let _ = writeln!(text, "  chaincode {name} {version}{of} at {address}, TLS {tls}\n  package  {package_id}");
        }
        text
    }

    /// How to use the network, for a user who has just started it.
    pub(super) fn usage(&self) -> String {
        let state = shown(&self.state);
        let channel = self.channels.first().map_or("", |channel| &channel.name);
        let chaincode = self.chaincodes.first().map_or("", |chaincode| &chaincode.name);
        format!(
            "\
the `peer` tool:  . {state}/peer.env
                  peer channel getinfo -c {channel}
gateway SDKs:     . {state}/gateway.env     (chaincode {chaincode}, identity User1)
profiles, wallet: {state}/connection-ORG.json, {state}/wallet/
chaincode server: {state}/chaincode.env
commands:         status, logs -f, restart chaincode, down"
        )
    }
}

impl Node {
    fn new(node: &crate::runtime::RunningNode) -> Self {
        let plain = |endpoint: &crate::client::Endpoint| endpoint.uri.trim_start_matches("https://").to_owned();
        let kind = match node.kind {
            NodeKind::Peer => "peer",
            NodeKind::Orderer => "orderer",
        };
        Self {
            name: node.name.clone(),
            kind: kind.to_owned(),
            msp_id: node.msp_id.clone(),
            address: plain(&node.grpc),
            admin: node.admin.as_ref().map(plain),
        }
    }
}

fn chaincodes(plan: &NetworkPlan, network: &Network) -> Vec<Chaincode> {
    let chaincodes = network.nodes().packages().map(|(definition, package)| {
        let connection: serde_json::Value = serde_json::from_str(&package.connection).unwrap_or_default();
        Chaincode {
            name: definition.name.clone(),
            version: definition.version.clone(),
            organization: package.organization.clone(),
            package_id: package.id.clone(),
            address: connection["address"].as_str().unwrap_or_default().to_owned(),
            tls: plan.tls.to_string(),
        }
    });
    chaincodes.collect()
}

/// A path relative to the working directory, if that is shorter.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok());
    relative.filter(|relative| !relative.as_os_str().is_empty()).unwrap_or(path).display().to_string()
}
