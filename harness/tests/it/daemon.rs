//! Persistent networks as a user runs them: `up`, use with the written files, changes, and complete removal for
//! any end.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fabric_harness::client::Endpoint;
use fabric_harness::client::{ClientError, Invocation, Node, PeerClient, Signer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::docker::containers_below;
use crate::fake::{Fake, LIVE, marked, soon};

const EMBEDDED: &[&str] = &["--runtime", "embedded"];

/// The program with its own place for runs, and a state directory.
pub(crate) struct Daemon {
    scratch: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("runs")).unwrap();
        Self { scratch }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("new/network")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
        command.args(arguments).arg("--state").arg(self.state());
        command.env("TMPDIR", self.path("runs")).stdin(Stdio::null());
        command
    }

    fn up(&self, arguments: &[&str]) -> Command {
        let program = |variable: &str| std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
        let mut command = self.command(&["up", "--builder", &program("CCAAS_BUILDER")]);
        command.args(["--chaincode", &program("CHAINCODE_SAMPLE")]).args(arguments);
        command
    }

    /// Its exit code, and output.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        code_and_text(&self.command(arguments).output().unwrap())
    }

    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    #[track_caller]
    pub(crate) fn is_up(&self, arguments: &[&str]) -> String {
        let (code, text) = code_and_text(&self.up(arguments).output().unwrap());
        assert_eq!(code, Some(0), "{text}");
        text
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.state().join(name)).unwrap()).unwrap()
    }

    fn environment(&self, name: &str) -> BTreeMap<String, String> {
        variables(&self.state().join(name))
    }

    /// A client that knows no more than `gateway.env`.
    pub(crate) async fn client(&self) -> PeerClient {
        self.client_of(&self.environment("gateway.env")["PEER_HOST_ALIAS"]).await
    }

    fn endpoint(&self, server_name: &str) -> Endpoint {
        let environment = self.environment("gateway.env");
        Endpoint {
            uri: format!("https://{}", environment["PEER_ENDPOINT"]),
            server_name: server_name.to_owned(),
            tls_ca_pem: fs::read_to_string(&environment["TLS_CERT_PATH"]).unwrap(),
        }
    }

    /// As [`Self::client`], of a peer with this name in its certificate.
    pub(crate) async fn client_of(&self, server_name: &str) -> PeerClient {
        let environment = self.environment("gateway.env");
        let text = |name: &str| fs::read_to_string(&environment[name]).unwrap();
        let endpoint = self.endpoint(server_name);
        let node = Node::connect(&endpoint.server_name, &endpoint, None).await.unwrap();
        let signer = Signer::new(&environment["MSP_ID"], &text("CERT_PATH"), &text("KEY_PATH")).unwrap();
        PeerClient::new(node, Arc::new(signer))
    }

    fn invocation(&self, arguments: &[&str]) -> Invocation {
        let environment = self.environment("gateway.env");
        Invocation {
            channel: environment["CHANNEL_NAME"].clone(),
            chaincode: environment["CHAINCODE_NAME"].clone(),
            arguments: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            transient: BTreeMap::new(),
            init: false,
        }
    }

    async fn call(&self, client: &PeerClient, asset: &str) -> Result<Vec<u8>, ClientError> {
        let call = self.invocation(&["AssetExists", asset]);
        client.evaluate(&call, &[], deadline()).await
    }

    pub(crate) async fn exists(&self, client: &PeerClient, asset: &str) -> bool {
        self.call(client, asset).await.unwrap() == b"true"
    }

    pub(crate) async fn create(&self, client: &PeerClient, asset: &str) {
        let call = self.invocation(&["CreateAsset", asset, "blue", "5", "Tom", "300"]);
        client.submit_transaction_to(&call, &[], std::slice::from_ref(client), deadline()).await.unwrap();
    }

    /// The processes of its run, but for the reaper.
    fn servers(&self) -> Vec<u32> {
        let is_reaper = |number: &u32| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("reap")
        };
        marked(&self.path("runs")).into_iter().filter(|number| !is_reaper(number)).collect()
    }

    pub(crate) fn process(&self) -> u32 {
        u32::try_from(self.json("daemon.json")["process"].as_u64().unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let runs = self.path("runs");
        soon("every process has ended", || marked(&runs).is_empty());
        soon("every run's directory is gone", || fs::read_dir(&runs).unwrap().next().is_none());
        soon("the state directory is gone", || !self.state().exists());
    }
}

