//! Fabric's tools read our genesis blocks, and generate the same ones.
//!
//! The tools are in the directory `FABRIC_BIN`, or else on `PATH`. Run the tests once for each release line; BFT
//! blocks are tested when the tools support them.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic as tests do")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fabric_network::channel::{ChannelInput, Consensus, MspInput, genesis_block};
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use serde_json::Value;

use crate::channel_fixture::{channel_input, placement, validity};
use crate::fabric::{program as fabric_program, release};

/// A network's files in a directory, with its genesis block.
struct Case {
    name: &'static str,
    directory: tempfile::TempDir,
    channel: ChannelInput,
    block: Vec<u8>,
    topology: Topology,
}

#[test]
#[ignore = "needs Fabric's configtxgen and configtxlator (FABRIC_BIN)"]
fn needs_release_configtxgen_inspects_our_blocks() {
    for case in cases() {
        let path = case.write("ours.block", &case.block);
        let json = json(&case.run("configtxgen", &["-inspectBlock", &path]));
        let payload = &json["data"]["data"][0]["payload"];
        assert_eq!(payload["header"]["channel_header"]["channel_id"], "mychannel", "{}", case.name);
        let groups = &payload["data"]["config"]["channel_group"]["groups"];
        for organization in &case.channel.organizations {
            let seen = &groups["Application"]["groups"][&organization.name]["values"]["MSP"]["value"]["config"]["name"];
            assert_eq!(*seen, organization.msp.msp_id, "{}", case.name);
        }
    }
}

#[test]
#[ignore = "needs Fabric's configtxgen and configtxlator (FABRIC_BIN)"]
fn needs_release_configtxlator_round_trips_our_blocks() {
    for case in cases() {
        let decoded = case.decode("ours", &case.block);
        let text = case.write("ours.json", decoded.to_string().as_bytes());
        let output = case.path("again.block");
        case.run("configtxlator", &["proto_encode", "--type", "common.Block", "--input", &text, "--output", &output]);
        let again = fs::read(&output).expect("configtxlator wrote its output");
        // The order of maps is random in Go, so only the length is the same, except for the empty messages of the
        // three capabilities, which prost omits and Go writes in two bytes.
        assert_eq!(again.len(), case.block.len() + 3 * 2, "{}", case.name);
        assert_eq!(case.decode("again", &again), decoded, "{}", case.name);
    }
}

#[test]
#[ignore = "needs Fabric's configtxgen and configtxlator (FABRIC_BIN)"]
fn needs_release_configtxgen_generates_the_same_block() {
    for case in cases() {
        case.write("configtx.yaml", configtx_yaml(&case.channel, &case.topology).as_bytes());
        let directory = case.directory.path().to_string_lossy().into_owned();
        let path = case.path("theirs.block");
        let arguments = ["-profile", "Channel", "-channelID", "mychannel", "-configPath", &directory];
        case.run("configtxgen", &[&arguments[..], &["-outputBlock", &path]].concat());
        let theirs = fs::read(&path).expect("configtxgen wrote its output");
        let [ours, theirs] =
            [("ours", &case.block), ("theirs", &theirs)].map(|(name, block)| without_random(case.decode(name, block)));
        let mut differences = Vec::new();
        compare("", &ours, &theirs, &mut differences);
        assert!(differences.is_empty(), "{}:\n{}", case.name, differences.join("\n"));
    }
}

fn cases() -> Vec<Case> {
    let release = release();
    let mut cases = vec![case("solo", Topology::solo(), release), case("duo", Topology::duo(), release)];
    if release.has_bft() {
        cases.push(case("bft", Topology::bft(), release));
    }
    cases
}

fn case(name: &'static str, topology: Topology, release: Release) -> Case {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let placement = placement(&topology);
    let bundle = render(&topology, &placement, &RenderOptions::new(release, validity())).expect("a preset renders");
    bundle.write_to(directory.path()).expect("an empty directory can be written to");
    let channel = channel_input(&topology, &placement, &bundle.identities, release);
    let block = genesis_block(&channel).expect("a preset gives a block");
    Case { name, directory, channel, block, topology }
}

