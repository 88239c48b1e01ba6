//! Calls of the stub and the messages that they send.

use fabric_protos::protos::ChaincodeAdditionalParams;
use fabric_protos::protos::chaincode_message::Type;
use prost::Message;

use super::peer::{Dial, Peer};
use super::support::{LEAKED, Running, config, start};

async fn connected() -> (Running, Peer) {
    let server = start(config()).await;
    let peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    (server, peer)
}

fn with_keys(peer: &mut Peer, keys: &[&str]) {
    for key in keys {
        peer.state.insert((*key).to_owned(), key.as_bytes().to_vec());
    }
}

#[tokio::test]
async fn a_write_is_one_request_and_is_visible_later() {
    let (_server, mut peer) = connected().await;
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
    peer.log.clear();
    assert_eq!(peer.invoke(&["Put", "k", "v"]).await.text(), "");
    let messages = ["P>C TRANSACTION", "C>P PUT_STATE", "P>C RESPONSE", "C>P COMPLETED"];
    assert_eq!(peer.log, messages);
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "v");
}

#[tokio::test]
async fn an_error_from_the_peer_reaches_the_client() {
    let (_server, mut peer) = connected().await;
    let outcome = peer.invoke(&["Get", "refused"]).await;
    assert_eq!(outcome.failure(), (500, "GET_STATE failed: no ledger context"));
    let outcome = peer.invoke(&["Put", "", "v"]).await;
    assert_eq!(outcome.failure(), (500, "the key is empty"));
}

