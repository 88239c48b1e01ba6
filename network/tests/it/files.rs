//! The files of a bundle: their contents, their paths, and the input that is rejected.

use std::path::Path;

use fabric_network::bundle::{Bundle, File, PRIVATE_MODE};
use fabric_network::node::NodeKind;
use fabric_network::release::Release;
use fabric_network::render::{RenderError, RenderOptions, render};
use fabric_network::topology::Topology;
use serde_json::Value;

use crate::network::{bundle, options, place_anywhere};

fn text<'a>(bundle: &'a Bundle, path: &str) -> &'a str {
    let file = bundle.files.get(Path::new(path)).unwrap_or_else(|| panic!("no file {path}"));
    std::str::from_utf8(&file.bytes).unwrap()
}

const PEER: &str = "organizations/peerOrganizations/org1.example.com/peers/peer0.org1.example.com";
const ORDERER: &str = "organizations/ordererOrganizations/example.com/orderers/orderer.example.com";

#[test]
fn core_yaml_of_3_1() {
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    insta::assert_snapshot!(text(&bundle, &format!("{PEER}/core.yaml")));
}

#[test]
fn core_yaml_of_2_5() {
    let bundle = bundle(&Topology::solo(), Release::V2_5);
    insta::assert_snapshot!(text(&bundle, &format!("{PEER}/core.yaml")));
}

#[test]
fn orderer_yaml() {
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    insta::assert_snapshot!(text(&bundle, &format!("{ORDERER}/orderer.yaml")));
}

#[test]
fn orderer_yaml_differs_between_releases_in_its_first_line_only() {
    let path = format!("{ORDERER}/orderer.yaml");
    let (old, new) = (bundle(&Topology::solo(), Release::V2_5), bundle(&Topology::solo(), Release::V3_1));
    let body = |bundle| text(bundle, &path).split_once('\n').unwrap().1.to_owned();
    assert_eq!(body(&old), body(&new));
}

#[test]
fn peers_of_an_organization_bootstrap_from_each_other() {
    let topology = Topology::duo();
    let bundle = bundle(&topology, Release::V3_1);
    let placement = place_anywhere(&topology);
    for (name, other) in
        [("peer0.org2.example.com", "peer1.org2.example.com"), ("peer1.org2.example.com", "peer0.org2.example.com")]
    {
        let path = format!("organizations/peerOrganizations/org2.example.com/peers/{name}/core.yaml");
        let core: Value = serde_saphyr::from_str(text(&bundle, &path)).unwrap();
        let port = placement.nodes[other].ports.grpc;
        assert_eq!(core["peer"]["gossip"]["bootstrap"], serde_json::json!([format!("127.0.0.1:{port}")]));
    }
}

fn with_couchdb(release: Release, url: &str) -> RenderOptions {
    let couchdb = [("peer0.org1.example.com".to_owned(), url.parse().unwrap())].into();
    RenderOptions { couchdb, ..options(release) }
}

#[test]
fn a_peer_on_couchdb_differs_in_its_ledger_and_its_secrets() {
    let (topology, url) = (Topology::solo(), "http://us%65r:topsecret@couchdb0.example.com:5984");
    for release in [Release::V2_5, Release::V3_1] {
        let options = with_couchdb(release, url);
        let couchdb = render(&topology, &place_anywhere(&topology), &options).unwrap();
        let leveldb = bundle(&topology, release);
        let core = |bundle| text(bundle, &format!("{PEER}/core.yaml")).to_owned();
        let (with, without) = (core(&couchdb), core(&leveldb));
        let added: Vec<&str> = with.lines().filter(|line| !without.lines().any(|other| other == *line)).collect();
        insta::allow_duplicates! { insta::assert_snapshot!("couchdb", added.join("\n")) };
        let yaml: Value = serde_saphyr::from_str(&with).unwrap();
        assert_eq!(yaml["ledger"]["state"]["stateDatabase"], "CouchDB");
        assert_eq!(yaml["ledger"]["state"]["couchDBConfig"]["couchDBAddress"], "couchdb0.example.com:5984");

        let peer = couchdb.nodes.iter().find(|node| node.kind == NodeKind::Peer).unwrap();
        let environment = peer.full_environment();
        assert_eq!(environment["CORE_LEDGER_STATE_COUCHDBCONFIG_USERNAME"], "user");
        assert_eq!(environment["CORE_LEDGER_STATE_COUCHDBCONFIG_PASSWORD"], "topsecret");
        assert!(!format!("{options:?} {:?}", couchdb.nodes).contains("topsecret"), "a secret is shown");
        let shows = |(_, file): &(_, &File)| file.bytes.windows(9).any(|part| part == b"topsecret");
        assert_eq!(couchdb.files.iter().find(shows), None, "a secret is in a file");
    }
}

