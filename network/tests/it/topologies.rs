//! Topologies: valid ones, defaults, and the messages of mistakes.

use fabric_network::topology::{Batch, Consensus, Rule, Topology};
use std::time::Duration;

fn mistakes(yaml: &str) -> String {
    match Topology::from_yaml(yaml) {
        Ok(topology) => panic!("no mistake was found in {topology:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn presets_are_valid_and_come_back_from_yaml() {
    for name in Topology::PRESETS {
        let topology = Topology::preset(name).unwrap();
        topology.validate().unwrap();
        let yaml = topology.to_yaml();
        assert_eq!(Topology::from_yaml(&yaml).unwrap(), topology, "{yaml}");
    }
    assert_eq!(Topology::preset("trio"), None);
    assert_eq!(Topology::default(), Topology::solo());
}

#[test]
fn nodes_are_orderers_then_peers_by_full_name() {
    let topology = Topology::duo();
    let names: Vec<String> = topology.nodes().map(|node| node.name).collect();
    assert_eq!(
        names,
        [
            "orderer1.example.com",
            "orderer2.example.com",
            "orderer3.example.com",
            "peer0.org1.example.com",
            "peer1.org1.example.com",
            "peer0.org2.example.com",
            "peer1.org2.example.com",
        ]
    );
}

#[test]
fn omitted_fields_have_defaults() {
    let topology = Topology::from_yaml(
        "
organizations: [{name: Org1, domain: org1.test, peers: [{name: peer0}]}]
ordering: {domain: test, orderers: [{name: o1}]}
channels: [{name: ch}]
",
    )
    .unwrap();
    assert_eq!(topology.organizations[0].msp_id, "Org1MSP");
    assert_eq!(topology.organizations[0].users, 1);
    assert_eq!(topology.ordering.msp_id, "OrdererMSP");
    assert_eq!(topology.ordering.consensus, Consensus::Etcdraft);
    assert_eq!(topology.ordering.tick, Duration::from_millis(10));
    assert_eq!(Topology::duo().ordering.tick, Duration::from_millis(100), "several orderers need a longer tick");
    assert_eq!(topology.ordering.batch, Batch::default());
    assert_eq!(topology.channels[0].endorsement, Rule::Majority);
}

#[test]
fn sizes_and_durations_have_units() {
    let topology = Topology::from_yaml(
        "
organizations: [{name: Org1, domain: org1.test, peers: [{name: peer0}]}]
ordering:
  domain: test
  orderers: [{name: o1}]
  tick: 500ms
  batch: {timeout: 2s, absolute_max_bytes: 98MB, preferred_max_bytes: 512 kb, max_messages: 10}
channels: [{name: ch}]
",
    )
    .unwrap();
    assert_eq!(topology.ordering.tick, Duration::from_millis(500));
    let batch = &topology.ordering.batch;
    assert_eq!(batch.timeout, Duration::from_secs(2));
    assert_eq!(batch.absolute_max_bytes, 98 * 1024 * 1024);
    assert_eq!(batch.preferred_max_bytes, 512 * 1024);
}

/// Types, names, references, numbers, unknown and missing fields, all in one report.
#[test]
fn every_mistake_is_reported_with_its_position() {
    insta::assert_snapshot!(mistakes(
        "organizations:
  - name: Org1
    domain: org1.example.com
    peers:
      - name: peer0
      - name: peer0
    users: many
  - name: Org1
    msp_id: Org1MSP
    domain: Org2.example.com
    peers:
      - name: Peer_0
      - peer1
    color: blue
  - domain: org3.example.com
    peers: []
ordering:
  domain: example.com
  consensus: raft
  orderers:
    - name: orderer1
    - name: orderer2
  tick: 20
  batch:
    timeout: 0s
    max_messages: 0
    absolute_max_bytes: 1 GB
    preferred_max_bytes: 11 MB
channels:
  - name: MyChannel
    endorsement: most
  - name: two
    organizations: [Org1, Org1]
  - name: two
"
    ));
}

#[test]
fn an_unknown_organization_is_reported_with_the_known_ones() {
    insta::assert_snapshot!(mistakes(
        "organizations:
  - {name: Org1, domain: org1.test, peers: [{name: peer0}]}
  - {name: Org2, domain: org2.test, peers: [{name: peer0}]}
ordering: {name: Org2, domain: org1.test, consensus: bft, orderers: [{name: o1}]}
channels: [{name: ch, organizations: [Org1, Org3, Org3]}]
"
    ));
}

/// An empty list could mean no organization or all, and a domain that ends in digits is no DNS name.
#[test]
fn an_empty_list_and_an_address_for_a_domain_are_rejected() {
    insta::assert_snapshot!(mistakes(
        "organizations: [{name: Org1, domain: 127.0.0.1, peers: [{name: peer0}]}]
ordering: {domain: orderer.7, orderers: [{name: o1}]}
channels: [{name: ch, organizations: []}]
"
    ), @r"
    organizations[0].domain: invalid domain `127.0.0.1`: the last label needs a letter, as in `org1.example.com`; otherwise it is read as an IP address (line 1, column 38)
    ordering.domain: invalid domain `orderer.7`: the last label needs a letter, as in `org1.example.com`; otherwise it is read as an IP address (line 2, column 20)
    channels[0].organizations: must not be empty; leave it out for all (line 3, column 38)
    ");
}

#[test]
fn an_empty_mapping_has_three_missing_fields() {
    insta::assert_snapshot!(mistakes("{}"), @r"
    organizations: is missing (line 1, column 1)
    ordering: is missing (line 1, column 1)
    channels: is missing (line 1, column 1)
    ");
}

#[test]
fn text_that_is_not_a_topology_is_rejected() {
    for (yaml, expected) in [
        ("", "must be a mapping of fields, not empty"),
        ("just text", "must be a mapping of fields, not the text `just text`"),
        ("[1]", "must be a mapping of fields, not a list"),
    ] {
        let error = mistakes(yaml);
        assert!(error.starts_with(expected), "{yaml:?} gives {error}");
        assert_eq!(error.lines().count(), 1, "{yaml:?} gives {error}");
    }
}

#[test]
fn broken_yaml_has_line_and_column() {
    for (yaml, expected) in [
        ("organizations:\n  - name: \"Org1\n", "invalid indentation in multiline quoted scalar (line 3, column 1)"),
        ("organizations: [1, 2\nordering: 3\n", "illegal placement of ':' indicator (line 2, column 9)"),
        ("a: 1\n  b: 2\n", "mapping values are not allowed in this context (line 2, column 4)"),
        ("ordering: {}\nordering: {}\n", "duplicate mapping key: ordering (line 2, column 1)"),
        ("a: *nowhere\n", "alias references unknown anchor (line 1, column 4)"),
    ] {
        assert_eq!(mistakes(yaml), format!("the topology is not valid YAML: {expected}"));
    }
}

#[test]
fn hostile_text_is_rejected_without_a_panic() {
    let deep = "[".repeat(100_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let long = "#".repeat(2 * 1024 * 1024);
    for (text, expected) in [
        (&*deep, "recursion limit exceeded"),
        (bomb, "Nodes { nodes: 100001 }"),
        (&long, "the topology has 2097152 bytes, more than 1048576"),
        ("\u{0}", "unexpected character"),
        ("%YAML 9.9\n---\n", "unsupported YAML major version"),
        ("a: !!binary x", "invalid !!binary base64"),
        ("? [a]\n: b", "expected string scalar"),
    ] {
        let error = mistakes(text);
        assert!(error.contains(expected), "{expected} was expected, not {error}");
    }
}

#[test]
fn long_names_are_rejected_before_certificates_are_issued() {
    let mut topology = Topology::solo();
    topology.organizations[0].peers[0].name = "p".repeat(60);
    topology.ordering.domain = format!("{}.example.com", "o".repeat(60));
    topology.channels[0].name = "c".repeat(250);
    topology.organizations[0].users = 5000;
    let error = topology.validate().unwrap_err();
    let paths: Vec<&str> = error.mistakes().iter().map(|mistake| &*mistake.path).collect();
    assert_eq!(
        paths,
        [
            "organizations[0].peers[0].name",
            "organizations[0].users",
            "ordering.domain",
            "ordering.orderers[0].name",
            "channels[0].name",
        ]
    );
}

#[test]
fn raft_needs_an_odd_number_and_bft_at_least_four() {
    for (consensus, count, fits) in [
        (Consensus::Etcdraft, 1, true),
        (Consensus::Etcdraft, 2, false),
        (Consensus::Etcdraft, 3, true),
        (Consensus::Etcdraft, 4, false),
        (Consensus::Etcdraft, 5, true),
        (Consensus::Bft, 3, false),
        (Consensus::Bft, 4, true),
        (Consensus::Bft, 7, true),
    ] {
        let mut topology = Topology::bft();
        let orderer = topology.ordering.orderers[0].clone();
        topology.ordering.consensus = consensus;
        topology.ordering.orderers = (0..count)
            .map(|index| {
                let mut orderer = orderer.clone();
                orderer.name = format!("orderer{index}");
                orderer
            })
            .collect();
        assert_eq!(topology.validate().is_ok(), fits, "{consensus:?} with {count}");
    }
}