#[tokio::test]
async fn a_range_is_read_in_batches() {
    let (_server, mut peer) = connected().await;
    with_keys(&mut peer, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    peer.log.clear();
    let keys = peer.invoke(&["Range", "b", ""]).await.text();
    assert_eq!(keys, r#"["b","c","d","e","f","g","h"]"#);
    let sent = peer.log.iter().filter(|line| line.starts_with("C>P"));
    // The peer itself closes a cursor at its end.
    let next = "C>P QUERY_STATE_NEXT";
    assert!(sent.eq(["C>P GET_STATE_BY_RANGE", next, next, "C>P COMPLETED"].iter()));
    assert!(peer.cursors.is_empty());
    assert_eq!(peer.invoke(&["Range", "b", "d"]).await.text(), r#"["b","c"]"#);
    assert_eq!(peer.invoke(&["Range", "x", ""]).await.text(), "[]");
}

#[tokio::test]
async fn a_dropped_range_closes_its_cursor_before_the_response() {
    let (_server, mut peer) = connected().await;
    with_keys(&mut peer, &["a", "b", "c", "d", "e"]);
    peer.log.clear();
    assert_eq!(peer.invoke(&["First"]).await.text(), "a");
    let sent: Vec<_> = peer.log.iter().filter(|line| line.starts_with("C>P")).collect();
    assert_eq!(sent, ["C>P GET_STATE_BY_RANGE", "C>P QUERY_STATE_CLOSE", "C>P COMPLETED"]);
    assert!(peer.cursors.is_empty());
}

#[tokio::test]
async fn pages_continue_at_their_bookmarks() {
    let (_server, mut peer) = connected().await;
    with_keys(&mut peer, &["a", "b", "c", "d", "e"]);
    assert_eq!(peer.invoke(&["Page", "2", ""]).await.text(), r#"[["a","b"],"c"]"#);
    assert_eq!(peer.invoke(&["Page", "4", "c"]).await.text(), r#"[["c","d","e"],""]"#);
}

#[tokio::test]
async fn concurrent_requests_are_sent_one_at_a_time() {
    let (_server, mut peer) = connected().await;
    with_keys(&mut peer, &["a", "b"]);
    assert_eq!(peer.invoke(&["Together"]).await.text(), "[[97],[98]]");
}

#[tokio::test]
async fn features_of_fabric_3_are_used_only_if_offered() {
    let offer = ChaincodeAdditionalParams {
        use_write_batch: true,
        max_size_write_batch: 100,
        use_get_multiple_keys: true,
        max_size_get_multiple_keys: 1000,
    }
    .encode_to_vec();
    let server = start(config()).await;
    let cases: [(&[u8], &str, usize, usize); 2] =
        [(&offer, "C>P WRITE_BATCH_STATE", 2, 1), (b"", "C>P PUT_STATE", 151, 3)];
    for (ready, write, writes, reads) in cases {
        for finish in ["true", "false"] {
            let dial = Dial::default();
            let mut peer = Peer::connect_offering(server.address, dial, ready).await.unwrap();
            with_keys(&mut peer, &["a", "b"]);
            assert_eq!(peer.invoke(&["Batch", finish]).await.text(), "");
            let sent = peer.log.iter().filter(|line| *line == write).count();
            assert_eq!(sent, writes, "{write}, finished by the chaincode: {finish}");
            assert_eq!(peer.state["k000"], b"again");
            assert_eq!(peer.state["k149"], b"v");
            peer.log.clear();
            assert_eq!(peer.invoke(&["Many"]).await.text(), r#"["a",null,"b"]"#);
            let sent = peer.log.iter().filter(|line| line.starts_with("C>P GET_STATE"));
            assert_eq!(sent.count(), reads);
        }
    }
}

#[tokio::test]
async fn a_failed_initialization_sends_no_batch() {
    let offer = ChaincodeAdditionalParams { use_write_batch: true, ..ChaincodeAdditionalParams::default() };
    let server = start(config()).await;
    let dial = Dial::default();
    let mut peer = Peer::connect_offering(server.address, dial, &offer.encode_to_vec()).await.unwrap();
    for (kind, sent) in
        [(Type::Init, &["C>P ERROR"][..]), (Type::Transaction, &["C>P WRITE_BATCH_STATE", "C>P COMPLETED"])]
    {
        peer.log.clear();
        peer.begin(kind, &["BatchThenFail"]);
        let outcome = peer.serve(1).await.remove(0).1;
        assert!(outcome.failure().1.contains("as requested"), "{outcome:?}");
        let seen: Vec<_> = peer.log.iter().filter(|line| line.starts_with("C>P")).collect();
        assert_eq!(seen, sent, "{kind:?}");
    }
}

#[tokio::test]
async fn private_data_is_in_its_collection() {
    let (_server, mut peer) = connected().await;
    let outcome = peer.invoke(&["Private"]).await.text();
    assert_eq!(outcome, r#"[null,"the collection name is empty"]"#);
    assert_eq!(peer.state["coll_k"], b"private");
}

#[tokio::test]
async fn a_stub_returns_the_contents_of_the_proposal() {
    let (_server, mut peer) = connected().await;
    let facts = peer.invoke(&["Facts", "x"]).await.text();
    let txid = format!("{:064}", 1);
    // SHA-256 of "nonce", "creator" and the epoch 1 in eight bytes.
    let binding = "548d5cc8920d2de9cd51856e3a9c637d17a4cf39e7b8a21f06c311f327f3c6db";
    let expected = [&txid, "mychannel", "Facts", "2", "creator", "42", binding, "1000", "signature"];
    assert_eq!(facts, serde_json::to_string(&expected).unwrap());
}

#[tokio::test]
async fn the_last_event_and_the_status_of_the_error_are_sent() {
    let (_server, mut peer) = connected().await;
    let outcome = peer.invoke(&["Event"]).await;
    assert_eq!(outcome.failure(), (418, ""));
    assert_eq!(outcome.response.payload, b"p");
    let event = outcome.event.unwrap();
    assert_eq!((event.event_name.as_str(), &event.payload[..]), ("last", &b"2"[..]));
}

#[tokio::test]
async fn errors_in_arguments_reach_the_client() {
    let (_server, mut peer) = connected().await;
    for (args, text) in [
        (&["Put", "k"][..], "incorrect number of arguments: expected 2, received 1"),
        (&["Big", "many"], "argument 1 is not an integer of at least 0: \"many\""),
        (&["Nothing"], "Function Nothing not found in contract Test"),
        (&["Other:Put", "k", "v"], "Contract not found with name Other"),
        (&[], "the function name is missing"),
    ] {
        let outcome = peer.invoke(args).await;
        assert_eq!(outcome.failure(), (500, text), "{args:?}");
    }
}

#[tokio::test]
async fn a_call_after_the_end_fails_immediately() {
    let (_server, mut peer) = connected().await;
    let mut leaked = LEAKED.subscribe();
    peer.invoke(&["Leak"]).await;
    let error = tokio::time::timeout(std::time::Duration::from_secs(10), leaked.recv());
    let error = error.await.expect("timed out waiting for the call").unwrap();
    assert_eq!(error, "the transaction has ended: call the ledger before invoke returns");
}
