//! Fabric's own command-line tools, unmodified, drive an embedded network from its first channel to a
//! query.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are the static programs; `cargo xtask test` builds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::{ChaincodeSpec, Running, Runtime, RuntimeOptions, ServerSource};
use fabric_network::node::NodeKind;
use fabric_network::release::Release;
use fabric_network::topology::Topology;

use crate::fake::place;

const PEER: &str = "peer0.org1.example.com";
const ORDERER: &str = "orderer.example.com";
const CHANNEL: &str = "mychannel";

fn program(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set")).into()
}

/// An embedded network whose files lie in a directory, as the tools want them.
struct Driven {
    running: Running,
    files: tempfile::TempDir,
    package: Vec<u8>,
}

impl Driven {
    async fn start() -> Self {
        let version = Command::new(tool("peer")).arg("version").output().unwrap().stdout;
        let is_3 = String::from_utf8_lossy(&version).contains("Version: v3.");
        let release = if is_3 { Release::V3_1 } else { Release::V2_5 };
        let options = RuntimeOptions::new(program("CCAAS_BUILDER"));
        let runtime = Runtime::Embedded(EmbeddedRuntime::new(options, release));
        let (placed, bundle) = place(&runtime, &Topology::solo()).await;
        let address = &placed.chaincodes["basic"];
        let connection = Connection { address: address.address.clone(), ..Connection::default() };
        let extra_files = BTreeMap::new();
        let content = package::Package { label: "basic_1.0".into(), kind: "ccaas".into(), connection, extra_files };
        let package = content.to_bytes().unwrap();
        let id = package_id("basic_1.0", &package);
        let environment = [("CHAINCODE_ID", &id), ("CHAINCODE_SERVER_ADDRESS", &address.listen)];
        let server = ChaincodeSpec {
            name: "basic".to_owned(),
            source: ServerSource::Program(program("CHAINCODE_SAMPLE")),
            environment: environment.map(|(name, value)| (name.to_owned(), value.clone())).into(),
            ..ChaincodeSpec::default()
        };
        let running = placed.start(&bundle, &[server]).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        bundle.write_to(files.path()).unwrap();
        std::fs::write(files.path().join("basic.tar.gz"), &package).unwrap();
        Self { running, files, package }
    }

    fn path(&self, relative: &str) -> String {
        self.files.path().join(relative).display().to_string()
    }

    fn address(&self, kind: NodeKind) -> String {
        let node = self.running.nodes().iter().find(|node| node.kind == kind).unwrap();
        node.grpc.uri.trim_start_matches("https://").to_owned()
    }

    /// Runs `peer` as the administrator of the peer's organization; what it says, on both streams.
    fn peer(&self, arguments: &[&str]) -> String {
        let organization = "organizations/peerOrganizations/org1.example.com";
        let mut command = Command::new(tool("peer"));
        command.args(arguments).current_dir(self.files.path());
        command.env("FABRIC_CFG_PATH", self.path(&format!("{organization}/peers/{PEER}")));
        command.env("CORE_PEER_TLS_ENABLED", "true").env("CORE_PEER_LOCALMSPID", "Org1MSP");
        command.env("CORE_PEER_MSPCONFIGPATH", self.path(&format!("{organization}/users/Admin@org1.example.com/msp")));
        command.env("CORE_PEER_ADDRESS", self.address(NodeKind::Peer));
        command.env("CORE_PEER_TLS_SERVERHOSTOVERRIDE", PEER);
        command.env(
            "CORE_PEER_TLS_ROOTCERT_FILE",
            self.path(&format!("{organization}/tlsca/tlsca.org1.example.com-cert.pem")),
        );
        said(&mut command)
    }

    /// The same, with the orderer's address.
    fn peer_and_orderer(&self, arguments: &[&str]) -> String {
        let authority = self.path("organizations/ordererOrganizations/example.com/tlsca/tlsca.example.com-cert.pem");
        let orderer = self.address(NodeKind::Orderer);
        let of_orderer = ["-o", &orderer, "--ordererTLSHostnameOverride", ORDERER, "--tls", "--cafile", &authority];
        self.peer(&[arguments, &of_orderer[..]].concat())
    }