impl Drop for Daemon {
    /// A test that failed leaves no network.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.command(&["down"]).output();
        }
    }
}

/// What an environment file sets, as a shell reads it.
fn variables(file: &Path) -> BTreeMap<String, String> {
    let script = format!("set -a; . {}; env", file.display());
    let output = Command::new("/bin/sh").args(["-c", &script]).env_clear().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

fn code_and_text(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(20)
}

pub(crate) fn send(number: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(number).unwrap()).unwrap(), signal).unwrap();
}

/// Every file below, with its mode and bytes.
fn files(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            // A temporary file may be gone by now.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                files.push((entry.path(), metadata.permissions().mode() & 0o777, fs::read(entry.path()).unwrap()));
            }
        }
    }
    files
}

#[tokio::test]
async fn a_network_runs_until_down() {
    let daemon = Daemon::new();
    let text = daemon.is_up(EMBEDDED);
    for expected in ["runtime embedded", "first query", "peer0.org1.example.com", "Org1MSP", "User1@org1", "peer.env"] {
        assert!(text.contains(expected), "no {expected} in:\n{text}");
    }
    let package = daemon.json("network.json")["chaincodes"][0]["package_id"].as_str().unwrap().to_owned();
    assert!(text.contains(&package), "{text}");
    let client = daemon.client().await;
    daemon.create(&client, "a1").await;

    let status = daemon.done(&["status"]);
    assert!(status.contains("up since ") && status.contains("peer0.org1.example.com  answers"), "{status}");
    let status: Value = serde_json::from_str(&daemon.done(&["status", "--json"])).unwrap();
    assert_eq!((&status["up"], &status["members"]["asset-transfer"]["alive"]), (&true.into(), &true.into()));

    let (code, text) = code_and_text(&daemon.up(EMBEDDED).output().unwrap());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("a network is already running there"), "{text}");
    assert!(daemon.exists(&client, "a1").await, "the other one must not touch it");

    assert_eq!(daemon.done(&["down"]), "stopped the network and removed everything\n");
    assert!(!daemon.state().exists());
    daemon.assert_nothing_left();
    assert!(daemon.done(&["down"]).starts_with("no network is running in "));
    let (code, text) = daemon.run(&["status"]);
    assert_eq!((code, text.contains("no network is running in ")), (Some(2), true), "{text}");
}

