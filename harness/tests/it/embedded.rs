//! `e2e` as a user runs it, on peers and orderers in the program itself: no Fabric is needed, so this
//! runs everywhere. What it takes to pass on real Fabric is in `e2e`.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;

use fabric_harness::network::Network;
use fabric_harness::runtime::embedded::EMBEDDED;

use crate::conformance::{ON_ONE_PEER, TWO_CHANNELS, conformance};
use crate::e2e::{E2e, UNTIL_THE_CASES};

/// The line that a run on embedded nodes begins with.
const NOT_COVERED: &str = "not covered: Fabric itself; peers and orderers are this program's own";

/// A run that takes long enough to be ended in its middle.
fn long(arguments: &[&str]) -> E2e {
    let mut e2e = embedded(arguments);
    let case = |number: u32| format!("[[case]]\nname = 'x{number}'\nevaluate = ['AssetExists', 'a']\n");
    let cases = e2e.file("cases.toml", &(0..500).map(case).collect::<String>());
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    e2e
}

fn embedded(arguments: &[&str]) -> E2e {
    E2e::new(&[&["--runtime", "embedded"], arguments].concat())
}

#[test]
fn every_topology_passes_as_either_release() {
    for (topology, passed, not_run) in [("solo", 19, 1), ("duo", 20, 0)] {
        for fabric in ["2.5", "3.1"] {
            embedded(&["--topology", topology, "--fabric", fabric]).assert_passes(passed, not_run);
        }
    }
    embedded(&["--topology", "bft"]).assert_passes(19, 1);
}

#[test]
fn a_report_that_cannot_be_written_is_exit_code_2_and_the_outcome_is_printed() {
    let e2e = embedded(&[]);
    e2e.file("evidence", "not a directory");
    let text = e2e.printed(2);
    assert!(text.contains("19 passed, 0 failed, 1 not run"), "{text}");
    assert!(text.contains("error: cannot write the evidence to ") && text.contains("give another directory"), "{text}");
}

#[test]
fn every_tls_mode_passes() {
    for mode in ["off", "tls"] {
        embedded(&["--tls", mode]).assert_passes(19, 1);
    }
}

#[test]
fn every_call_of_the_stub_passes_as_either_release() {
    for fabric in ["2.5", "3.1"] {
        conformance(embedded(&["--fabric", fabric])).assert_passes(ON_ONE_PEER.0, ON_ONE_PEER.1);
    }
}