impl Case {
    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the test's own directory can be written to");
        path
    }

    fn decode(&self, name: &str, block: &[u8]) -> Value {
        let path = self.write(&format!("{name}.block"), block);
        json(&self.run("configtxlator", &["proto_decode", "--type", "common.Block", "--input", &path]))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(fabric_program(program));
        // configtxgen looks for configtx.yaml even when it only inspects.
        command.args(arguments).current_dir(self.directory.path()).env("FABRIC_CFG_PATH", self.directory.path());
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {program} {arguments:?}: {}\n{stderr}", self.name, output.status);
        output.stdout
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// Adds the path of each leaf that differs, with both values.
fn compare(path: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let [ours, theirs] = [ours, theirs].map(|object| object.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), ours, theirs, differences);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{path}[{index}]"), ours, theirs, differences);
            }
        }
        _ if ours == theirs => {}
        _ => differences.push(format!("{path}: ours {ours}, theirs {theirs}")),
    }
}

/// Removes what differs on each run of configtxgen: the nonce, what depends on it, the time.
fn without_random(mut block: Value) -> Value {
    block["header"]["data_hash"] = Value::Null;
    let header = &mut block["data"]["data"][0]["payload"]["header"];
    header["channel_header"]["tx_id"] = Value::Null;
    header["channel_header"]["timestamp"] = Value::Null;
    header["signature_header"]["nonce"] = Value::Null;
    block
}

/// The channel as a configtx.yaml for the tree that [`Bundle`](fabric_network::bundle::Bundle)
/// writes.
fn configtx_yaml(channel: &ChannelInput, topology: &Topology) -> String {
    let domain = |name: &str| {
        let organization = topology.organizations.iter().find(|organization| organization.name == name);
        organization.map(|organization| organization.domain.clone()).unwrap_or_default()
    };
    let mut peer_organizations = String::new();
    for organization in &channel.organizations {
        let name = &organization.name;
        let directory = format!("organizations/peerOrganizations/{}/msp", domain(name));
        write!(peer_organizations, "{}", organization_yaml(name, &organization.msp, &directory, PEER_POLICIES))
            .unwrap();
        writeln!(peer_organizations, "          AnchorPeers:").unwrap();
        for peer in &organization.anchor_peers {
            writeln!(peer_organizations, "            - {{Host: {}, Port: {}}}", peer.host, peer.port).unwrap();
        }
    }
    let ordering = &channel.ordering;
    let directory = format!("organizations/ordererOrganizations/{}/msp", topology.ordering.domain);
    let mut ordering_organization = organization_yaml(&ordering.name, &ordering.msp, &directory, ORDERING_POLICIES);
    let endpoints: Vec<String> = ordering.endpoints.iter().map(|address| format!("'{address}'")).collect();
    writeln!(ordering_organization, "          OrdererEndpoints: [{}]", endpoints.join(", ")).unwrap();
    let acls: String = channel
        .acls
        .iter()
        .fold(String::new(), |text, (resource, policy)| text + &format!("        {resource}: {policy}\n"));
    let (capability, consensus) = match ordering.consensus {
        Consensus::Etcdraft { .. } => ("V2_0", raft_yaml(channel, topology)),
        Consensus::Bft => ("V3_0", bft_yaml(channel, topology)),
    };
    let batch = &ordering.batch;
    format!(
        "Profiles:
  Channel:
    Capabilities: {{{capability}: true}}
    Policies: {UPPER_POLICIES}
    Application:
      Capabilities: {{V2_5: true}}
      ACLs:
{acls}      Policies:
        LifecycleEndorsement: {{Type: ImplicitMeta, Rule: MAJORITY Endorsement}}
        Endorsement: {{Type: ImplicitMeta, Rule: MAJORITY Endorsement}}
        <<: {UPPER_POLICIES}
      Organizations:
{peer_organizations}    Orderer:
      Capabilities: {{V2_0: true}}
      BatchTimeout: {}ms
      BatchSize: {{MaxMessageCount: {}, AbsoluteMaxBytes: {}, PreferredMaxBytes: {}}}
      Policies:
        BlockValidation: {{Type: ImplicitMeta, Rule: ANY Writers}}
        <<: {UPPER_POLICIES}
      Organizations:
{ordering_organization}{consensus}",
        batch.timeout.as_millis(),
        batch.max_messages,
        batch.absolute_max_bytes,
        batch.preferred_max_bytes,
    )
}

