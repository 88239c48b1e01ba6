//! Fabric's `peer` and `osnadmin`, unmodified, drive the embedded network.

use std::path::{Path, PathBuf};
use std::process::Command;

use fabric_network::release::Release;
use serde_json::Value;

use super::{Interop, conformance, output, sample, text};

const CHANNEL: &str = "mychannel";
const ORDERERS: [&str; 3] = ["orderer1.example.com", "orderer2.example.com", "orderer3.example.com"];
const PEERS: [(&str, &str); 2] = [("org1.example.com", "Org1MSP"), ("org2.example.com", "Org2MSP")];

fn fabric(name: &str) -> PathBuf {
    std::env::var("FABRIC_BIN").map_or_else(|_| PathBuf::from(name), |directory| Path::new(&directory).join(name))
}

/// The tools of one organization's administrator or user.
struct Tool<'a> {
    network: &'a Interop,
    organization: usize,
    peer: &'a str,
    user: &'a str,
}

impl<'a> Tool<'a> {
    fn admin(network: &'a Interop, organization: usize) -> Self {
        Self { network, organization, peer: "peer0", user: "Admin" }
    }

    fn tls_root(&self, organization: usize) -> String {
        let domain = PEERS[organization].0;
        let path = format!("organizations/peerOrganizations/{domain}/peers/peer0.{domain}/tls/ca.crt");
        self.network.file(&path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (domain, msp_id) = PEERS[self.organization];
        let own = format!("organizations/peerOrganizations/{domain}");
        let mut command = Command::new(fabric("peer"));
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
        let peer = format!("{}.{domain}", self.peer);
        command.env("FABRIC_CFG_PATH", self.network.file(&format!("{own}/peers/{peer}")));
        command.env("CORE_PEER_LOCALMSPID", msp_id);
        command.env("CORE_PEER_MSPCONFIGPATH", self.network.file(&format!("{own}/users/{}@{domain}/msp", self.user)));
        command.env("CORE_PEER_ADDRESS", self.network.address(&peer));
        command.env("CORE_PEER_TLS_ENABLED", "true");
        command.env("CORE_PEER_TLS_ROOTCERT_FILE", self.tls_root(self.organization));
        command.current_dir(self.network.scratch());
        command
    }

    async fn run(&self, arguments: &[&str]) -> String {
        text(&output(self.command(arguments)).await, true)
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        text(&output(self.command(arguments)).await, false)
    }

    /// The JSON that a command prints.
    async fn json(&self, arguments: &[&str]) -> Value {
        let printed = output(self.command(arguments)).await;
        text(&printed, true);
        serde_json::from_slice(&printed.stdout).unwrap()
    }

    /// With the arguments by which a command reaches the orderer.
    async fn ordered(&self, arguments: &[&str]) -> String {
        let address = self.network.address(ORDERERS[0]);
        let ca = orderer_root(self.network);
        self.run(&[arguments, &["-o", &address, "--tls", "--cafile", &ca]].concat()).await
    }

    /// With the arguments by which a command reaches a peer of each organization.
    async fn everywhere(&self, arguments: &[&str]) -> String {
        let addresses = PEERS.map(|(domain, _)| self.network.address(&format!("peer0.{domain}")));
        let roots = [self.tls_root(0), self.tls_root(1)];
        let mut all = arguments.to_vec();
        for (address, root) in addresses.iter().zip(&roots) {
            all.extend(["--peerAddresses", address, "--tlsRootCertFiles", root]);
        }
        self.ordered(&all).await
    }
}

fn orderer_root(network: &Interop) -> String {
    network.file("organizations/ordererOrganizations/example.com/orderers/orderer1.example.com/tls/ca.crt")
}

async fn osnadmin(network: &Interop, orderer: &str, arguments: &[&str]) -> String {
    let client = "organizations/ordererOrganizations/example.com/users/Admin@example.com/tls";
    let mut command = Command::new(fabric("osnadmin"));
    command.arg("channel").args(arguments).args(["-o", &network.admin(orderer)]);
    command.args(["--ca-file", &orderer_root(network)]);
    command.args(["--client-cert", &network.file(&format!("{client}/client.crt"))]);
    command.args(["--client-key", &network.file(&format!("{client}/client.key"))]);
    text(&output(command).await, true)
}

pub(super) async fn join(network: &Interop) {
    let block = network.file("channels/mychannel.block");
    for orderer in ORDERERS {
        let joined = osnadmin(network, orderer, &["join", "--channelID", CHANNEL, "--config-block", &block]).await;
        assert!(joined.contains("Status: 201"), "{joined}");
        let again = osnadmin(network, orderer, &["join", "--channelID", CHANNEL, "--config-block", &block]).await;
        assert!(again.contains("cannot join: channel already exists"), "{again}");
        assert!(osnadmin(network, orderer, &["list"]).await.contains("\"name\": \"mychannel\""));
        let listed = osnadmin(network, orderer, &["list", "--channelID", CHANNEL]).await;
        assert!(listed.contains("Status: 200") && listed.contains("\"consensusRelation\": \"consenter\""), "{listed}");
    }
    for organization in 0..PEERS.len() {
        let tool = Tool::admin(network, organization);
        let joined = tool.run(&["channel", "join", "-b", &block]).await;
        assert!(joined.contains("Successfully submitted proposal to join channel"), "{joined}");
        let listed = tool.run(&["channel", "list"]).await;
        assert!(listed.starts_with("Channels peers has joined: \nmychannel\n"), "{listed}");
        let again = tool.fails(&["channel", "join", "-b", &block]).await;
        assert!(again.contains("ledger [mychannel] already exists with state [ACTIVE]"), "{again}");
    }
}

pub(super) async fn deploy(network: &Interop) {
    deploy_with(network, &[]).await;
}

async fn deploy_with(network: &Interop, further: &[&str]) {
    let package = network.package().display().to_string();
    let definition = ["--channelID", CHANNEL, "--name", "basic", "--version", "1.0", "--sequence", "1"];
    let definition = [&definition[..], further].concat();
    for organization in 0..PEERS.len() {
        let tool = Tool::admin(network, organization);
        let installed = tool.run(&["lifecycle", "chaincode", "install", &package]).await;
        assert!(
            installed.contains(&format!("Chaincode code package identifier: {}", network.package_id)),
            "{installed}"
        );
        let again = tool.fails(&["lifecycle", "chaincode", "install", &package]).await;
        assert!(again.contains("chaincode already successfully installed (package ID 'basic_1.0:"), "{again}");
        let queried = tool.json(&["lifecycle", "chaincode", "queryinstalled", "-O", "json"]).await;
        assert_eq!(queried["installed_chaincodes"][0]["package_id"], network.package_id.as_str());
        let approve = ["lifecycle", "chaincode", "approveformyorg", "--package-id", &network.package_id];
        let approved = tool.ordered(&[&approve[..], &definition].concat()).await;
        assert!(approved.contains("committed with status (VALID)"), "{approved}");
        let check = ["lifecycle", "chaincode", "checkcommitreadiness", "-O", "json"];
        let ready = tool.json(&[&check[..], &definition].concat()).await;
        let expected = serde_json::json!({"Org1MSP": true, "Org2MSP": organization == 1});
        assert_eq!(ready["approvals"], expected);
    }
    let tool = Tool::admin(network, 0);
    let committed = tool.everywhere(&[&["lifecycle", "chaincode", "commit"][..], &definition].concat()).await;
    assert_eq!(committed.matches("committed with status (VALID)").count(), 2, "{committed}");
    let query = ["lifecycle", "chaincode", "querycommitted", "-C", CHANNEL, "--name", "basic", "-O", "json"];
    let committed = tool.json(&query).await;
    assert_eq!(committed["approvals"], serde_json::json!({"Org1MSP": true, "Org2MSP": true}));
    assert_eq!(committed["sequence"], 1);
    let approved =
        tool.json(&["lifecycle", "chaincode", "queryapproved", "-C", CHANNEL, "-n", "basic", "-O", "json"]).await;
    assert_eq!(approved["source"]["Type"]["LocalPackage"]["package_id"], network.package_id.as_str());
}

async fn transact(network: &Interop) {
    let user = Tool { network, organization: 0, peer: "peer0", user: "User1" };
    let create = r#"{"Args":["CreateAsset","peer1","blue","5","Tomoko","300"]}"#;
    let invoke = ["chaincode", "invoke", "-C", CHANNEL, "-n", "basic", "--waitForEvent", "-c"];
    let invoked = user.everywhere(&[&invoke[..], &[create]].concat()).await;
    assert!(invoked.contains("Chaincode invoke successful. result: status:200"), "{invoked}");
    assert_eq!(invoked.matches("committed with status (VALID)").count(), 2, "{invoked}");
    let read = r#"{"Args":["ReadAsset","peer1"]}"#;
    for organization in 0..PEERS.len() {
        let user = Tool { network, organization, peer: "peer0", user: "User1" };
        let asset = user.json(&["chaincode", "query", "-C", CHANNEL, "-n", "basic", "-c", read]).await;
        assert_eq!(asset["Owner"], "Tomoko");
    }
    let missing = r#"{"Args":["ReadAsset","nothing"]}"#;
    let failed = user.fails(&["chaincode", "query", "-C", CHANNEL, "-n", "basic", "-c", missing]).await;
    assert!(failed.contains("endorsement failure during query. response: status:500"), "{failed}");
    let unknown = user.fails(&["chaincode", "query", "-C", CHANNEL, "-n", "other", "-c", read]).await;
    assert!(
        unknown.contains("make sure the chaincode other has been successfully defined on channel mychannel and try again: chaincode other not found"),
        "{unknown}"
    );
    let refused = user.fails(&["lifecycle", "chaincode", "queryinstalled"]).await;
    assert!(refused.contains("The identity is not an admin under this MSP [Org1MSP]"), "{refused}");
}

/// The output of `getinfo` for a peer's ledger.
async fn info(tool: &Tool<'_>) -> Value {
    let info = tool.run(&["channel", "getinfo", "-c", CHANNEL]).await;
    serde_json::from_str(info.split_once("Blockchain info: ").unwrap().1.lines().next().unwrap()).unwrap()
}

async fn look_at_blocks(network: &Interop) {
    let tool = Tool::admin(network, 0);
    // The genesis block, two approvals, the commit, one transaction.
    assert_eq!(info(&tool).await["height"], 5);
    for (from, block) in [("newest", "4"), ("oldest", "0"), ("config", "0"), ("3", "3")] {
        let file = network.scratch().join(format!("{from}.block"));
        let path = file.display().to_string();
        let fetched = tool.ordered(&["channel", "fetch", from, &path, "-c", CHANNEL]).await;
        assert!(fetched.contains(&format!("Received block: {block}")), "{fetched}");
        let by_orderer = std::fs::read(&file).unwrap();
        tool.run(&["channel", "fetch", from, &path, "-c", CHANNEL]).await;
        assert!(!by_orderer.is_empty() && !std::fs::read(&file).unwrap().is_empty());
    }
}

/// What embedded nodes lack, and report as unsupported.
async fn ask_for_what_is_not_there(network: &Interop, release: Release) {
    let (admin, address, root) =
        (Tool::admin(network, 0), network.address("peer0.org1.example.com"), Tool::admin(network, 0).tls_root(0));
    let snapshot = ["snapshot", "listpending", "-c", CHANNEL, "--peerAddress", &address, "--tlsRootCertFile", &root];
    let pending = admin.run(&snapshot).await;
    assert!(pending.contains("Successfully got pending snapshot requests: []"), "{pending}");
    let snapshot = [&["snapshot", "submitrequest", "-b", "0"], &snapshot[2..]].concat();
    let refused = admin.fails(&snapshot).await;
    assert!(refused.contains("this peer keeps its ledgers in memory and makes no snapshots of them"), "{refused}");
    // The old lifecycle, which 3.1 has no more.
    let ask = |question: &str| format!("{{\"Args\":{question}}}");
    let [list, find] = [ask("[\"GetChaincodes\"]"), ask("[\"getid\",\"mychannel\",\"basic\"]")];
    let query = |question| ["chaincode", "query", "-C", CHANNEL, "-n", "lscc", "-c", question];
    if release == Release::V2_5 {
        admin.run(&query(&list)).await;
        let missing = admin.fails(&query(&find)).await;
        assert!(missing.contains("could not find chaincode with name 'basic'"), "{missing}");
    } else {
        let refused = admin.fails(&query(&list)).await;
        assert!(refused.contains("could not get legacy chaincode package 'lscc.syscc'"), "{refused}");
    }
}

/// What Fabric's `discover` prints, as a client without a certificate of its own for TLS.
async fn discover(network: &Interop, arguments: &[&str]) -> Value {
    let own = "organizations/peerOrganizations/org1.example.com";
    let msp = format!("{own}/users/Admin@org1.example.com/msp");
    let mut command = Command::new(fabric("discover"));
    command.args(["--peerTLSCA", &Tool::admin(network, 0).tls_root(0), "--MSP", "Org1MSP"]);
    command.args(["--userKey", &network.file(&format!("{msp}/keystore/priv_sk"))]);
    command.args(["--userCert", &network.file(&format!("{msp}/signcerts/Admin@org1.example.com-cert.pem"))]);
    command.args(arguments).args(["--server", &network.address("peer0.org1.example.com")]);
    let printed = output(command).await;
    text(&printed, true);
    serde_json::from_slice(&printed.stdout).unwrap()
}

/// The values of a field, in order.
fn sorted(list: &Value, field: &str) -> Vec<String> {
    let values = list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap().to_owned());
    let mut values: Vec<String> = values.collect();
    values.sort();
    values
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's peer, osnadmin and discover: FABRIC_BIN or PATH"]
async fn needs_discover_the_discover_tool_finds_peers_configuration_and_endorsers() {
    let network = Interop::start(Release::V3_1, sample, false).await;
    join(&network).await;
    deploy(&network).await;
    let all = discover(&network, &["peers"]).await;
    assert_eq!(sorted(&all, "MSPID"), ["Org1MSP", "Org1MSP", "Org2MSP", "Org2MSP"]);
    let peers = discover(&network, &["peers", "--channel", CHANNEL]).await;
    let mut addresses = PEERS.map(|(domain, _)| network.address(&format!("peer0.{domain}")));
    addresses.sort();
    assert_eq!(sorted(&peers, "Endpoint"), addresses);
    for peer in peers.as_array().unwrap() {
        assert_eq!(peer["LedgerHeight"], 4, "{peer}");
        assert_eq!(peer["Chaincodes"], serde_json::json!(["_lifecycle", "basic"]));
    }
    let config = discover(&network, &["config", "--channel", CHANNEL]).await;
    let msps: Vec<&String> = config["msps"].as_object().unwrap().keys().collect();
    assert_eq!(msps, ["OrdererMSP", "Org1MSP", "Org2MSP"]);
    assert_eq!(config["orderers"]["OrdererMSP"]["endpoint"].as_array().unwrap().len(), ORDERERS.len());
    let endorsers = discover(&network, &["endorsers", "--channel", CHANNEL, "--chaincode", "basic"]).await;
    let layouts = endorsers[0]["Layouts"].as_array().unwrap();
    assert_eq!(layouts.len(), 1, "{endorsers}");
    assert_eq!(layouts[0]["quantities_by_group"], serde_json::json!({"G0": 1, "G1": 1}));
    let groups = endorsers[0]["EndorsersByGroups"].as_object().unwrap();
    let mut endpoints: Vec<String> = groups.values().flat_map(|group| sorted(group, "Endpoint")).collect();
    endpoints.sort();
    assert_eq!(endpoints, addresses);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's peer and osnadmin: FABRIC_BIN or PATH"]
async fn needs_release_private_data_needs_its_peers_and_reaches_those_that_join_later() {
    let network = Interop::start(Release::V3_1, conformance, false).await;
    join(&network).await;
    let collection = |name: &str, required: u32| {
        let policy = "OR('Org1MSP.member','Org2MSP.member')";
        serde_json::json!({"name": name, "policy": policy, "requiredPeerCount": required, "maxPeerCount": 3,
            "blockToLive": 0, "memberOnlyRead": true})
    };
    let collections = serde_json::json!([collection("plenty", 1), collection("demanding", 2)]).to_string();
    std::fs::write(network.scratch().join("collections.json"), collections).unwrap();
    deploy_with(&network, &["--collections-config", "collections.json"]).await;

    let user = Tool { network: &network, organization: 0, peer: "peer0", user: "User1" };
    let put = |collection: &str| format!("{{\"Args\":[\"PutPrivateData\",\"{collection}\",\"k\",\"secret\"]}}");
    let (plenty, demanding) = (put("plenty"), put("demanding"));
    let invoke = ["chaincode", "invoke", "-C", CHANNEL, "-n", "basic", "--waitForEvent", "-c"];
    let kept = user.everywhere(&[&invoke[..], &[&plenty]].concat()).await;
    assert!(kept.contains("Chaincode invoke successful"), "{kept}");
    let refused = user.fails(&["chaincode", "query", "-C", CHANNEL, "-n", "basic", "-c", &demanding]).await;
    let expected = "could not build private data dissemination plan for chaincode basic and collection demanding: required to disseminate to at least 2 peers, but know of only 1 eligible peers";
    assert!(refused.contains(expected), "{refused}");

    let late = Tool { peer: "peer1", ..Tool::admin(&network, 0) };
    late.run(&["channel", "join", "-b", &network.file("channels/mychannel.block")]).await;
    late.run(&["lifecycle", "chaincode", "install", &network.package().display().to_string()]).await;
    let height = info(&Tool::admin(&network, 0)).await["height"].clone();
    let mut seen = Value::Null;
    for _ in 0..100 {
        seen = info(&late).await["height"].clone();
        if seen == height {
            break;
        }
    }
    assert_eq!(seen, height, "the peer that joined later has not caught up");
    let read = r#"{"Args":["GetPrivateData","plenty","k"]}"#;
    let read = ["chaincode", "query", "-C", CHANNEL, "-n", "basic", "-c", read];
    assert!(Tool { user: "User1", ..late }.run(&read).await.starts_with("secret"), "it has not got the private data");
    network.stop().await;
}

async fn drive(release: Release) {
    let network = Interop::start(release, sample, false).await;
    join(&network).await;
    deploy(&network).await;
    transact(&network).await;
    look_at_blocks(&network).await;
    ask_for_what_is_not_there(&network, release).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's peer and osnadmin: FABRIC_BIN or PATH"]
async fn needs_release_the_peer_tool_drives_an_embedded_3_1() {
    drive(Release::V3_1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's peer and osnadmin: FABRIC_BIN or PATH"]
async fn needs_release_the_peer_tool_drives_an_embedded_2_5() {
    drive(Release::V2_5).await;
}
