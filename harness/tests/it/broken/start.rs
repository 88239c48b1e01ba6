//! Nodes that are broken: why they do not start, and the error of a client that cannot reach one.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use fabric_harness::client::endorser::endorse;
use fabric_harness::runtime::Runtime;
use fabric_network::bundle::Bundle;
use fabric_network::topology::{Node, Ordering, Topology};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::On::{self, Both, Fabric};
use super::servers::{Sample, free};
use super::stage::{self, PEER, Stage, Verdict, invocation, package, set, shows, text, texts_of};
use crate::fake::marked;

const ENTRIES: &[(&str, On)] = &[("port-in-use", Both), ("local-msp", Both), ("couchdb-unreachable", Fabric)];
const OTHERS: &[&str] = &["orderer-not-ready", "orderer-unreachable"];

pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|(entry, _)| *entry).chain(OTHERS.iter().copied())
}

fn break_for(entry: &str, bundle: &mut Bundle, taken: SocketAddr) {
    match entry {
        "port-in-use" => {
            set(bundle, &[("CORE_OPERATIONS_LISTENADDRESS", &taken.to_string())]);
            // What an embedded peer goes by.
            let peer = bundle.nodes.iter_mut().find(|node| node.name == PEER).unwrap();
            peer.placement.ports.operations = taken.port();
        }
        "local-msp" => {
            let peer = bundle.nodes.iter().find(|node| node.name == PEER).unwrap().directory.join("msp/signcerts");
            assert!(bundle.files.keys().any(|path| path.starts_with(&peer)), "{} is not there", peer.display());
            bundle.files.retain(|path, _| !path.starts_with(&peer));
        }
        "couchdb-unreachable" => {
            let address = free().to_string();
            let variables = [
                ("CORE_LEDGER_STATE_STATEDATABASE", "CouchDB"),
                ("CORE_LEDGER_STATE_COUCHDBCONFIG_COUCHDBADDRESS", &address),
                ("CORE_LEDGER_STATE_COUCHDBCONFIG_USERNAME", "admin"),
                ("CORE_LEDGER_STATE_COUCHDBCONFIG_PASSWORD", "adminpw"),
                ("CORE_LEDGER_STATE_COUCHDBCONFIG_MAXRETRIESONSTARTUP", "1"),
            ];
            set(bundle, &variables);
        }
        _ => unreachable!("{entry}"),
    }
}

async fn starts(runtime: &dyn Runtime) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut verdict = Verdict::default();
    for (entry, _) in ENTRIES.iter().filter(|(_, on)| shows(runtime, *on)) {
        let change = |bundle: &mut Bundle| break_for(entry, bundle, address);
        let error = Stage::start(runtime, &Topology::solo(), change).await.err();
        verdict.of(entry, &texts_of(error.unwrap_or_else(|| panic!("{entry}: everything starts"))));
    }
    verdict.assert();
}

/// The processes of orderers of the run in this directory, and of no other.
fn orderers(directory: &Path) -> Vec<u32> {
    let mark = format!("FABRIC_HARNESS_RUN={}", directory.display());
    let is_orderer = |number: &u32| {
        let read = |file: &str| fs::read(format!("/proc/{number}/{file}")).unwrap_or_default();
        let is_ours = String::from_utf8_lossy(&read("environ")).contains(&mark);
        is_ours && read("cmdline").split(|byte| *byte == 0).next().is_some_and(|program| program.ends_with(b"orderer"))
    };
    marked(directory.parent().unwrap()).into_iter().filter(is_orderer).collect()
}

fn kill(number: u32) {
    kill_process(Pid::from_raw(i32::try_from(number).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// All but `left` of three orderers are gone.
async fn too_few_orderers(runtime: &dyn Runtime, entry: &str, left: usize, verdict: &mut Verdict) {
    let names = ["orderer1", "orderer2", "orderer3"];
    let nodes = names.map(|name| Node { name: name.to_owned() }).into();
    let solo = Topology::solo();
    let ordering = Ordering { orderers: nodes, tick: Ordering::default_tick(3), ..solo.ordering.clone() };
    let stage = Stage::start(runtime, &Topology { ordering, ..solo }, |_| {}).await.unwrap();
    let address = free();
    let connection = format!(r#"{{"address":"{address}","tls_required":false}}"#);
    let sample = package("sample", &connection);
    let _server = Sample::begin(address, &sample.id, None, None);
    stage.deploy("sample", &sample).await.unwrap();
    let write = invocation("sample", &["CreateAsset", "a", "blue", "5", "Tom", "300"]);
    let gateway = stage.gateway();
    let itself = std::slice::from_ref(&gateway);
    let transaction = endorse("endorse", itself, &write, stage::deadline()).await.unwrap();
    stage.turn_over().await;
    let orderers = orderers(stage.running.directory());
    assert_eq!(orderers.len(), names.len());
    orderers.into_iter().skip(left).for_each(kill);
    // A leader may take it before it notices that nobody follows; it is submitted again then.
    let deadline = Instant::now() + Duration::from_secs(9);
    let error = gateway.commit(&transaction, itself, deadline).await.unwrap_err();
    stage.judge(verdict, entry, &text(&error), "").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_node_reports_why_it_does_not_start() {
    starts(&stage::embedded()).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_node_reports_why_it_does_not_start() {
    starts(&stage::fabric().await).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_too_few_orderers_are_reported() {
    let (runtime, mut verdict) = (stage::fabric().await, Verdict::default());
    too_few_orderers(&runtime, "orderer-not-ready", 1, &mut verdict).await;
    too_few_orderers(&runtime, "orderer-unreachable", 0, &mut verdict).await;
    verdict.assert();
}