const UPPER_POLICIES: &str = "{Readers: {Type: ImplicitMeta, Rule: ANY Readers}, \
    Writers: {Type: ImplicitMeta, Rule: ANY Writers}, Admins: {Type: ImplicitMeta, Rule: MAJORITY Admins}}";
const PEER_POLICIES: &[(&str, &[&str])] = &[
    ("Readers", &["admin", "peer", "client"]),
    ("Writers", &["admin", "client"]),
    ("Admins", &["admin"]),
    ("Endorsement", &["peer"]),
];
const ORDERING_POLICIES: &[(&str, &[&str])] =
    &[("Readers", &["member"]), ("Writers", &["member"]), ("Admins", &["admin"])];

fn organization_yaml(name: &str, msp: &MspInput, directory: &str, policies: &[(&str, &[&str])]) -> String {
    let id = &msp.msp_id;
    let mut text = format!("        - Name: {name}\n          ID: {id}\n          MSPDir: {directory}\n");
    text += "          Policies:\n";
    for (policy, roles) in policies {
        let roles: Vec<String> = roles.iter().map(|role| format!("'{id}.{role}'")).collect();
        writeln!(text, "            {policy}: {{Type: Signature, Rule: \"OR({})\"}}", roles.join(", ")).unwrap();
    }
    text
}

fn raft_yaml(channel: &ChannelInput, topology: &Topology) -> String {
    let mut text = format!(
        "      OrdererType: etcdraft
      EtcdRaft:
        Options: {{TickInterval: {}ms, ElectionTick: 10, HeartbeatTick: 1, MaxInflightBlocks: 5, \
         SnapshotIntervalSize: 16 MB}}
        Consenters:\n",
        topology.ordering.tick.as_millis()
    );
    for (consenter, directory) in channel.ordering.consenters.iter().zip(orderer_directories(topology)) {
        let certificate = directory.join("tls/server.crt").display().to_string();
        let (host, port) = (&consenter.address.host, consenter.address.port);
        writeln!(
            text,
            "          - {{Host: {host}, Port: {port}, ClientTLSCert: {certificate}, ServerTLSCert: {certificate}}}"
        )
        .unwrap();
    }
    text
}

fn bft_yaml(channel: &ChannelInput, topology: &Topology) -> String {
    let batch = &channel.ordering.batch;
    let mut text = format!(
        "      OrdererType: BFT
      SmartBFT:
        RequestBatchMaxCount: {}
        RequestBatchMaxBytes: {}
        RequestBatchMaxInterval: {}ms
        RequestForwardTimeout: 2s
        RequestComplainTimeout: 20s
        RequestAutoRemoveTimeout: 3m0s
        ViewChangeResendInterval: 5s
        ViewChangeTimeout: 20s
        LeaderHeartbeatTimeout: 1m0s
        LeaderHeartbeatCount: 10
        CollectTimeout: 1s
        IncomingMessageBufferSize: 200
        RequestPoolSize: 100000
      ConsenterMapping:\n",
        batch.max_messages,
        batch.absolute_max_bytes,
        batch.timeout.as_millis()
    );
    let id = &channel.ordering.msp.msp_id;
    for (number, (consenter, directory)) in
        (1..).zip(channel.ordering.consenters.iter().zip(orderer_directories(topology)))
    {
        let certificate = directory.join("tls/server.crt").display().to_string();
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let identity = directory.join(format!("msp/signcerts/{name}-cert.pem")).display().to_string();
        let (host, port) = (&consenter.address.host, consenter.address.port);
        writeln!(
            text,
            "        - {{ID: {number}, Host: {host}, Port: {port}, MSPID: {id}, Identity: {identity}, \
             ClientTLSCert: {certificate}, ServerTLSCert: {certificate}}}"
        )
        .unwrap();
    }
    text
}

fn orderer_directories(topology: &Topology) -> impl Iterator<Item = PathBuf> {
    let orderers = Path::new("organizations/ordererOrganizations").join(&topology.ordering.domain).join("orderers");
    topology.ordering.orderer_names().map(move |name| orderers.join(name))
}