#[test]
fn every_call_of_the_stub_passes_with_two_organizations_and_channels() {
    let mut e2e = conformance(embedded(&[]));
    let topology = e2e.file("topology.yaml", TWO_CHANNELS);
    e2e.arguments.extend(["--topology".to_owned(), topology]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    // A rich query needs another database.
    let others = text.lines().filter(|line| line.contains(" not run ") && !line.contains("needs CouchDB"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
    e2e.assert_nothing_left();
}

#[test]
fn a_seed_is_taken() {
    embedded(&["--seed", "7"]).assert_passes(19, 1);
}

/// Where the nodes of a network of this seed are, and the hash of each block after some transactions.
async fn blocks_of(seed: u64) -> (Vec<String>, Vec<Vec<u8>>) {
    let sample = std::env::var_os("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set");
    let network = Network::builder(sample).runtime(&EMBEDDED).seed(seed).start().await.unwrap();
    for arguments in [&["InitLedger"][..], &["CreateAsset", "a1", "blue", "5", "Tom", "300"]] {
        network.call(arguments).submit().await.unwrap();
    }
    let running = &network.nodes().running;
    let addresses = running.nodes().iter().map(|node| node.grpc.uri.clone()).collect();
    let peer = running.embedded().unwrap().peer("peer0.org1.example.com").unwrap();
    let ledger = peer.channel("mychannel").unwrap().ledger.clone();
    let blocks = (0..ledger.height()).map(|number| ledger.block(number).unwrap());
    let hashes = blocks.map(|block| block.block.header.clone().unwrap().data_hash).collect();
    let newest = ledger.info().current_block_hash;
    network.stop().await.unwrap();
    (addresses, [hashes, vec![newest]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_repeats_its_blocks() {
    for seed in [1001, 2002, 3003, 4004] {
        let (one, other) = (blocks_of(seed).await, blocks_of(seed).await);
        // Another program may have taken one of the ports, which are in the genesis block.
        if one.0 != other.0 {
            continue;
        }
        // The genesis block, an approval, the commit, two transactions.
        assert_eq!(one.1.len(), 5 + 1);
        assert_eq!(one.1, other.1);
        assert_ne!(blocks_of(seed + 1).await.1[0], one.1[0]);
        return;
    }
    panic!("no seed had its ports twice");
}

#[test]
fn a_failed_case_is_exit_code_1_and_its_evidence_holds_no_key() {
    let mut e2e = embedded(&[]);
    let cases = "[[case]]\nname = 'wrong'\nevaluate = ['AssetExists', 'asset1']\npayload = true\n\
                 [[case]]\nname = 'right'\nevaluate = ['AssetExists', 'asset1']\npayload = false\n";
    let cases = e2e.file("cases.toml", cases);
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("$ is false, not true") && text.contains("1 passed, 1 failed, 0 not run"), "{text}");
    assert!(text.contains(NOT_COVERED), "{text}");
    e2e.assert_nothing_left();

    let evidence = e2e.evidence();
    for name in ["report.txt", "core.yaml", "orderer.yaml", "connection.json", "asset-transfer.log"] {
        assert!(evidence.iter().any(|(path, _)| path.ends_with(name)), "no {name} in the evidence");
    }
    let keys = evidence.iter().filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("PRIVATE KEY"));
    assert_eq!(keys.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "keys in the evidence");
    // A peer's log is what passed on it.
    let peer = evidence.iter().find(|(path, _)| path.ends_with("peer0.org1.example.com.log")).unwrap();
    let log = String::from_utf8_lossy(&peer.1);
    for sign in ["joined the channel mychannel", "detect", "P>C REGISTERED", "mychannel block 1 committed"] {
        assert!(log.contains(sign), "no {sign} in the peer's log:\n{log}");
    }
}

#[test]
fn a_chaincode_that_registers_as_another_is_reported() {
    let mut e2e = embedded(&["--timeout", "5"]);
    let sample = std::env::var("CHAINCODE_SAMPLE").unwrap();
    let liar = e2e.file("liar", &format!("#!/bin/sh\nCHAINCODE_ID=liar:0 exec {sample}\n"));
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    e2e.chaincode = Some(liar);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("the first query failed"), "{text}");
    e2e.assert_nothing_left();
}

#[test]
fn a_chaincode_that_ends_is_reported_with_its_log() {
    let mut e2e = long(&["--timeout", "5"]);
    let sample = std::env::var("CHAINCODE_SAMPLE").unwrap();
    let ends = e2e.file("ends", &format!("#!/bin/sh\n{sample} & sleep 0.2; echo 'out of ideas' >&2; kill $!\n"));
    fs::set_permissions(&ends, fs::Permissions::from_mode(0o755)).unwrap();
    e2e.chaincode = Some(ends);
    let (output, text) = e2e.output();
    assert_ne!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("asset-transfer exited") && text.contains("out of ideas"), "{text}");
    e2e.assert_nothing_left();
}

#[test]
fn an_interrupted_run_keeps_its_logs() {
    let e2e = long(&[]);
    assert_eq!(e2e.end_after("connect to the nodes", Signal::INT), Some(2));
    e2e.assert_nothing_left();
    let evidence = e2e.evidence();
    let report = evidence.iter().find(|(path, _)| path.ends_with("report.txt")).unwrap();
    let report = String::from_utf8_lossy(&report.1);
    assert!(report.contains("ended by SIGINT"), "{report}");
    assert!(evidence.iter().any(|(path, _)| path.ends_with("peer0.org1.example.com.log")));
}

#[test]
fn whenever_it_is_ended_nothing_is_left() {
    for signal in [Signal::INT, Signal::KILL] {
        for done in [0, 2, 4, 7].map(|index| UNTIL_THE_CASES[index]) {
            let e2e = long(&["--keep", "never"]);
            let code = e2e.end_after(done, signal);
            let expected = if signal == Signal::KILL { None } else { Some(2) };
            assert_eq!(code, expected, "{signal:?} after {done}");
            e2e.assert_nothing_left();
        }
    }
}

#[test]
fn it_is_chosen_and_named_when_nothing_else_is_possible() {
    let e2e = E2e::new(&[]);
    let mut command = e2e.command();
    // No engine listens there, and no program of Fabric is there.
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").env("PATH", "/nowhere");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["runtime docker passed over: ", "runtime process passed over: ", "runtime embedded, ", NOT_COVERED] {
        assert!(text.lines().any(|text| text.starts_with(line)), "no {line}:\n{text}");
    }
    e2e.assert_nothing_left();
}
