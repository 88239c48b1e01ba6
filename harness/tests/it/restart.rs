//! A node that is restarted: it comes back with its data, at the same address, and a chaincode that
//! was deployed before answers as if nothing had been.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::client::{Definition, Installation, Invocation, PeerClient};
use fabric_harness::console::timeline::Timeline;
use fabric_harness::deploy::{Administration, Package};
use fabric_harness::runtime::docker::DockerRuntime;
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::kubernetes::KubernetesRuntime;
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{Action, ChaincodeSpec, Running, Runtime, RuntimeError, RuntimeOptions};
use fabric_harness::server::ServerSource;
use fabric_network::release::Release;
use fabric_network::topology::Topology;

use crate::fake::{Fake, LIVE, place, soon};
use crate::kubernetes;

const PEER: &str = "peer0.org1.example.com";
const ORDERER: &str = "orderer.example.com";
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_restart_stops_and_starts_the_node_and_is_no_unexpected_exit() {
    let ends_on_request = "echo up $$; trap 'echo down; exit 3' TERM; while :; do sleep 0.01; done";
    let fake = Fake::new(ends_on_request, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let log = running.directory().join("logs").join(format!("{PEER}.log"));
    let words = || fs::read_to_string(&log).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    soon("it is up", || words().len() == 2);

    running.restart(PEER).await.unwrap();
    soon("it is up again", || words().len() == 5);
    let words = words();
    assert_eq!([&words[0], &words[2], &words[3]], ["up", "down", "up"], "{words:?}");
    assert_ne!(words[1], words[4], "the same process");
    assert_eq!(running.exits().await, []);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_is_stopped_killed_and_started_by_request() {
    let ends_on_request = "echo up; trap 'echo down; exit 3' TERM; while :; do sleep 0.01; done";
    let fake = Fake::new(ends_on_request, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let log = running.directory().join("logs").join(format!("{PEER}.log"));
    let words = || fs::read_to_string(&log).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    soon("it is up", || words() == ["up"]);
    assert_eq!(running.control(Action::Stop, "peer0").await.unwrap(), [PEER]);
    assert_eq!(words(), ["up", "down"]);
    assert_eq!(running.stopped().into_iter().collect::<Vec<_>>(), [PEER]);
    running.control(Action::Start, PEER).await.unwrap();
    assert!(running.stopped().is_empty());
    soon("it is up again", || words() == ["up", "down", "up"]);
    running.control(Action::Kill, PEER).await.unwrap();
    running.control(Action::Start, PEER).await.unwrap();
    soon("it is up again", || words() == ["up", "down", "up", "up"]);
    assert_eq!(running.exits().await, []);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_does_not_come_back_is_reported_and_an_unknown_one_refused() {
    let once = "if [ -e up ]; then echo 'no way back'; exit 7; fi; touch up; exec sleep 1000";
    let fake = Fake::new(once, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let up = running.directory().join("nodes").join(PEER).join("up");
    soon("it is up", || up.exists());
    let error = running.restart("peer9").await.unwrap_err();
    assert_eq!(error.to_string(), format!("no node peer9; the nodes are {ORDERER}, {PEER}"));
    // A stand-in is ready as soon as it lives, so the restart itself may be too quick to see its end.
    let ended = |error: &RuntimeError| matches!(error, RuntimeError::Exited(exit) if exit.how == "exit status: 7");
    if let Err(error) = running.restart(PEER).await {
        assert!(ended(&error), "{error}");
    }
    let begin = Instant::now();
    let exits = loop {
        let exits = running.exits().await;
        if !exits.is_empty() || begin.elapsed() > TIMEOUT {
            break exits;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(exits.iter().map(|exit| (&*exit.name, &*exit.how)).collect::<Vec<_>>(), [(PEER, "exit status: 7")]);
    assert!(exits[0].log.contains("no way back"), "{exits:?}");
    running.stop().await.unwrap();
}

/// A network with the sample chaincode, committed, without TLS between peer and chaincode.
struct Deployed {
    running: Running,
    gateway: PeerClient,
    administrator: PeerClient,
    package: Package,
}

fn program(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set")).into()
}

/// The programs of `FABRIC_BIN`, or of PATH.
async fn fabric() -> ProcessRuntime {
    let options = RuntimeOptions::new(program("CCAAS_BUILDER"));
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    ProcessRuntime::find(options, directory.as_deref()).await.unwrap()
}

async fn deploy(runtime: &dyn Runtime) -> Deployed {
    let topology = Topology::solo();
    let (placed, bundle) = place(runtime, &topology).await;
    let address = &placed.chaincodes["basic"];
    let connection = Connection { address: address.address.clone(), ..Connection::default() };
    let content =
        package::Package { label: "basic_1.0".into(), kind: "ccaas".into(), connection, extra_files: BTreeMap::new() };
    let bytes = content.to_bytes().unwrap();
    let package = Package { id: package_id("basic_1.0", &bytes), bytes, connection: String::new(), organization: None };
    let environment = [("CHAINCODE_ID", &package.id), ("CHAINCODE_SERVER_ADDRESS", &address.listen)];
    let server = ChaincodeSpec {
        name: "basic".to_owned(),
        source: ServerSource::Program(program("CHAINCODE_SAMPLE")),
        environment: environment.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        ..ChaincodeSpec::default()
    };
    let running = placed.start(&bundle, &[server]).await.unwrap();
    let administration = Administration::connect(&topology, &bundle, running.nodes(), TIMEOUT).await.unwrap();
    let channel = &topology.channels[0];
    let definition = Definition::new("basic", "1.0");
    administration.join_and_install(&topology, &bundle, &package, &Timeline::begin(true)).await.unwrap();
    administration.approve(channel, &definition, &package).await.unwrap();
    administration.commit(channel, &definition).await.unwrap();
    let gateway = administration.gateway(channel, &bundle).unwrap();
    let administrator = administration.channel_peers(channel).next().unwrap().clone();
    Deployed { running, gateway, administrator, package }
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + TIMEOUT
}

impl Deployed {
    fn invocation(arguments: &[&str]) -> Invocation {
        Invocation::new("mychannel", "basic", arguments[0]).arguments(arguments[1..].iter().copied())
    }

    async fn submit(&self, arguments: &[&str]) {
        let invocation = Self::invocation(arguments);
        self.gateway.submit_transaction(&invocation, &[], deadline()).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn owner_of(&self, asset: &str) -> serde_json::Value {
        let answer = self.gateway.evaluate(&Self::invocation(&["ReadAsset", asset]), &[], deadline()).await.unwrap();
        let asset: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        asset["Owner"].clone()
    }

    /// How often the peer has run the builder: it logs it once for each build.
    async fn builds(&self) -> usize {
        self.running.logs().await[PEER].matches("build: basic_1.0 connects to").count()
    }

    async fn starts(&self) -> usize {
        self.running.logs().await[PEER].matches("Starting peer:").count()
    }

    /// Where the peer, a process, keeps what the builder made.
    fn build(&self) -> PathBuf {
        let builds = self.running.directory().join("nodes").join(PEER).join("data/externalbuilder/builds");
        builds.join(self.package.id.replace(':', "-"))
    }

    /// What must not be noticed by whoever uses the chaincode.
    async fn outlives_restarts(self) {
        self.submit(&["InitLedger"]).await;
        self.submit(&["TransferAsset", "asset1", "before"]).await;
        assert_eq!((self.builds().await, self.starts().await), (1, 1));

        self.running.restart(PEER).await.unwrap();
        // A node of this process may answer a moment before its log shows it.
        let begin = Instant::now();
        while self.starts().await < 2 && begin.elapsed() < TIMEOUT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.starts().await, 2, "the peer was not started again");
        assert_eq!(self.owner_of("asset1").await, "before");
        self.submit(&["TransferAsset", "asset1", "after"]).await;
        assert_eq!(self.owner_of("asset1").await, "after");

        self.running.restart(ORDERER).await.unwrap();
        self.submit(&["TransferAsset", "asset1", "at last"]).await;
        assert_eq!(self.owner_of("asset1").await, "at last");
        assert_eq!(self.builds().await, 1, "the builder was run again");
        assert_eq!(self.running.exits().await, []);
        self.running.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chaincode_outlives_restarts_of_embedded_nodes() {
    let options = RuntimeOptions::new(program("CCAAS_BUILDER"));
    let runtime = EmbeddedRuntime::new(options, Release::default());
    deploy(&runtime).await.outlives_restarts().await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_chaincode_outlives_restarts_of_its_nodes() {
    deploy(&fabric().await).await.outlives_restarts().await;
}

/// What `run` logs of a lost release, and that what it advises helps.
#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_lost_release_is_reported_and_built_again_after_a_restart() {
    let network = deploy(&fabric().await).await;
    network.submit(&["InitLedger"]).await;
    let release = network.build().join("release/chaincode");
    fs::remove_dir_all(&release).unwrap();
    network.running.restart(PEER).await.unwrap();
    let read = Deployed::invocation(&["ReadAsset", "asset1"]);
    network.gateway.evaluate(&read, &[], deadline()).await.unwrap_err();
    let log = network.running.logs().await.remove(PEER).unwrap();
    let (id, missing) = (&network.package.id, release.join("server/connection.json"));
    let lines = format!(
        "error: run: chaincode \"{id}\" runs as a service and is not started by the peer; \
         the peer called run because {} is missing",
        missing.display()
    );
    assert!(log.contains(&lines), "{lines}\nis not in\n{log}");

    fs::remove_dir_all(network.build()).unwrap();
    let again = network.administrator.install(&network.package.bytes, deadline()).await.unwrap();
    assert!(matches!(again, Installation::AlreadyInstalled { .. }), "{again:?}");
    assert_eq!(network.builds().await, 1, "to install it again builds nothing");
    network.running.restart(PEER).await.unwrap();
    assert_eq!(network.owner_of("asset1").await, "Tomoko");
    assert_eq!(network.builds().await, 2);
    assert!(missing.is_file());
    network.running.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_chaincode_outlives_restarts_of_its_nodes() {
    for tag in ["2.5", "3.1"] {
        let found = DockerRuntime::find(RuntimeOptions::new(program("CCAAS_BUILDER")), tag).await.unwrap();
        deploy(&found).await.outlives_restarts().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
async fn needs_kubernetes_a_chaincode_outlives_restarts_of_its_nodes() {
    for tag in ["2.5", "3.1"] {
        let options = RuntimeOptions::new(program("CCAAS_BUILDER"));
        let found = KubernetesRuntime::find(options, kubernetes::options(), tag).await.unwrap();
        deploy(&found).await.outlives_restarts().await;
    }
}
