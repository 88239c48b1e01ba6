//! Real orderers and peers run with our files and accept commands of Fabric's tools with our identities: `osnadmin`
//! with mutual TLS, `peer channel join`, and the lifecycle of a chaincode definition, which needs endorsement,
//! ordering and validation.

use std::time::{Duration, SystemTime};

use fabric_network::identity::Validity;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;

use crate::fabric::{Network, free_port, release};
use crate::network::place;

const ADMIN_TLS: &str = "organizations/ordererOrganizations/example.com/users/Admin@example.com/tls";
const BLOCK: &str = "channels/mychannel.block";

#[test]
#[ignore = "needs Fabric's peer, orderer and osnadmin (FABRIC_BIN)"]
fn needs_release_solo_runs() {
    run(&Topology::solo());
}

#[test]
#[ignore = "needs Fabric's peer, orderer and osnadmin (FABRIC_BIN)"]
fn needs_release_duo_runs() {
    run(&Topology::duo());
}

#[test]
#[ignore = "needs Fabric's peer, orderer and osnadmin of 3.1 (FABRIC_BIN)"]
fn needs_release_bft_runs() {
    if release().has_bft() {
        run(&Topology::bft());
    } else {
        let error =
            render(&Topology::bft(), &place(&Topology::bft(), std::path::Path::new("/network"), free_port), &options());
        assert!(error.is_err(), "this release has no BFT");
    }
}

fn options() -> RenderOptions {
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(1));
    RenderOptions::new(release(), validity)
}

fn run(topology: &Topology) {
    let scratch = tempfile::tempdir().unwrap();
    let placement = place(topology, scratch.path(), free_port);
    let bundle = render(topology, &placement, &options()).unwrap();
    bundle.write_to(scratch.path()).unwrap();
    let network = Network::start(bundle, scratch.path());

    let nodes = network.bundle.nodes.clone();
    let (orderers, peers): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.kind == NodeKind::Orderer);
    for orderer in &orderers {
        join_orderer(&network, orderer);
    }
    for peer in &peers {
        join_peer(&network, peer);
    }
    define_chaincode(&network, orderers[0], &peers);
    for peer in &peers {
        knows_the_others(&network, peer, &peers);
    }
    assert_eq!(network.dead(), Vec::<String>::new());
}

fn join_orderer(network: &Network, orderer: &NodeSpec) {
    let admin = orderer.placement.endpoint(orderer.placement.ports.admin.unwrap());
    let (ca, certificate, key) = (
        network.path(&format!("{ADMIN_TLS}/ca.crt")),
        network.path(&format!("{ADMIN_TLS}/client.crt")),
        network.path(&format!("{ADMIN_TLS}/client.key")),
    );
    let block = network.path(BLOCK);
    let common = ["-o", &*admin, "--ca-file", &ca, "--client-cert", &certificate, "--client-key", &key];
    let mut list = vec!["channel", "list"];
    list.extend(common);
    network.until_done(orderer, "osnadmin", &list, &[]);
    let mut join = vec!["channel", "join", "--channelID", "mychannel", "--config-block", &block];
    join.extend(common);
    let answer = network.until_done(orderer, "osnadmin", &join, &[]);
    assert!(answer.contains("Status: 201"), "{}: {answer}", orderer.name);
}

/// The environment in which `peer` acts as the administrator of a peer's organization.
fn as_admin(network: &Network, peer: &NodeSpec) -> Vec<(&'static str, String)> {
    let organization = peer.directory.parent().unwrap().parent().unwrap();
    let domain = organization.file_name().unwrap().to_str().unwrap();
    let path = |path: String| network.path(organization.join(path).to_str().unwrap());
    vec![
        ("CORE_PEER_ADDRESS", peer.placement.endpoint(peer.placement.ports.grpc)),
        ("CORE_PEER_LOCALMSPID", peer.msp_id.clone()),
        ("CORE_PEER_MSPCONFIGPATH", path(format!("users/Admin@{domain}/msp"))),
        ("CORE_PEER_TLS_ROOTCERT_FILE", path(format!("tlsca/tlsca.{domain}-cert.pem"))),
        ("FABRIC_LOGGING_SPEC", "error".to_owned()),
    ]
}

fn join_peer(network: &Network, peer: &NodeSpec) {
    let environment = as_admin(network, peer);
    let block = network.path(BLOCK);
    // Once the listener answers, joining must work at the first attempt.
    network.until_done(peer, "peer", &["channel", "list"], &environment);
    network.until_done(peer, "peer", &["channel", "join", "-b", &block], &environment);
    let list = network.until_done(peer, "peer", &["channel", "list"], &environment);
    assert!(list.contains("mychannel"), "{}: {list}", peer.name);
}

/// Approves a definition for each organization and commits it.
fn define_chaincode(network: &Network, orderer: &NodeSpec, peers: &[&NodeSpec]) {
    let address = orderer.placement.endpoint(orderer.placement.ports.grpc);
    let ca = network.path(&format!("{ADMIN_TLS}/ca.crt"));
    let common = [
        "-o",
        &*address,
        "--tls",
        "--cafile",
        &ca,
        "--channelID",
        "mychannel",
        "--name",
        "asset",
        "--version",
        "1",
        "--sequence",
        "1",
    ];
    let mut organizations: Vec<&NodeSpec> = peers.to_vec();
    organizations.dedup_by(|one, other| one.msp_id == other.msp_id);
    for peer in &organizations {
        let mut approve = vec!["lifecycle", "chaincode", "approveformyorg"];
        approve.extend(common);
        network.until_done(peer, "peer", &approve, &as_admin(network, peer));
    }
    let endpoints: Vec<(String, String)> = organizations
        .iter()
        .map(|peer| {
            let root = as_admin(network, peer)[3].1.clone();
            (peer.placement.endpoint(peer.placement.ports.grpc), root)
        })
        .collect();
    let mut commit = vec!["lifecycle", "chaincode", "commit"];
    commit.extend(common);
    for (address, root) in &endpoints {
        commit.extend(["--peerAddresses", address, "--tlsRootCertFiles", root]);
    }
    network.until_done(organizations[0], "peer", &commit, &as_admin(network, organizations[0]));
    for peer in peers {
        let query = ["lifecycle", "chaincode", "querycommitted", "--channelID", "mychannel", "--name", "asset"];
        let answer = network.until_done(peer, "peer", &query, &as_admin(network, peer));
        assert!(answer.contains("Version: 1, Sequence: 1"), "{}: {answer}", peer.name);
    }
}

/// Gossip has reported every other peer to this one, which the gateway needs to find endorsers.
fn knows_the_others(network: &Network, peer: &NodeSpec, peers: &[&NodeSpec]) {
    for other in peers.iter().filter(|other| other.name != peer.name) {
        let endpoint = other.placement.endpoint(other.placement.ports.grpc);
        network.until(peer, &mut || {
            let log = network.log(&peer.name);
            let knows =
                log.lines().any(|line| line.contains("Membership view has changed") && line.contains(&endpoint));
            knows.then_some(()).ok_or_else(|| format!("has not seen {endpoint}"))
        });
    }
}
