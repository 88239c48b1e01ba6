//! Networks for the tests of channels, with real certificates and fixed ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use fabric_network::channel::{
    ChannelInput, Consensus, ConsenterInput, HostPort, MspInput, OrderingInput, OrganizationInput, default_acls,
};
use fabric_network::identity::{Identities, NodeIdentity, OrganizationIdentities, Validity};
use fabric_network::placement::{NodePlacement, Placement, Ports};
use fabric_network::release::Release;
use fabric_network::topology::{self, NodeKind, Topology};

/// The placement of each node, as in containers: hosts are full names.
pub(crate) fn placement(topology: &Topology) -> Placement {
    let nodes = (7000..).step_by(10).zip(topology.nodes()).map(|(port, node)| {
        let placement = NodePlacement {
            host: node.name.clone(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports {
                grpc: port,
                operations: port + 1,
                admin: (node.kind == NodeKind::Orderer).then_some(port + 2),
                chaincode: (node.kind == NodeKind::Peer).then_some(port + 3),
            },
            extra_sans: Vec::new(),
            config_dir: "/etc/hyperledger/fabric".into(),
            data_dir: "data".into(),
            builder_dir: "/opt/ccaas-builder".into(),
        };
        (node.name, placement)
    });
    Placement { nodes: nodes.collect(), chaincode_hosts: vec!["localhost".to_owned()] }
}

pub(crate) fn validity() -> Validity {
    Validity::starting(SystemTime::now(), Duration::from_hours(1))
}

/// The first channel of a topology.
pub(crate) fn channel_input(
    topology: &Topology,
    placement: &Placement,
    identities: &Identities,
    release: Release,
) -> ChannelInput {
    let channel = &topology.channels[0];
    let organizations = topology.channel_organizations(channel).map(|organization| {
        let identities = identities.peer_organizations.iter().find(|other| other.name == organization.name);
        OrganizationInput {
            name: organization.name.clone(),
            msp: msp(identities.expect("every organization has identities")),
            anchor_peers: organization.peer_names().take(1).map(|name| address(placement, &name)).collect(),
        }
    });
    ChannelInput {
        name: channel.name.clone(),
        created: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        release,
        organizations: organizations.collect(),
        ordering: ordering(topology, placement, &identities.orderer_organization),
        endorsement: channel.endorsement,
        acls: default_acls(),
    }
}

fn ordering(topology: &Topology, placement: &Placement, identities: &OrganizationIdentities) -> OrderingInput {
    let ordering = &topology.ordering;
    let addresses: BTreeMap<String, HostPort> =
        ordering.orderer_names().map(|name| (name.clone(), address(placement, &name))).collect();
    let consenter = |(name, address): (&String, &HostPort)| {
        let NodeIdentity { sign, tls, .. } = &identities.nodes[name];
        ConsenterInput {
            address: address.clone(),
            client_tls_certificate_pem: tls.certificate_pem.clone(),
            server_tls_certificate_pem: tls.certificate_pem.clone(),
            identity_certificate_pem: sign.certificate_pem.clone(),
        }
    };
    OrderingInput {
        name: ordering.name.clone(),
        msp: msp(identities),
        endpoints: addresses.values().cloned().collect(),
        consensus: match ordering.consensus {
            topology::Consensus::Etcdraft => Consensus::Etcdraft { tick: ordering.tick },
            topology::Consensus::Bft => Consensus::Bft,
        },
        consenters: addresses.iter().map(consenter).collect(),
        batch: ordering.batch.clone(),
    }
}

fn msp(identities: &OrganizationIdentities) -> MspInput {
    MspInput {
        msp_id: identities.msp_id.clone(),
        ca_certificate_pem: identities.ca_pem.clone(),
        tls_ca_certificate_pem: identities.tls_ca_pem.clone(),
    }
}

fn address(placement: &Placement, name: &str) -> HostPort {
    let node = &placement.nodes[name];
    HostPort { host: node.host.clone(), port: node.ports.grpc }
}