#[test]
fn a_couchdb_belongs_to_one_peer_of_the_topology() {
    let topology = Topology::duo();
    let mut options = with_couchdb(Release::V3_1, "http://a:b@h:1");
    let placement = place_anywhere(&topology);
    options.couchdb.insert("peer0.org2.example.com".to_owned(), "http://c:d@h:1".parse().unwrap());
    let error = render(&topology, &placement, &options).unwrap_err();
    assert_eq!(error.to_string(), "the CouchDB http://h:1 is for two peers; each needs a separate one");
    options.couchdb.insert("orderer0.example.com".to_owned(), "http://c:d@h:2".parse().unwrap());
    let error = render(&topology, &placement, &options).unwrap_err().to_string();
    assert_eq!(error, "the CouchDB http://h:2 is for orderer0.example.com, which is not a peer of the topology");
}

/// Paths and hosts come from a runtime and may need quoting.
#[test]
fn values_survive_yaml() {
    let topology = Topology::solo();
    let mut placement = place_anywhere(&topology);
    let peer = placement.nodes.get_mut("peer0.org1.example.com").unwrap();
    peer.data_dir = "/a \"b\": # c\\d/é ${name}".into();
    peer.host = "::1".to_owned();
    let bundle = render(&topology, &placement, &options(Release::V3_1)).unwrap();
    let core: Value = serde_saphyr::from_str(text(&bundle, &format!("{PEER}/core.yaml"))).unwrap();
    assert_eq!(core["peer"]["fileSystemPath"], "/a \"b\": # c\\d/é ${name}");
    assert!(core["peer"]["address"].as_str().unwrap().starts_with("[::1]:"));
}

#[test]
fn the_tree_is_that_of_cryptogen_with_the_configuration() {
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    let paths: Vec<String> =
        bundle.files.iter().map(|(path, file)| format!("{:o} {}", file.mode, path.display())).collect();
    insta::assert_snapshot!(paths.join("\n"));
}

#[test]
fn only_private_keys_are_private() {
    let bundle = bundle(&Topology::duo(), Release::V3_1);
    for (path, file) in &bundle.files {
        let holds_key = String::from_utf8_lossy(&file.bytes).contains("PRIVATE KEY");
        assert_eq!(file.mode == PRIVATE_MODE, holds_key, "{}", path.display());
    }
}

#[test]
fn an_msp_derives_roles_from_the_ou_of_certificates_of_its_ca() {
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    let msp = format!("{PEER}/msp");
    let config: Value = serde_saphyr::from_str(text(&bundle, &format!("{msp}/config.yaml"))).unwrap();
    let units = &config["NodeOUs"];
    assert_eq!(units["Enable"], true);
    for (key, role) in [
        ("ClientOUIdentifier", "client"),
        ("PeerOUIdentifier", "peer"),
        ("AdminOUIdentifier", "admin"),
        ("OrdererOUIdentifier", "orderer"),
    ] {
        assert_eq!(units[key]["OrganizationalUnitIdentifier"], role);
        let certificate = units[key]["Certificate"].as_str().unwrap();
        assert_eq!(text(&bundle, &format!("{msp}/{certificate}")), bundle.identities.peer_organizations[0].ca_pem);
    }
}

