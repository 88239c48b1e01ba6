//! The contract as a peer and its clients see it.

use super::peer::{Dial, Peer};
use super::program::{Program, serving};

async fn connected() -> (Program, Peer) {
    let program = Program::start(serving()).await;
    let peer = Peer::connect(program.address, Dial::default()).await.unwrap();
    (program, peer)
}

const A1: &str = r#"{"AppraisedValue":1,"Color":"blue","ID":"a1","Owner":"tom","Size":1}"#;

#[tokio::test]
async fn an_asset_is_created_read_changed_and_deleted() {
    let (_program, mut peer) = connected().await;
    let create = ["CreateAsset", "a1", "blue", "1", "tom", "1"];
    peer.log.clear();
    assert_eq!(peer.invoke(&create).await.text(), "");
    let messages =
        ["P>C TRANSACTION", "C>P GET_STATE", "P>C RESPONSE", "C>P PUT_STATE", "P>C RESPONSE", "C>P COMPLETED"];
    assert_eq!(peer.log, messages, "not the messages of the Go chaincode");
    assert_eq!(peer.state["a1"], A1.as_bytes());
    assert_eq!(peer.invoke(&["ReadAsset", "a1"]).await.text(), A1);
    assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.text(), "true");
    assert_eq!(peer.invoke(&["GetAllAssets"]).await.text(), format!("[{A1}]"));

    let outcome = peer.invoke(&create).await;
    assert_eq!(outcome.failure(), (500, "the asset a1 already exists"));

    let update = ["UpdateAsset", "a1", "red", "2", "tom", "-3"];
    assert_eq!(peer.invoke(&update).await.text(), "");
    let old_owner = peer.invoke(&["TransferAsset", "a1", "anna"]).await.text();
    assert_eq!(old_owner, "tom");
    let changed = r#"{"AppraisedValue":-3,"Color":"red","ID":"a1","Owner":"anna","Size":2}"#;
    assert_eq!(peer.invoke(&["ReadAsset", "a1"]).await.text(), changed);

    assert_eq!(peer.invoke(&["DeleteAsset", "a1"]).await.text(), "");
    assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.text(), "false");
    assert_eq!(peer.invoke(&["GetAllAssets"]).await.text(), "[]");
}

#[tokio::test]
async fn every_change_emits_an_event_named_after_its_function() {
    let (_program, mut peer) = connected().await;
    let moved = A1.replace("tom", "anna");
    for (args, payload) in [
        (&["CreateAsset", "a1", "blue", "1", "tom", "1"][..], A1),
        (&["UpdateAsset", "a1", "blue", "1", "tom", "1"], A1),
        (&["TransferAsset", "a1", "anna"], &moved),
        (&["DeleteAsset", "a1"], &moved),
    ] {
        let event = peer.invoke(args).await.event;
        let event = event.map(|event| (event.event_name, String::from_utf8(event.payload).unwrap()));
        assert_eq!(event, Some((args[0].to_owned(), payload.to_owned())));
    }
    assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.event, None);
}

#[tokio::test]
async fn init_ledger_creates_six_assets() {
    let (_program, mut peer) = connected().await;
    assert_eq!(peer.invoke(&["InitLedger"]).await.text(), "");
    let assets = peer.invoke(&["GetAllAssets"]).await.text();
    let assets: Vec<chaincode_sample::Asset> = serde_json::from_str(&assets).unwrap();
    let facts: Vec<_> =
        assets.iter().map(|asset| (asset.id.as_str(), asset.owner.as_str(), asset.appraised_value)).collect();
    let expected = [
        ("asset1", "Tomoko", 300),
        ("asset2", "Brad", 400),
        ("asset3", "Jin Soo", 500),
        ("asset4", "Max", 600),
        ("asset5", "Adriana", 700),
        ("asset6", "Michel", 800),
    ];
    assert_eq!(facts, expected);
}

#[tokio::test]
async fn invalid_calls_are_errors() {
    let (_program, mut peer) = connected().await;
    for (args, text) in [
        (&["ReadAsset", "no"][..], "the asset no does not exist"),
        (&["DeleteAsset", "no"], "the asset no does not exist"),
        (&["TransferAsset", "no", "anna"], "the asset no does not exist"),
        (&["UpdateAsset", "no", "blue", "1", "tom", "1"], "the asset no does not exist"),
        (&["CreateAsset", "a1"], "incorrect number of arguments: expected 5, received 1"),
        (&["CreateAsset", "a1", "blue", "big", "tom", "1"], "argument 3 is not an integer: \"big\""),
        (&["Nothing"], "Function Nothing not found in contract SmartContract"),
        (&["CreateAsset", "", "blue", "1", "tom", "1"], "the key is empty"),
    ] {
        let outcome = peer.invoke(args).await;
        assert_eq!(outcome.failure(), (500, text), "{args:?}");
        assert_eq!(outcome.event, None, "{args:?}");
    }
    peer.state.insert("invalid".to_owned(), b"not an asset".to_vec());
    let outcome = peer.invoke(&["ReadAsset", "invalid"]).await;
    assert_eq!(outcome.response.status, 500);
    assert!(!outcome.response.message.is_empty());
}
