//! The external builder inside real peers: what they store, what their clients see, what their
//! logs show; and what is left of an interrupted build, and after a restart.
//!
//! `CCAAS_BUILDER` is a program that `cargo xtask test` builds. `tar` makes packages as people
//! do by hand.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fabric_harness::client::{ClientError, Installation, Node, PeerClient, Signer};
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{Running, RuntimeOptions};
use fabric_network::bundle::{Bundle, File};
use fabric_network::topology::{NodeKind, Topology};
use tokio::time::Instant;

use crate::fake::{PATIENCE, place};

const PEER: &str = "peer0.org1.example.com";
const INDEX: &str = r#"{"index":{"fields":["owner"]},"type":"json"}"#;

/// A network whose peer has templates' values and a configuration file for its builder.
struct Network {
    running: Running,
    peer: PeerClient,
}

async fn start() -> Network {
    let builder = std::env::var("CCAAS_BUILDER").expect("CCAAS_BUILDER is set");
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    let found = ProcessRuntime::find(RuntimeOptions::new(builder), directory.as_deref()).await;
    let (placed, mut bundle) = place(&found.unwrap(), &Topology::solo()).await;
    configure(&mut bundle);
    let running = placed.start(&bundle, &[]).await.unwrap();
    let admin = &bundle.identities.peer_organizations[0].admin;
    let signer = Signer::new(&admin.msp_id, &admin.certificate_pem, admin.private_key_pem.as_pem()).unwrap();
    let node = running.nodes().iter().find(|node| node.name == PEER).unwrap();
    let node = Node::connect(PEER, &node.grpc, None).await.unwrap();
    Network { peer: PeerClient::new(node, Arc::new(signer)), running }
}

fn configure(bundle: &mut Bundle) {
    let node = bundle.nodes.iter_mut().find(|node| node.kind == NodeKind::Peer).unwrap();
    let settings = node.placement.config_dir.join("builder.json");
    let mut set = |name: &str, value: String| node.environment.insert(name.to_owned(), value);
    set("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG", r#"{"host":"templated.example.com"}"#.to_owned());
    set("CORE_PEER_CC_BUILDER_CONFIG", settings.display().to_string());
    let settings = format!(
        r#"{{"labels":{{"configured_*":{{"address":"by-label:1"}}}},
             "peers":{{"{PEER}":{{"labels":{{"configured_2.0":{{"address":"by-peer:2","dial_timeout":"9s"}}}}}}}}}}"#
    );
    bundle.files.insert(node.directory.join("builder.json"), File::public(settings));
}

impl Network {
    /// The package ID, or the client's error.
    async fn install(&self, package: &[u8]) -> Result<String, String> {
        let deadline = Instant::now() + Duration::from_mins(1);
        match self.peer.install(package, deadline).await {
            Ok(Installation::Installed { package_id }) => Ok(package_id),
            Ok(Installation::AlreadyInstalled { package_id }) => Err(format!("{package_id} is installed already")),
            Err(ClientError::Rejected { message, .. }) => Err(message),
            Err(other) => panic!("{other}"),
        }
    }

    /// One of the builder's programs.
    fn program(&self, name: &str) -> PathBuf {
        self.running.directory().join("builder/bin").join(name)
    }

    fn builds(&self) -> PathBuf {
        self.running.directory().join("nodes").join(PEER).join("data/externalbuilder/builds")
    }

    /// Every file that the peer keeps of a build, by path and mode.
    fn stored(&self, package_id: &str) -> BTreeMap<String, String> {
        let root = self.builds().join(package_id.replace(':', "-"));
        let mut files = BTreeMap::new();
        let mut pending = vec![root.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                let name = format!("{} {mode:o}", path.strip_prefix(&root).unwrap().display());
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
        files
    }

    /// The connection.json that the peer will read.
    fn connection(&self, package_id: &str) -> serde_json::Value {
        let root = self.builds().join(package_id.replace(':', "-"));
        serde_json::from_slice(&fs::read(root.join("release/chaincode/server/connection.json")).unwrap()).unwrap()
    }

    async fn log(&self) -> String {
        self.running.logs().await.remove(PEER).unwrap()
    }
}

/// A package by hand: files for code.tar.gz, and the order of what is in the package.
pub(crate) struct ByHand<'a> {
    pub(crate) kind: &'a str,
    pub(crate) label: &'a str,
    pub(crate) connection: &'a str,
    pub(crate) index: Option<&'a str>,
    pub(crate) order: &'a [&'a str],
}