#[test]
fn every_node_can_be_started_from_its_spec() {
    let topology = Topology::duo();
    let bundle = bundle(&topology, Release::V3_1);
    let names: Vec<_> = topology.nodes().map(|node| node.name).collect();
    assert_eq!(bundle.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>(), names);
    for node in &bundle.nodes {
        let (program, image, file) = match node.kind {
            NodeKind::Peer => ("peer", "hyperledger/fabric-peer", "core.yaml"),
            NodeKind::Orderer => ("orderer", "hyperledger/fabric-orderer", "orderer.yaml"),
        };
        assert_eq!((&*node.program, &*node.image), (program, image));
        for file in [file, "msp/keystore/priv_sk", "tls/server.key", "tls/ca.crt"] {
            assert!(bundle.files.contains_key(&node.directory.join(file)), "{} {file}", node.name);
        }
        let config_dir = node.placement.config_dir.to_str().unwrap();
        assert_eq!(node.environment["FABRIC_CFG_PATH"], config_dir);
        assert_eq!(node.environment["FABRIC_LOGGING_SPEC"], "info:grpc=warn");
        if node.kind == NodeKind::Peer {
            for (variable, file) in [
                ("CORE_CHAINCODE_TLS_CLIENT_KEY", "chaincode/client.key"),
                ("CORE_CHAINCODE_TLS_CLIENT_CERT", "chaincode/client.crt"),
            ] {
                assert_eq!(node.environment[variable], format!("{config_dir}/{file}"));
                assert!(bundle.files.contains_key(&node.directory.join(file)));
            }
        }
    }
}

#[test]
fn each_channel_has_its_block_in_memory_and_as_a_file() {
    let mut topology = Topology::duo();
    let mut second = topology.channels[0].clone();
    second.name = "org2only".to_owned();
    second.organizations = vec!["Org2".to_owned()];
    topology.channels.push(second);
    let bundle = bundle(&topology, Release::V2_5);
    let names: Vec<_> = bundle.channels.iter().map(|channel| &*channel.name).collect();
    assert_eq!(names, ["mychannel", "org2only"]);
    for channel in &bundle.channels {
        let path = Path::new("channels").join(format!("{}.block", channel.name));
        assert_eq!(bundle.files[&path].bytes, channel.genesis_block);
    }
    let holds = |index: usize, text: &str| {
        bundle.channels[index].genesis_block.windows(text.len()).any(|part| part == text.as_bytes())
    };
    assert!(holds(0, "Org1MSP") && holds(0, "Org2MSP"));
    assert!(!holds(1, "Org1MSP") && holds(1, "Org2MSP"));
}

#[test]
fn the_files_are_written_unchanged() {
    let scratch = tempfile::tempdir().unwrap();
    let bundle = bundle(&Topology::solo(), Release::V3_1);
    bundle.write_to(scratch.path()).unwrap();
    for (path, file) in &bundle.files {
        assert_eq!(std::fs::read(scratch.path().join(path)).unwrap(), file.bytes);
    }
    assert!(bundle.write_to(scratch.path()).is_err(), "an existing network is not overwritten");
}

#[test]
fn bft_on_2_5_is_rejected() {
    let topology = Topology::bft();
    let error = render(&topology, &place_anywhere(&topology), &options(Release::V2_5)).unwrap_err();
    assert_eq!(error.to_string(), "ordering.consensus: bft needs Fabric 3, not 2.5; use etcdraft, or a newer release");
}

#[test]
fn mistakes_in_topology_and_placement_are_rejected() {
    let mut topology = Topology::solo();
    topology.organizations[0].peers.clear();
    let placement = place_anywhere(&Topology::solo());
    let error = render(&topology, &placement, &options(Release::V3_1)).unwrap_err();
    assert_eq!(error.to_string(), "organizations[0].peers: must not be empty");

    let error = render(&Topology::duo(), &placement, &options(Release::V3_1)).unwrap_err();
    let RenderError::Placement { problems } = &error else { panic!("{error}") };
    assert!(problems.contains(&"peer1.org2.example.com: missing placement".to_owned()), "{error}");
}