    fn osnadmin(&self, arguments: &[&str]) -> String {
        let organization = "organizations/ordererOrganizations/example.com";
        let admin = self.path(&format!("{organization}/users/Admin@example.com/tls"));
        let orderer = self.running.nodes().iter().find(|node| node.kind == NodeKind::Orderer).unwrap();
        let address = orderer.admin.as_ref().unwrap().uri.trim_start_matches("https://").to_owned();
        let mut command = Command::new(tool("osnadmin"));
        command.arg("channel").args(arguments).args(["-o", &address]);
        command.args(["--ca-file", &self.path(&format!("{organization}/tlsca/tlsca.example.com-cert.pem"))]);
        command.args(["--client-cert", &format!("{admin}/client.crt"), "--client-key", &format!("{admin}/client.key")]);
        said(&mut command)
    }
}

/// One of Fabric's programs, of `FABRIC_BIN` or PATH.
fn tool(name: &str) -> PathBuf {
    std::env::var_os("FABRIC_BIN").map_or_else(|| PathBuf::from(name), |directory| Path::new(&directory).join(name))
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

#[track_caller]
fn assert_says(text: &str, expected: &str) {
    assert!(text.contains(expected), "no {expected} in:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's programs: FABRIC_BIN or PATH"]
async fn needs_release_fabrics_own_tools_drive_an_embedded_network() {
    let driven = Driven::start().await;
    let genesis = driven.path("channels/mychannel.block");
    let joined = driven.osnadmin(&["join", "--channelID", CHANNEL, "--config-block", &genesis]);
    assert_says(&joined, "Status: 201");
    assert_says(&joined, "\"consensusRelation\": \"consenter\"");
    let again = driven.osnadmin(&["join", "--channelID", CHANNEL, "--config-block", &genesis]);
    assert_says(&again, "cannot join: channel already exists");
    assert_says(&driven.osnadmin(&["list"]), "\"name\": \"mychannel\"");
    assert_says(&driven.osnadmin(&["list", "--channelID", CHANNEL]), "\"height\": 1");

    assert_says(&driven.peer(&["channel", "join", "-b", &genesis]), "Successfully submitted proposal to join channel");
    assert_says(&driven.peer(&["channel", "list"]), CHANNEL);
    let id = package_id("basic_1.0", &driven.package);
    let lifecycle = |arguments: &[&str]| driven.peer(&[&["lifecycle", "chaincode"], arguments].concat());
    assert_says(&lifecycle(&["install", &driven.path("basic.tar.gz")]), &id);
    assert_says(&lifecycle(&["queryinstalled"]), &format!("Package ID: {id}, Label: basic_1.0"));
    let definition = ["-C", CHANNEL, "-n", "basic", "-v", "1.0", "--sequence", "1"];
    let approve = ["lifecycle", "chaincode", "approveformyorg", "--package-id", &id];
    driven.peer_and_orderer(&[&approve, &definition[..]].concat());
    assert_says(&lifecycle(&[&["checkcommitreadiness"], &definition[..]].concat()), "Org1MSP: true");
    driven.peer_and_orderer(&[&["lifecycle", "chaincode", "commit"], &definition[..]].concat());
    assert_says(&lifecycle(&["querycommitted", "-C", CHANNEL]), "Name: basic, Version: 1.0, Sequence: 1");

    let call = |arguments: &str| ["-C", CHANNEL, "-n", "basic", "-c", arguments].map(str::to_owned);
    let init = call(r#"{"Args":["InitLedger"]}"#);
    let init: Vec<&str> = init.iter().map(String::as_str).collect();
    let invoked = driven.peer_and_orderer(&[&["chaincode", "invoke", "--waitForEvent"], &init[..]].concat());
    assert_says(&invoked, "committed with status (VALID)");
    let read = call(r#"{"Args":["ReadAsset","asset1"]}"#);
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    assert_says(&driven.peer(&[&["chaincode", "query"], &read[..]].concat()), "\"ID\":\"asset1\"");

    assert_says(&driven.peer(&["channel", "getinfo", "-c", CHANNEL]), "\"height\":4");
    for wanted in ["newest", "config", "2"] {
        let block = driven.path("fetched.block");
        driven.peer_and_orderer(&["channel", "fetch", wanted, &block, "-c", CHANNEL]);
        driven.peer(&["channel", "fetch", wanted, &block, "-c", CHANNEL]);
        assert!(std::fs::metadata(&block).unwrap().len() > 1000);
    }
    driven.running.stop().await.unwrap();
}