impl ByHand<'_> {
    pub(crate) fn new<'a>(label: &'a str, connection: &'a str) -> ByHand<'a> {
        ByHand { kind: "ccaas", label, connection, index: None, order: &["metadata.json", "code.tar.gz"] }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (outer, code) = (directory.path().join("outer"), directory.path().join("code"));
        let indexes = code.join("META-INF/statedb/couchdb/indexes");
        fs::create_dir_all(&outer).unwrap();
        fs::create_dir_all(&code).unwrap();
        fs::write(code.join("connection.json"), self.connection).unwrap();
        if let Some(path) = self.index {
            let path = indexes.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, INDEX).unwrap();
        }
        fs::write(outer.join("code.tar.gz"), tar(&code, &["."])).unwrap();
        let metadata = format!(r#"{{"path":"","type":"{}","label":"{}"}}"#, self.kind, self.label);
        fs::write(outer.join("metadata.json"), metadata).unwrap();
        fs::write(outer.join("README"), "peers pass this over").unwrap();
        tar(&outer, self.order)
    }
}

fn tar(directory: &Path, entries: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    let output = command.args(["-czf", "-", "-C"]).arg(directory).args(entries).stderr(Stdio::inherit()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "tar {entries:?}");
    output.stdout
}

const PLAIN: &str = r#"{"address":"mycc.example.com:9999","dial_timeout":"10s","tls_required":false}"#;
const BUILT: &str =
    r#"{"address":"mycc.example.com:9999","client_auth_required":false,"dial_timeout":"10s","tls_required":false}"#;

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_peer_stores_what_the_builder_made() {
    let network = start().await;

    let indexed = ByHand { index: Some("owner.json"), ..ByHand::new("indexed_1.0", PLAIN) };
    let package = indexed.bytes();
    let id = network.install(&package).await.unwrap();
    let stored = network.stored(&id);
    let names: Vec<&str> = stored.keys().map(String::as_str).collect();
    let expected = [
        "bld/META-INF/statedb/couchdb/indexes/owner.json 644",
        "bld/connection.json 644",
        "bld/metadata.json 644",
        "build-info.json 600",
        "release/chaincode/server/connection.json 644",
        "release/statedb/couchdb/indexes/owner.json 644",
    ];
    assert_eq!(names, expected);
    assert_eq!(stored["release/chaincode/server/connection.json 644"], BUILT);
    assert_eq!(stored["release/statedb/couchdb/indexes/owner.json 644"], INDEX);
    assert_eq!(stored["build-info.json 600"], r#"{"builder_name":"ccaas_builder"}"#);
    assert_eq!(network.install(&package).await.unwrap_err(), format!("{id} is installed already"));

    let templated = ByHand::new("templated_1.0", r#"{"address":"{{.host}}:9999","tls_required":"false"}"#);
    let id = network.install(&templated.bytes()).await.unwrap();
    assert_eq!(network.connection(&id)["address"], "templated.example.com:9999");
    assert_eq!(network.connection(&id)["tls_required"], false);

    let odd = ByHand {
        order: &["code.tar.gz", "README", "metadata.json"],
        kind: "External",
        ..ByHand::new("odd_1.0", PLAIN)
    };
    let id = network.install(&odd.bytes()).await.unwrap();
    assert_eq!(network.stored(&id)["release/chaincode/server/connection.json 644"], BUILT);

    for (label, address) in [("configured_1.0", "by-label:1"), ("configured_2.0", "by-peer:2")] {
        let id = network.install(&ByHand::new(label, PLAIN).bytes()).await.unwrap();
        assert_eq!(network.connection(&id)["address"], address);
    }

    let ca = pem_of_the_peer(&network, "tls/ca.crt");
    let mutual = serde_json::json!({"address": "127.0.0.1:9999", "tls_required": "true",
        "client_auth_required": "true", "root_cert": ca});
    let id = network.install(&ByHand::new("mutual_1.0", &mutual.to_string()).bytes()).await.unwrap();
    let connection = network.connection(&id);
    assert_eq!(connection["client_key"], pem_of_the_peer(&network, "chaincode/client.key"));
    assert_eq!(connection["client_cert"], pem_of_the_peer(&network, "chaincode/client.crt"));
    assert!(network.stored(&id).contains_key("release/chaincode/server/connection.json 600"), "its mode is kept");

    let log = network.log().await;
    let line = "build: mutual_1.0 connects to 127.0.0.1:9999 with mutual TLS, dial timeout 3s, no CouchDB index files";
    assert!(log.contains(line), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "a key is in the log");
    network.running.stop().await.unwrap();
}

fn pem_of_the_peer(network: &Network, path: &str) -> String {
    fs::read_to_string(network.running.directory().join("nodes").join(PEER).join(path)).unwrap()
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_the_client_sees_the_refusal_and_the_log_its_reason() {
    let network = start().await;
    for (label, kind, connection, client_error, log_says) in [
        (
            "port_1.0",
            "ccaas",
            r#"{"address":"mycc"}"#,
            "external builder 'ccaas_builder' failed: exit status 5",
            r#"error: connection.json: address: found "mycc", expected host:port with a port"#,
        ),
        (
            "key_1.0",
            "ccaas",
            r#"{"address":"{{.hots}}:1"}"#,
            "failed: exit status 5",
            r#"address: found a template with the key "hots""#,
        ),
        ("json_1.0", "external", "{", "failed: exit status 5", "connection.json: found invalid JSON"),
        (
            "go_1.0",
            "golang",
            PLAIN,
            "docker build is disabled",
            r#"unsupported type "golang"; this builder supports ccaas, external"#,
        ),
    ] {
        let package = ByHand { kind, ..ByHand::new(label, connection) }.bytes();
        let error = network.install(&package).await.unwrap_err();
        assert!(error.contains(client_error), "{label}: {error}");
        let log = network.log().await;
        assert!(log.contains(log_says), "{label}: {log_says:?} is not in\n{log}");
    }
    assert_eq!(fs::read_dir(network.builds()).unwrap().count(), 0, "nothing is stored");
    network.running.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_failed_release_is_reported_and_a_missing_detect_is_not() {
    let network = start().await;
    let (build, detect) = (network.program("build"), network.program("detect"));
    let kept = build.with_file_name("kept");
    fs::rename(&build, &kept).unwrap();
    // As of a builder that does not know what a peer reads.
    script(&build, "echo '{\"address\":\"a:1\",\"tls_required\":\"true\"}' > \"$3/connection.json\"");
    let package = ByHand::new("foreign_1.0", PLAIN).bytes();
    let error = network.install(&package).await.unwrap_err();
    assert!(error.contains("builder 'ccaas_builder' release failed: exit status 5"), "{error}");
    let log = network.log().await;
    assert!(log.contains("error: connection.json: found a tls_required that is not true or"), "{log}");
    assert_eq!(fs::read_dir(network.builds()).unwrap().count(), 0, "nothing is stored");

    fs::rename(&kept, &build).unwrap();
    fs::rename(&detect, &kept).unwrap();
    let error = network.install(&package).await.unwrap_err();
    assert!(error.contains("docker build is disabled"), "{error}");
    fs::rename(&kept, &detect).unwrap();
    network.install(&package).await.unwrap();
    network.running.stop().await.unwrap();
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_killed_build_leaves_nothing_and_the_next_one_is_whole() {
    let network = start().await;
    let build = network.program("build");
    let kept = build.with_file_name("kept");
    fs::rename(&build, &kept).unwrap();
    // What a build has begun when it is killed.
    let begun = "mkdir \"$3/.ccaas-builder.partial-META-INF\"\n\
                 echo half > \"$3/.ccaas-builder.partial-connection.json\"\nkill -9 $$";
    script(&build, begun);
    let package = ByHand::new("killed_1.0", PLAIN).bytes();
    let error = network.install(&package).await.unwrap_err();
    assert!(error.contains("external builder 'ccaas_builder' failed: signal: killed"), "{error}");
    assert_eq!(fs::read_dir(network.builds()).unwrap().count(), 0, "nothing is stored");

    fs::rename(&kept, &build).unwrap();
    let id = network.install(&package).await.unwrap();
    let stored = network.stored(&id);
    assert_eq!(stored["release/chaincode/server/connection.json 644"], BUILT);
    assert!(!stored.keys().any(|name| name.contains("partial")), "{stored:?}");
    network.running.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_build_outlives_its_peer() {
    let network = start().await;
    let package = ByHand::new("kept_1.0", PLAIN).bytes();
    let id = network.install(&package).await.unwrap();
    let before = network.stored(&id);
    assert_eq!(before["release/chaincode/server/connection.json 644"], BUILT);
    let built = || async { network.log().await.matches("build: kept_1.0 connects to").count() };
    assert_eq!(built().await, 1);

    network.running.restart(PEER).await.unwrap();
    let installed = network.peer.query_installed(Instant::now() + PATIENCE).await.unwrap();
    assert!(installed.iter().any(|package| package.package_id == id), "{installed:?}");
    assert_eq!(network.stored(&id), before);
    let error = network.install(&package).await.unwrap_err();
    assert_eq!(error, format!("{id} is installed already"));
    assert_eq!(built().await, 1, "the builder was run again");
    assert!(network.running.exits().await.is_empty());
    network.running.stop().await.unwrap();
}
