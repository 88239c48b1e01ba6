//! The parts of a network: organizations, peers, orderers, channels.
//!
//! A topology is data, from a preset or from YAML. It has no hosts, ports or paths, which are in a
//! [`Placement`](crate::placement::Placement), and no Fabric release.
//!
//! The YAML of the preset `solo` shows every field:
//!
//! ```
//! use fabric_network::topology::Topology;
//!
//! let topology = Topology::from_yaml(
//!     "
//! organizations:
//!   - name: Org1              # letters, digits, `.` and `-`
//!     msp_id: Org1MSP         # default: the name followed by MSP
//!     domain: org1.example.com
//!     peers:
//!       - name: peer0         # a DNS label; the node is peer0.org1.example.com
//!     users: 1                # users besides Admin, default 1
//! ordering:
//!   name: Orderer             # default Orderer
//!   msp_id: OrdererMSP        # default: the name followed by MSP
//!   domain: example.com
//!   consensus: etcdraft       # or bft; default etcdraft
//!   orderers:                 # etcdraft: 1, 3 or 5; bft: at least 4
//!     - name: orderer
//!   tick: 10ms                # default 10ms for one orderer, 100ms for several
//!   batch:
//!     timeout: 10ms           # default 10ms
//!     max_messages: 500       # default 500
//!     absolute_max_bytes: 10 MB
//!     preferred_max_bytes: 2 MB
//! channels:
//!   - name: mychannel
//!     organizations: [Org1]   # default: every organization
//!     endorsement: majority   # or any, all; default majority
//! ",
//! )?;
//! let mut solo = Topology::solo();
//! solo.channels[0].organizations.push("Org1".to_owned());
//! assert_eq!(topology, solo);
//! # Ok::<(), fabric_network::topology::TopologyError>(())
//! ```

mod error;
mod presets;
mod tree;
mod validate;
mod yaml;

use std::time::Duration;

use serde::Serialize;

pub use self::error::{Location, Mistake, TopologyError};

/// The most organizations, peers of an organization, orderers or channels. Each node is a process or a container:
/// more is a typing error.
pub const LONGEST_LIST: usize = 100;

/// A network: its organizations, its ordering service, its channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The organizations with peers. At least one.
    pub organizations: Vec<Organization>,
    /// The ordering service, which a separate organization runs.
    pub ordering: Ordering,
    /// The channels. At least one.
    pub channels: Vec<Channel>,
}

/// An organization that runs peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Organization {
    /// Its name in channel configurations, such as `Org1`. Unique in the topology.
    pub name: String,
    /// Its MSP ID, such as `Org1MSP`. Unique. Default in YAML: the name followed by `MSP`.
    pub msp_id: String,
    /// Its DNS domain, such as `org1.example.com`. Unique.
    pub domain: String,
    /// Its peers. At least one.
    pub peers: Vec<Node>,
    /// The number of users in addition to its administrator: `User1@…` and so on. Default 1.
    pub users: u32,
}

/// A peer or an orderer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// A DNS label such as `peer0`. The full name of the node is `<name>.<domain>`.
    pub name: String,
}

/// The ordering service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ordering {
    /// The name of the ordering organization in channel configurations. Default `Orderer`.
    pub name: String,
    /// Its MSP ID. Default in YAML: the name followed by `MSP`.
    pub msp_id: String,
    /// Its DNS domain, such as `example.com`.
    pub domain: String,
    /// The consensus protocol. Default `etcdraft`.
    pub consensus: Consensus,
    /// The orderers. Each is a consenter of every channel.
    pub orderers: Vec<Node>,
    /// How transactions are grouped into blocks.
    pub batch: Batch,
    /// The interval of the Raft clock. Default [`Ordering::default_tick`]. A single orderer is elected after
    /// about two ticks. Several orderers need ten to twenty; they elect a new leader when the old one is silent
    /// for ten ticks.
    ///
    /// With the default, tests start quickly, and an idle orderer uses one or two percent of a core. Operators
    /// should use Fabric's default, 500 ms, which tolerates slow disks and networks between orderers. `bft` does
    /// not use it.
    #[serde(serialize_with = "yaml::serialize_duration")]
    pub tick: Duration,
}

