//! Every call of the chaincode stub on real peers: the cases of conformance.toml.
//!
//! `CHAINCODE_CONFORMANCE` is the program that makes them; `cargo xtask test` builds it.

use crate::e2e::E2e;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/conformance.toml");

/// How many cases pass, and are not run, on one peer without CouchDB.
pub(crate) const ON_ONE_PEER: (usize, usize) = (94, 17);

/// A second organization, and a second channel: what some of the cases need.
pub(crate) const TWO_CHANNELS: &str = "\
organizations:
  - {name: Org1, domain: org1.example.com, peers: [{name: peer0}]}
  - {name: Org2, domain: org2.example.com, peers: [{name: peer0}]}
ordering: {domain: example.com, orderers: [{name: orderer}]}
channels: [{name: mychannel}, {name: second}]
";

pub(crate) fn conformance(mut e2e: E2e) -> E2e {
    e2e.chaincode = Some(std::env::var("CHAINCODE_CONFORMANCE").expect("CHAINCODE_CONFORMANCE is not set"));
    e2e.arguments.extend(["--cases".to_owned(), CASES.to_owned()]);
    e2e
}

/// Only what needs CouchDB may be left out, and that only where there is none.
fn assert_nothing_else_is_left_out(text: &str) {
    let others = text.lines().filter(|line| line.contains(" not run ") && !line.contains("needs CouchDB"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_every_call_of_the_stub_passes_on_one_peer() {
    conformance(E2e::process(&[])).assert_passes(ON_ONE_PEER.0, ON_ONE_PEER.1);
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_every_call_of_the_stub_passes_with_two_organizations_and_channels() {
    let mut e2e = conformance(E2e::process(&[]));
    let topology = e2e.file("topology.yaml", TWO_CHANNELS);
    e2e.arguments.extend(["--topology".to_owned(), topology]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_nothing_else_is_left_out(&text);
    e2e.assert_nothing_left();
}

#[test]
#[ignore = "needs a CouchDB: COUCHDB_URL; and Fabric's peer and orderer"]
fn needs_couchdb_every_call_of_the_stub_passes_with_rich_queries() {
    let url = std::env::var("COUCHDB_URL").expect("COUCHDB_URL is not set");
    let (output, text) = conformance(E2e::process(&["--couchdb", &url])).output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("needs CouchDB"), "{text}");
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_every_call_of_the_stub_passes_on_both_releases() {
    for fabric in ["2.5", "3.1"] {
        conformance(E2e::new(&["--runtime", "docker", "--fabric", fabric])).assert_passes(ON_ONE_PEER.0, ON_ONE_PEER.1);
    }
}
