//! The named topologies. Write one with [`Topology::to_yaml`] to start a custom topology.

use std::time::Duration;

use super::{Batch, Channel, Consensus, Node, Ordering, Organization, Rule, Topology};

const MEGABYTE: u32 = 1024 * 1024;

impl Default for Batch {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(10),
            max_messages: 500,
            absolute_max_bytes: 10 * MEGABYTE,
            preferred_max_bytes: 2 * MEGABYTE,
        }
    }
}

impl Ordering {
    /// The default of [`Ordering::tick`]: 10 ms for one orderer, which elects itself, and 100 ms for several,
    /// which need time to exchange messages.
    pub fn default_tick(orderers: usize) -> Duration {
        Duration::from_millis(if orderers <= 1 { 10 } else { 100 })
    }
}

impl Topology {
    /// The names that [`preset`](Self::preset) knows, the default first.
    pub const PRESETS: [&'static str; 3] = ["solo", "duo", "bft"];

    /// The topology with this name, one of [`PRESETS`](Self::PRESETS).
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "solo" => Some(Self::solo()),
            "duo" => Some(Self::duo()),
            "bft" => Some(Self::bft()),
            _ => None,
        }
    }

    /// One organization with one peer, one Raft orderer, the channel `mychannel`. The default.
    pub fn solo() -> Self {
        Self {
            organizations: vec![organization(1, 1)],
            ordering: ordering(Consensus::Etcdraft, &["orderer"]),
            channels: vec![mychannel()],
        }
    }

    /// Two organizations with two peers each, three Raft orderers. The majority of two is two, so every
    /// transaction needs the endorsement of both organizations.
    pub fn duo() -> Self {
        Self {
            organizations: vec![organization(1, 2), organization(2, 2)],
            ordering: ordering(Consensus::Etcdraft, &["orderer1", "orderer2", "orderer3"]),
            channels: vec![mychannel()],
        }
    }

    /// The peers of [`solo`](Self::solo) with four BFT orderers, of which one may be malicious.
    /// Needs Fabric 3.
    pub fn bft() -> Self {
        Self {
            organizations: vec![organization(1, 1)],
            ordering: ordering(Consensus::Bft, &["orderer1", "orderer2", "orderer3", "orderer4"]),
            channels: vec![mychannel()],
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Self::solo()
    }
}

fn organization(number: u32, peers: u32) -> Organization {
    Organization {
        name: format!("Org{number}"),
        msp_id: format!("Org{number}MSP"),
        domain: format!("org{number}.example.com"),
        peers: (0..peers).map(|index| Node { name: format!("peer{index}") }).collect(),
        users: 1,
    }
}

fn ordering(consensus: Consensus, orderers: &[&str]) -> Ordering {
    Ordering {
        name: "Orderer".to_owned(),
        msp_id: "OrdererMSP".to_owned(),
        domain: "example.com".to_owned(),
        consensus,
        orderers: orderers.iter().map(|name| Node { name: (*name).to_owned() }).collect(),
        batch: Batch::default(),
        tick: Ordering::default_tick(orderers.len()),
    }
}

fn mychannel() -> Channel {
    Channel { name: "mychannel".to_owned(), organizations: Vec::new(), endorsement: Rule::Majority }
}