#[tokio::test]
async fn what_died_is_reported_and_restarted_with_the_same_package() {
    let daemon = Daemon::new();
    daemon.is_up(EMBEDDED);
    let client = daemon.client().await;
    daemon.create(&client, "a1").await;
    let package = daemon.json("network.json")["chaincodes"][0]["package_id"].as_str().unwrap().to_owned();
    let before = daemon.servers();
    assert_eq!(before.len(), 1, "the chaincode server");
    send(before[0], Signal::KILL);
    soon("its exit is reported", || daemon.run(&["status"]).0 == Some(1));
    let (_, text) = daemon.run(&["status"]);
    assert!(text.contains("! asset-transfer") && text.contains("signal: 9"), "{text}");

    let text = daemon.done(&["restart", "chaincode"]);
    assert!(text.contains(&format!("restarted asset-transfer; the package remains {package}")), "{text}");
    daemon.done(&["status"]);
    assert_ne!(daemon.servers(), before);
    daemon.done(&["restart", "peer0.org1.example.com"]);
    let client = daemon.client().await;
    assert!(daemon.exists(&client, "a1").await, "the ledger stays");
    let (code, text) = daemon.run(&["restart", "peer9"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no node peer9; the nodes are orderer.example.com, peer0"), "{text}");
    daemon.done(&["down"]);
    daemon.assert_nothing_left();
}

#[tokio::test]
async fn embedded_nodes_go_back_to_a_snapshot() {
    let daemon = Daemon::new();
    daemon.is_up(EMBEDDED);
    let client = daemon.client().await;
    daemon.create(&client, "a1").await;
    let (code, text) = daemon.run(&["restore"]);
    assert_eq!((code, text.contains("no snapshots; make one")), (Some(1), true), "{text}");
    daemon.done(&["snapshot", "one"]);
    daemon.create(&client, "a2").await;
    assert!(daemon.exists(&client, "a2").await);
    assert_eq!(daemon.done(&["restore", "one"]), "restored one\n");
    assert!(daemon.exists(&client, "a1").await && !daemon.exists(&client, "a2").await);
    let (code, text) = daemon.run(&["restore", "two"]);
    assert_eq!((code, text.contains("unknown snapshot two; the snapshots are one")), (Some(1), true), "{text}");
    daemon.done(&["down"]);
}

#[test]
fn logs_are_printed_and_followed() {
    let daemon = Daemon::new();
    daemon.is_up(EMBEDDED);
    let all = daemon.done(&["logs"]);
    for name in ["asset-transfer", "orderer.example.com", "peer0.org1.example.com"] {
        assert!(all.contains(&format!("==> {name}\n")), "{all}");
    }
    let server = daemon.done(&["logs", "chaincode"]);
    assert!(server.contains("listening on ") && !server.contains("==>"), "{server}");
    assert_eq!(daemon.done(&["logs", "asset-transfer", "-n", "1"]).lines().count(), 1);
    let (code, text) = daemon.run(&["logs", "peer9"]);
    assert_eq!((code, text.contains("unknown name peer9; there are logs of asset-")), (Some(1), true), "{text}");

    let mut following = daemon.command(&["logs", "-f", "-n", "1", "chaincode"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(following.stdout.take().unwrap()));
    // What there was; from here on it follows.
    lines.next().unwrap().unwrap();
    daemon.done(&["restart", "chaincode"]);
    assert!(lines.any(|line| line.unwrap().contains("listening on ")), "what came after is followed");
    daemon.done(&["down"]);
    assert!(following.wait().unwrap().success(), "it ends with the network");
}

#[tokio::test]
async fn the_files_are_whole_and_keys_are_their_owners_alone() {
    let daemon = Daemon::new();
    daemon.is_up(&[EMBEDDED, &["--topology", "duo"]].concat());
    let state = daemon.state();
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    let files = files(&state);
    let mut keys = 0;
    for (path, mode, bytes) in &files {
        if String::from_utf8_lossy(bytes).contains("PRIVATE KEY-----") {
            keys += 1;
            assert_eq!(*mode, 0o600, "{}", path.display());
        }
    }
    assert!(keys > 10, "{keys} keys");

    // Two organizations, each with an identity for every user.
    let text = |path: &str| fs::read_to_string(state.join(path)).unwrap();
    let msp = "organizations/peerOrganizations/org2.example.com/users/User1@org2.example.com/msp";
    let expected = serde_json::json!({
        "credentials": {
            "certificate": text(&format!("{msp}/signcerts/User1@org2.example.com-cert.pem")),
            "privateKey": text(&format!("{msp}/keystore/priv_sk")),
        },
        "mspId": "Org2MSP",
        "type": "X.509",
        "version": 1,
    });
    assert_eq!(daemon.json("wallet/User1@org2.example.com.id"), expected);

    let profile = daemon.json("connection-Org2.json");
    assert_eq!(profile["organizations"]["Org2"]["mspid"], "Org2MSP");
    let peers = profile["organizations"]["Org2"]["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 2);
    let nodes = daemon.json("network.json")["nodes"].clone();
    let node = nodes.as_array().unwrap().iter().find(|node| node["name"] == peers[0]).unwrap().clone();
    let peer = &profile["peers"][peers[0].as_str().unwrap()];
    assert_eq!(peer["url"], format!("grpcs://{}", node["address"].as_str().unwrap()));
    let ca = "organizations/peerOrganizations/org2.example.com/tlsca/tlsca.org2.example.com-cert.pem";
    assert_eq!(peer["tlsCACerts"]["pem"], text(ca));
    assert_eq!(profile["orderers"].as_object().unwrap().len(), 3);

    // Every path of an environment is there, and the server's files are those that it was given.
    for name in ["peer.env", "peer-Org2.env", "gateway.env", "gateway-Org2.env", "chaincode.env"] {
        for (variable, value) in daemon.environment(name) {
            let is_path = value.starts_with('/') && variable != "PATH" && variable != "PWD";
            assert!(!is_path || Path::new(&value).exists(), "{name}: {variable}={value}");
        }
    }
    assert_eq!(daemon.environment("peer-Org2.env")["CORE_PEER_LOCALMSPID"], "Org2MSP");
    assert_eq!(daemon.environment("peer.env")["ENDORSERS"].matches("--peerAddresses").count(), 2);
    let server = daemon.environment("chaincode.env");
    assert!(server["CHAINCODE_ID"].starts_with("asset-transfer_1.0:"), "{server:?}");
    assert!(server["CHAINCODE_TLS_KEY"].starts_with(state.to_str().unwrap()), "{server:?}");
    daemon.done(&["down"]);
}

#[tokio::test]
async fn a_node_or_server_that_is_stopped_by_request_is_shown_so_and_started_again() {
    let daemon = Daemon::new();
    daemon.is_up(EMBEDDED);
    daemon.create(&daemon.client().await, "a1").await;
    let member = |name: &str| {
        let status: Value = serde_json::from_str(&daemon.done(&["status", "--json"])).unwrap();
        let member = &status["members"][name];
        (member["alive"].as_bool().unwrap(), member["stopped"].as_bool().unwrap())
    };
    let peer = "peer0.org1.example.com";
    for (command, done) in [("stop", "stopped"), ("kill", "killed")] {
        let text = daemon.done(&[command, "peer0.org1"]);
        assert!(text.starts_with(&format!("{done} {peer}; the package remains asset-transfer_1.0:")), "{text}");
        assert_eq!((member(peer), member("orderer.example.com")), ((false, true), (true, false)));
        let text = daemon.done(&["status"]);
        assert!(text.contains("stopped by request") && !text.contains("exited"), "{text}");
        assert!(Node::connect(peer, &daemon.endpoint(peer), None).await.is_err(), "it listens");
        assert!(daemon.done(&["start", peer]).starts_with(&format!("started {peer}")));
        assert!(daemon.exists(&daemon.client().await, "a1").await);

        daemon.done(&[command, "chaincode"]);
        assert_eq!((member("asset-transfer"), daemon.servers().len()), ((false, true), 0));
        assert!(daemon.call(&daemon.client().await, "a1").await.is_err());
        daemon.done(&["start", "chaincode"]);
        assert_eq!(member("asset-transfer"), (true, false));
        assert!(daemon.exists(&daemon.client().await, "a1").await);
    }
    let (code, text) = daemon.run(&["stop", "peer9"]);
    assert!(code == Some(1) && text.contains("no node peer9; the nodes are orderer.example.com"), "{text}");
    daemon.done(&["stop", "orderer"]);
    daemon.done(&["down"]);
    daemon.assert_nothing_left();
}

#[test]
fn a_signal_or_a_crash_of_the_daemon_leaves_nothing() {
    for signal in [Signal::TERM, Signal::KILL] {
        let daemon = Daemon::new();
        daemon.is_up(EMBEDDED);
        assert_eq!(daemon.servers().len(), 1);
        send(daemon.process(), signal);
        daemon.assert_nothing_left();
        // The place is free for the next one.
        daemon.is_up(EMBEDDED);
        daemon.done(&["down"]);
    }
}

/// `up` with nodes that run and never answer.
fn up_for_ever(daemon: &Daemon, fake: &Fake) -> Child {
    let mut command = daemon.command(&["up", "--runtime", "process"]);
    command.arg("--fabric-bin").arg(fake.fabric()).arg("--builder").arg(fake.builder());
    command.arg("--chaincode").arg(fake.program("chaincode", LIVE));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    soon("two nodes, a chaincode server and a reaper run", || marked(&daemon.path("runs")).len() == 4);
    child
}

#[test]
fn an_up_that_is_ended_half_way_leaves_nothing() {
    let fake = Fake::new(LIVE, LIVE);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let daemon = Daemon::new();
        let mut up = up_for_ever(&daemon, &fake);
        let (code, text) = daemon.run(&["status"]);
        assert_eq!((code, text.contains("is not ready yet")), (Some(2), true), "{text}");
        send(up.id(), signal);
        let code = up.wait().unwrap().code();
        assert_eq!(code, if signal == Signal::KILL { None } else { Some(2) });
        daemon.assert_nothing_left();
    }
    let daemon = Daemon::new();
    let mut up = up_for_ever(&daemon, &fake);
    daemon.done(&["down"]);
    assert_eq!(up.wait().unwrap().code(), Some(2));
    daemon.assert_nothing_left();
}

#[test]
fn a_failed_up_reports_why_and_leaves_nothing() {
    let daemon = Daemon::new();
    let up = |arguments: &[&str]| code_and_text(&daemon.command(&[&["up"], arguments].concat()).output().unwrap());
    let builder = std::env::var("CCAAS_BUILDER").expect("CCAAS_BUILDER");
    let programs = ["--runtime", "embedded", "--builder", &builder, "--chaincode", "/bin/false"];
    let (code, text) = up(&programs);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("asset-transfer exited"), "{text}");
    daemon.assert_nothing_left();
    let (code, text) = up(&["--builder", "no-builder", "--chaincode", "/", "--topology", "trio"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--builder no-builder") && text.contains("--topology trio"), "{text}");
    assert!(!daemon.state().exists());

    fs::create_dir_all(daemon.state()).unwrap();
    fs::write(daemon.state().join("thesis"), "").unwrap();
    let (code, text) = up(&programs);
    assert_eq!((code, text.contains("not empty and not a network's state")), (Some(2), true), "{text}");
    daemon.done(&["down"]);
    assert!(daemon.state().join("thesis").exists());
}

/// A free port of the loopback.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The sample, started with the command of docs/up.md.
fn as_documented(daemon: &Daemon) -> Child {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/up.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Chaincode server in a debugger")).unwrap();
    let line = section.lines().find_map(|line| line.strip_prefix("$ . ")).unwrap();
    let sample = std::env::var("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE");
    let (state, server) = (daemon.state().display().to_string(), format!("exec {sample}"));
    let script = format!(". {}", line.replace("target/network", &state).replace("my-chaincode", &server));
    assert!(script.contains(&state) && script.contains(&sample), "{script}");
    Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The sample, started by hand with what was handed over.
fn by_hand(environment: &BTreeMap<String, String>) -> Child {
    let sample = std::env::var_os("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE");
    Command::new(sample).envs(environment).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_server_that_its_user_starts_keeps_its_package_when_it_is_restarted() {
    let daemon = Daemon::new();
    let address = format!("127.0.0.1:{}", free_port());
    let builder = std::env::var("CCAAS_BUILDER").expect("CCAAS_BUILDER");
    let mut command = daemon.command(&["up", "--builder", &builder, "--chaincode", &address]);
    let mut up = command.args(EMBEDDED).stdout(Stdio::null()).spawn().unwrap();
    // It waits for the server, and has written what the server needs.
    let variables = daemon.state().join("chaincode/asset-transfer/chaincode.env");
    soon("the server's variables are written", || variables.exists());
    let mut server = as_documented(&daemon);
    assert!(up.wait().unwrap().success());
    let client = daemon.client().await;
    daemon.create(&client, "a1").await;
    assert!(daemon.done(&["status"]).contains(&format!("yours, listens at {address}")));
    let (code, text) = daemon.run(&["restart", "chaincode"]);
    assert_eq!((code, text.contains("the chaincode server is yours")), (Some(1), true), "{text}");

    server.kill().unwrap();
    server.wait().unwrap();
    let (code, text) = daemon.run(&["status"]);
    assert_eq!((code, text.contains("yours, does not listen at ")), (Some(1), true), "{text}");
    // As a debugger starts it: with the file in the state directory.
    let mut server = by_hand(&daemon.environment("chaincode.env"));
    soon("it is back", || daemon.run(&["status"]).0 == Some(0));
    let late = deadline();
    while !daemon.call(&client, "a1").await.is_ok_and(|answer| answer == b"true") {
        assert!(tokio::time::Instant::now() < late, "the peer does not reach the new server");
    }
    daemon.done(&["down"]);
    let lives = server.try_wait().unwrap().is_none();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(lives, "it is not ours to end");
    daemon.assert_nothing_left();
}

/// Fabric's `peer`, with nothing but what `peer.env` sets.
fn peer(daemon: &Daemon, line: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = std::env::var("FABRIC_BIN").map_or(path.clone(), |directory| format!("{directory}:{path}"));
    let script = format!(". {}; exec {line}", daemon.state().join("peer.env").display());
    let output = Command::new("/bin/sh").args(["-c", &script]).env_clear().env("PATH", path).output().unwrap();
    let (code, text) = code_and_text(&output);
    assert_eq!(code, Some(0), "{line}: {text}");
    text
}

fn drive_by_the_peer_tool(daemon: &Daemon) {
    let info = peer(daemon, "peer channel getinfo -c $CHANNEL_NAME");
    assert!(info.contains("\"height\":"), "{info}");
    let invoke = "peer chaincode invoke -o $ORDERER_ADDRESS --tls --cafile $ORDERER_CA $ENDORSERS -C $CHANNEL_NAME \
         -n $CHAINCODE_NAME --waitForEvent -c '{\"Args\":[\"CreateAsset\",\"p1\",\"blue\",\"5\",\"Tom\",\"300\"]}'";
    let invoked = peer(daemon, invoke);
    assert!(invoked.contains("committed with status (VALID)"), "{invoked}");
    let query = "peer chaincode query -C $CHANNEL_NAME -n $CHAINCODE_NAME -c '{\"Args\":[\"ReadAsset\",\"p1\"]}'";
    let asset = peer(daemon, query);
    assert!(asset.contains("\"Owner\":\"Tom\""), "{asset}");
}

fn on_processes(arguments: &[&str]) -> Vec<String> {
    let fabric = std::env::var("FABRIC_BIN").map(|directory| ["--fabric-bin".to_owned(), directory]);
    let arguments = ["--runtime", "process"].iter().chain(arguments).map(|argument| (*argument).to_owned());
    arguments.chain(fabric.into_iter().flatten()).collect()
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_processes_stay_and_the_peer_tool_drives_them() {
    for topology in ["solo", "duo"] {
        let daemon = Daemon::new();
        let arguments = on_processes(&["--topology", topology]);
        daemon.is_up(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        drive_by_the_peer_tool(&daemon);
        let client = daemon.client().await;
        assert!(daemon.exists(&client, "p1").await);
        daemon.done(&["restart", "chaincode"]);
        daemon.done(&["restart", "peer0.org1.example.com"]);
        daemon.done(&["status"]);
        let client = daemon.client().await;
        assert!(daemon.exists(&client, "p1").await, "the ledger stays");
        let (code, text) = daemon.run(&["snapshot"]);
        assert_eq!((code, text.contains("snapshots need embedded nodes")), (Some(1), true), "{text}");
        daemon.done(&["down"]);
        daemon.assert_nothing_left();
    }
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_the_peer_tool_drives_embedded_nodes_that_stay() {
    let daemon = Daemon::new();
    daemon.is_up(&[EMBEDDED, &["--topology", "duo"]].concat());
    drive_by_the_peer_tool(&daemon);
    daemon.done(&["down"]);
    daemon.assert_nothing_left();
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_processes_end_with_a_daemon_that_is_killed() {
    let daemon = Daemon::new();
    let arguments = on_processes(&[]);
    daemon.is_up(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(daemon.servers().len(), 3);
    send(daemon.process(), Signal::KILL);
    daemon.assert_nothing_left();
}

/// In a thread, since it starts an asynchronous runtime of its own.
fn containers(daemon: &Daemon) -> Vec<String> {
    let runs = daemon.path("runs");
    std::thread::spawn(move || containers_below(&runs)).join().unwrap()
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_containers_stay_and_are_gone_with_their_daemon() {
    for killed in [false, true] {
        let daemon = Daemon::new();
        daemon.is_up(&["--runtime", "docker"]);
        let client = daemon.client().await;
        daemon.create(&client, "a1").await;
        daemon.done(&["restart", "chaincode"]);
        daemon.done(&["status"]);
        assert!(daemon.exists(&client, "a1").await);
        assert!(daemon.done(&["logs", "chaincode"]).contains("listening on "));
        assert!(!containers(&daemon).is_empty());
        if killed {
            send(daemon.process(), Signal::KILL);
        } else {
            daemon.done(&["down"]);
        }
        daemon.assert_nothing_left();
        assert_eq!(containers(&daemon), Vec::<String>::new());
    }
}
