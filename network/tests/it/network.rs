//! Networks for tests: placements on the loopback address, certificates with a fixed validity.

use std::path::Path;
use std::time::{Duration, SystemTime};

use fabric_network::bundle::Bundle;
use fabric_network::identity::Validity;
use fabric_network::node::NodeKind;
use fabric_network::placement::{NodePlacement, Placement, Ports};
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;

/// From 2024-01-01, for a hundred years.
pub(crate) fn validity() -> Validity {
    let start = SystemTime::UNIX_EPOCH + Duration::from_hours(473_352);
    Validity { not_before: start, not_after: start + Duration::from_hours(24 * 365 * 100) }
}

pub(crate) fn options(release: Release) -> RenderOptions {
    RenderOptions::new(release, validity())
}

/// Every node on 127.0.0.1, in its own directory of the bundle at `directory`; `port` returns the next port.
pub(crate) fn place(topology: &Topology, directory: &Path, mut port: impl FnMut() -> u16) -> Placement {
    let nodes = topology.nodes().map(|node| {
        let (organizations, nodes) = match node.kind {
            NodeKind::Peer => ("peerOrganizations", "peers"),
            NodeKind::Orderer => ("ordererOrganizations", "orderers"),
        };
        let own = directory.join("organizations").join(organizations);
        let placement = NodePlacement {
            host: "127.0.0.1".to_owned(),
            bind: "127.0.0.1".parse().unwrap(),
            ports: Ports {
                grpc: port(),
                operations: port(),
                admin: (node.kind == NodeKind::Orderer).then(&mut port),
                chaincode: (node.kind == NodeKind::Peer).then(&mut port),
            },
            extra_sans: vec!["localhost".to_owned()],
            config_dir: own.join(node.domain).join(nodes).join(&node.name),
            data_dir: "data".into(),
            builder_dir: directory.join("builder"),
        };
        (node.name, placement)
    });
    Placement { nodes: nodes.collect(), chaincode_hosts: vec!["127.0.0.1".to_owned(), "localhost".to_owned()] }
}

/// A placement whose files are the same on every machine.
pub(crate) fn place_anywhere(topology: &Topology) -> Placement {
    let mut next = 7050;
    place(topology, Path::new("/network"), || {
        next += 1;
        next
    })
}

pub(crate) fn bundle(topology: &Topology, release: Release) -> Bundle {
    render(topology, &place_anywhere(topology), &options(release)).unwrap()
}