/// The protocol with which the orderers agree on the next block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consensus {
    /// Raft: tolerates crashes of less than half of the orderers.
    #[default]
    Etcdraft,
    /// `SmartBFT`: tolerates less than a third of malicious orderers. Needs Fabric 3.
    Bft,
}

/// How transactions are grouped into blocks: the first limit that is reached ends a block.
///
/// The defaults are for tests, where a submitted transaction spends most of its time waiting for a block.
/// Operators should start with Fabric's defaults, a timeout of 2 s, 500 messages, 10 MB absolute and 2 MB
/// preferred, and reduce the timeout only as far as the latency requires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// The longest wait for further transactions. Default 10 ms.
    #[serde(serialize_with = "yaml::serialize_duration")]
    pub timeout: Duration,
    /// The most transactions in a block. Default 500.
    pub max_messages: u32,
    /// The most bytes of transactions in a block. A larger transaction is rejected. Default 10 MB (of
    /// 1024 × 1024 bytes).
    #[serde(serialize_with = "yaml::serialize_bytes")]
    pub absolute_max_bytes: u32,
    /// The size at which a block ends. A larger transaction gets its own block. Default 2 MB.
    #[serde(serialize_with = "yaml::serialize_bytes")]
    pub preferred_max_bytes: u32,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its name: at most 249 lowercase letters, digits, `.` and `-`, starting with a letter (Fabric,
    /// `common/configtx/validator.go`).
    pub name: String,
    /// The names of the organizations in it. Empty means all; in YAML, an omitted list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// How many of its organizations must endorse a transaction and approve a chaincode definition, unless the
    /// chaincode has its own policy. Default `majority`.
    pub endorsement: Rule,
}

/// How many of a channel's organizations must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// More than half of them.
    #[default]
    Majority,
    /// One of them.
    Any,
    /// Each of them.
    All,
}

/// The program of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// `peer node start`.
    Peer,
    /// `orderer`.
    Orderer,
}

/// A node of the topology, with the names of its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef<'a> {
    /// Its full name, such as `peer0.org1.example.com`. Unique.
    pub name: String,
    /// Peer or orderer.
    pub kind: NodeKind,
    /// The name of its organization.
    pub organization: &'a str,
    /// The MSP ID of its organization.
    pub msp_id: &'a str,
    /// The domain of its organization.
    pub domain: &'a str,
    /// Its first label, such as `peer0`.
    pub label: &'a str,
}

impl Organization {
    /// The full names of its peers, in the order of the topology.
    pub fn peer_names(&self) -> impl Iterator<Item = String> + '_ {
        self.peers.iter().map(|peer| full_name(peer, &self.domain))
    }
}

impl Ordering {
    /// The full names of the orderers, in the order of the topology.
    pub fn orderer_names(&self) -> impl Iterator<Item = String> + '_ {
        self.orderers.iter().map(|orderer| full_name(orderer, &self.domain))
    }
}

impl Topology {
    /// Every node: the orderers first, then the peers of each organization.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        let ordering = &self.ordering;
        let orderers = ordering.orderers.iter().map(|node| NodeRef {
            name: full_name(node, &ordering.domain),
            kind: NodeKind::Orderer,
            organization: &ordering.name,
            msp_id: &ordering.msp_id,
            domain: &ordering.domain,
            label: &node.name,
        });
        let peers = self.organizations.iter().flat_map(|organization| {
            organization.peers.iter().map(|node| NodeRef {
                name: full_name(node, &organization.domain),
                kind: NodeKind::Peer,
                organization: &organization.name,
                msp_id: &organization.msp_id,
                domain: &organization.domain,
                label: &node.name,
            })
        });
        orderers.chain(peers)
    }

    /// The organizations of a channel, in the order of the topology.
    pub fn channel_organizations<'a>(&'a self, channel: &'a Channel) -> impl Iterator<Item = &'a Organization> {
        self.organizations.iter().filter(|organization| channel.has(organization))
    }
}

impl Channel {
    /// Whether an organization of the topology is in the channel.
    pub fn has(&self, organization: &Organization) -> bool {
        self.organizations.is_empty() || self.organizations.contains(&organization.name)
    }
}

fn full_name(node: &Node, domain: &str) -> String {
    format!("{}.{domain}", node.name)
}
