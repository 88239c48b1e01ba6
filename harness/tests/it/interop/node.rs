//! npm's gateway client and npm's chaincode shim, unmodified, over TLS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fabric_harness::runtime::{ChaincodePlacement, ChaincodeSpec};
use fabric_harness::server::ServerSource;
use fabric_network::bundle::{Bundle, File};
use fabric_network::release::Release;
use fabric_primitives::program::{directories, find};
use serde_json::{Value, json};

use super::{Interop, SERVER, output, peer_tool, program, text};

/// The directory whose `node_modules` has the packages.
fn modules() -> PathBuf {
    program("NODE_PROJECT").join("node_modules")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop").join(name)
}

fn node() -> PathBuf {
    find("node", &directories("PATH"), Path::is_file).expect("node is not on PATH")
}

/// The chaincode of `chaincode.js`, with the server certificate that the harness made for it.
fn chaincode(place: &ChaincodePlacement, bundle: &Bundle, package_id: &str) -> ChaincodeSpec {
    let server = &bundle.identities.peer_organizations[0].chaincode_server;
    let files = BTreeMap::from([
        (PathBuf::from("server.crt"), File::public(server.certificate_pem.as_str())),
        (PathBuf::from("server.key"), File::private(server.private_key_pem.as_pem())),
    ]);
    let path = |name: &str| place.directory.join(name).display().to_string();
    let environment = [
        ("CHAINCODE_ID", package_id.to_owned()),
        ("CHAINCODE_SERVER_ADDRESS", place.listen.clone()),
        ("CHAINCODE_TLS_CERT", path("server.crt")),
        ("CHAINCODE_TLS_KEY", path("server.key")),
        ("NODE_PATH", modules().display().to_string()),
    ];
    ChaincodeSpec {
        name: SERVER.to_owned(),
        source: ServerSource::Program(node()),
        arguments: vec![script("chaincode.js").display().to_string()],
        environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
        files,
    }
}

async fn client(network: &Interop) -> Value {
    let own = "organizations/peerOrganizations/org1.example.com";
    let msp = format!("{own}/users/User1@org1.example.com/msp");
    let key = std::fs::read_dir(network.file(&format!("{msp}/keystore"))).unwrap().next().unwrap().unwrap().path();
    let mut command = Command::new(node());
    command.arg(script("client.js")).env("NODE_PATH", modules());
    command.env("PEER", network.address("peer0.org1.example.com")).env("MSP_ID", "Org1MSP");
    command.env("TLS_ROOT", network.file(&format!("{own}/peers/peer0.org1.example.com/tls/ca.crt")));
    command.env("CERTIFICATE", network.file(&format!("{msp}/signcerts/User1@org1.example.com-cert.pem")));
    command.env("PRIVATE_KEY", key);
    let printed = output(command).await;
    text(&printed, true);
    serde_json::from_slice(&printed.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node.js with fabric-gateway and fabric-shim in NODE_PROJECT, and Fabric's peer and osnadmin"]
async fn needs_node_the_clients_and_chaincodes_of_npm_work_over_tls() {
    let network = Interop::start(Release::V3_1, chaincode, true).await;
    peer_tool::join(&network).await;
    peer_tool::deploy(&network).await;
    let seen = client(&network).await;
    assert_eq!(seen["put"], "value1");
    assert_eq!(seen["event"], json!({"name": "put", "payload": "key1", "block": "4"}));
    assert_eq!(seen["get"], "value1");
    assert_eq!(seen["status"], json!({"code": 0, "successful": true, "block": "5"}));
    assert_eq!(seen["replayed"], json!(["key1", "key2", "key1"]));
    assert_eq!(seen["later"], "key2");
    assert_eq!(seen["range"], json!(["key1", "key2"]));
    assert_eq!(seen["history"], json!(["value3", "value1"]));
    assert_eq!(seen["who"], "Org1MSP");
    let rejected = "500 Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for 'basic'";
    assert_eq!(seen["height"], rejected);
    assert_eq!((&seen["secret"], &seen["revealed"]), (&json!("kept"), &json!("hidden")));

    let address = network.address("peer0.org1.example.com");
    let detail =
        json!([{"address": address, "mspId": "Org1MSP", "message": "chaincode response 500, there is no nothing"}]);
    assert_eq!((&seen["evaluate"]["code"], &seen["evaluate"]["details"]), (&json!(2), &detail), "{seen}");
    assert_eq!(seen["endorse"]["type"], "EndorseError");
    assert_eq!((&seen["endorse"]["code"], &seen["endorse"]["details"]), (&json!(10), &detail), "{seen}");
    let message = seen["endorse"]["message"].as_str().unwrap();
    assert!(message.contains("failed to endorse transaction, see attached details for more info"), "{message}");
    let unknown = seen["unknown"]["message"].as_str().unwrap();
    let expected = "no combination of peers can be derived which satisfy the endorsement policy: No metadata was found for chaincode other in channel mychannel";
    assert!(unknown.contains(expected), "{unknown}");
    network.stop().await;
}
