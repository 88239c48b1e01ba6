//! Tests of every message of the shim protocol: the peer's answer and its effect on the
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use embedded_peer::chaincode::CollectionAccess;
use embedded_peer::ledger::ReadWriteSets;
use fabric_protos::kvrwset::KvRead;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, DelState, GetState, GetStateMetadata,
    GetStateMultiple, GetStateMultipleResult, PutState, PutStateMetadata, Response, StateMetadata, StateMetadataResult,
    WriteBatchState, WriteRecord, write_record,
};
use tonic::Status;

use super::peer::{CHAINCODE, CHANNEL, Connected, Peer, TestHost};
use super::server::{request, text};

fn get(key: &str, collection: &str) -> GetState {
    GetState { key: key.to_owned(), collection: collection.to_owned() }
}

fn put(key: &str, value: &str, collection: &str) -> PutState {
    PutState { key: key.to_owned(), value: Bytes::from(value.to_owned()), collection: collection.to_owned() }
}

fn del(key: &str, collection: &str) -> DelState {
    DelState { key: key.to_owned(), collection: collection.to_owned() }
}

/// The payload of a successful answer.
#[track_caller]
fn answered(answer: &ChaincodeMessage) -> Bytes {
    assert_eq!(answer.r#type(), Type::Response, "{}", text(answer));
    assert_eq!((answer.txid.as_str(), answer.channel_id.as_str()), ("tx1", CHANNEL));
    answer.payload.clone()
}

#[track_caller]
fn failed(answer: &ChaincodeMessage, words: &str) {
    assert_eq!(answer.r#type(), Type::Error);
    assert_eq!(text(answer), words);
}

#[tokio::test]
async fn a_transaction_is_sent_with_its_proposal() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    assert_eq!(begun.call.r#type(), Type::Transaction);
    assert_eq!(begun.call.timestamp, None);
    assert_eq!(ChaincodeInput::decode(begun.call.payload.clone()).unwrap().args, [b"go".to_vec()]);
    assert_eq!(begun.call.proposal.as_ref().unwrap().signature, b"signature");

    let response = Response { status: 399, message: "so so".to_owned(), payload: b"p".to_vec() };
    let event = ChaincodeEvent { event_name: "e".to_owned(), payload: b"x".to_vec(), ..ChaincodeEvent::default() };
    let mut completed = request(&begun.call, Type::Completed, response.encode_to_vec());
    completed.chaincode_event = Some(event.clone());
    connected.stream.send(completed);
    let executed = begun.executing.await.unwrap().unwrap();
    assert_eq!(executed.response, response);
    let event = ChaincodeEvent { chaincode_id: CHAINCODE.to_owned(), tx_id: "tx1".to_owned(), ..event };
    assert_eq!(executed.event, Some(event));
}

#[tokio::test]
async fn init_cannot_use_private_data() {
    const TEXT: &str = "failed: transaction ID: tx1: private data APIs are not allowed in chaincode Init()";
    let mut connected = Connected::new().await;
    let (mut call, simulation) = connected.peer.call(&connected.package_id, "tx1");
    call.is_init = true;
    let begun = connected.begin_call(call, simulation).await;
    assert_eq!(begun.call.r#type(), Type::Init);
    for (kind, payload) in [
        (Type::GetState, get("k", "c").encode_to_vec()),
        (Type::PutState, put("k", "v", "c").encode_to_vec()),
        (Type::DelState, del("k", "c").encode_to_vec()),
        (Type::PurgePrivateData, del("k", "c").encode_to_vec()),
        (Type::GetPrivateDataHash, get("k", "c").encode_to_vec()),
    ] {
        connected.stream.send(request(&begun.call, kind, payload));
        failed(&connected.stream.next().await, &format!("{} {TEXT}", kind.as_str_name()));
    }
}

#[tokio::test]
async fn private_data_hashes_need_no_access() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let answer = connected.stream.ask(&begun.call, Type::GetPrivateDataHash, get("k", "c")).await;
    assert_eq!(answered(&answer), "");
    assert_eq!(*connected.peer.host.asked.lock().unwrap(), ["c"]);
}

#[tokio::test]
async fn state_is_read_as_committed_and_written_to_the_simulation() {
    let mut connected = Connected::new().await;
    connected.peer.commit([("a", &b"1"[..])]);
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    assert_eq!(answered(&stream.ask(call, Type::GetState, get("a", "")).await), "1");
    assert_eq!(answered(&stream.ask(call, Type::GetState, get("nope", "")).await), "");
    assert_eq!(answered(&stream.ask(call, Type::PutState, put("a", "2", "")).await), "");
    assert_eq!(answered(&stream.ask(call, Type::GetState, get("a", "")).await), "1", "own writes are not read");
    assert_eq!(answered(&stream.ask(call, Type::DelState, del("b", "")).await), "");
    let keys = GetStateMultiple { keys: vec!["x".to_owned(), "a".to_owned()], collection: String::new() };
    let values = answered(&stream.ask(call, Type::GetStateMultiple, keys).await);
    assert_eq!(GetStateMultipleResult::decode(values).unwrap().values, ["", "1"]);
    stream.complete(call, 200, b"");
    begun.executing.await.unwrap().unwrap();

    let simulated = begun.simulation.lock().unwrap().finish().unwrap();
    let sets = ReadWriteSets::parse(&simulated.public).unwrap();
    let set = &sets.namespaces[0];
    assert_eq!(set.namespace, CHAINCODE);
    let reads: Vec<&str> = set.set.reads.iter().map(|KvRead { key, .. }| key.as_str()).collect();
    assert_eq!(reads, ["a", "nope", "x"]);
    let writes: Vec<_> = set.set.writes.iter().map(|write| (write.key.as_str(), write.is_delete)).collect();
    assert_eq!(writes, [("a", false), ("b", true)]);
}

#[tokio::test]
async fn key_metadata_is_read_and_written() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    let metadata = StateMetadata { metakey: "VALIDATION_PARAMETER".to_owned(), value: b"policy".to_vec() };
    let put = PutStateMetadata { key: "a".to_owned(), metadata: Some(metadata), collection: String::new() };
    answered(&stream.ask(call, Type::PutStateMetadata, put).await);
    let get = GetStateMetadata { key: "a".to_owned(), collection: String::new() };
    let found = answered(&stream.ask(call, Type::GetStateMetadata, get).await);
    assert_eq!(StateMetadataResult::decode(found).unwrap().entries, []);
    let without = PutStateMetadata { key: "a".to_owned(), ..PutStateMetadata::default() };
    let answer = stream.ask(call, Type::PutStateMetadata, without).await;
    failed(&answer, "PUT_STATE_METADATA failed: transaction ID: tx1: panic during execution");
}

#[tokio::test]
async fn a_batch_is_written_until_the_first_error() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    let record = |kind: write_record::Type, key: &str| WriteRecord {
        r#type: kind.into(),
        key: key.to_owned(),
        value: Bytes::from_static(b"v"),
        ..WriteRecord::default()
    };
    let batch = |rec: Vec<WriteRecord>| WriteBatchState { rec };
    let good = batch(vec![
        record(write_record::Type::PutState, "a"),
        record(write_record::Type::DelState, "b"),
        record(write_record::Type::PutStateMetadata, "c"),
    ]);
    assert_eq!(answered(&stream.ask(call, Type::WriteBatchState, good).await), "");
    let bad = batch(vec![record(write_record::Type::PutState, "d"), record(write_record::Type::Undefined, "e")]);
    let answer = stream.ask(call, Type::WriteBatchState, bad).await;
    failed(&answer, "WRITE_BATCH_STATE failed: transaction ID: tx1: unknown operation type");
    let purge = batch(vec![record(write_record::Type::PurgePrivateData, "a")]);
    let answer = stream.ask(call, Type::WriteBatchState, purge).await;
    failed(&answer, "WRITE_BATCH_STATE failed: transaction ID: tx1: only applicable for private data");
    let simulated = begun.simulation.lock().unwrap().finish().unwrap();
    let sets = ReadWriteSets::parse(&simulated.public).unwrap();
    let written: Vec<&str> = sets.namespaces[0].set.writes.iter().map(|write| write.key.as_str()).collect();
    assert_eq!(written, ["a", "b", "d"]);
}

#[tokio::test]
async fn private_data_requires_access() {
    let peer = Peer::new();
    let access = |read, write| CollectionAccess { read, write };
    peer.host
        .access
        .lock()
        .unwrap()
        .extend([("readable".to_owned(), access(true, false)), ("writable".to_owned(), access(false, true))]);
    let mut connected = Connected::with(peer).await;
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    let no = |kind: &str, what: &str, collection: &str| {
        format!(
            "{kind} failed: transaction ID: tx1: tx creator does not have {what} access permission on privatedata in chaincodeName:basic collectionName: {collection}"
        )
    };
    failed(&stream.ask(call, Type::GetState, get("k", "writable")).await, &no("GET_STATE", "read", "writable"));
    failed(&stream.ask(call, Type::PutState, put("k", "v", "readable")).await, &no("PUT_STATE", "write", "readable"));
    failed(&stream.ask(call, Type::DelState, del("k", "readable")).await, &no("DEL_STATE", "write", "readable"));
    let answer = stream.ask(call, Type::PurgePrivateData, del("k", "readable")).await;
    failed(&answer, &no("PURGE_PRIVATE_DATA", "write", "readable"));
    let answer = stream.ask(call, Type::GetState, get("k", "unknown")).await;
    failed(&answer, "GET_STATE failed: transaction ID: tx1: collection basic/unknown could not be found");
    let answer = stream.ask(call, Type::PurgePrivateData, del("k", "")).await;
    failed(&answer, "PURGE_PRIVATE_DATA failed: transaction ID: tx1: only applicable for private data");
}

#[tokio::test]
async fn purging_requires_a_channel_capability() {
    let mut peer = Peer::new();
    peer.host = Arc::new(TestHost { refuses_purge: true, ..TestHost::default() });
    let mut connected = Connected::with(peer).await;
    let begun = connected.begin("tx1").await;
    let answer = connected.stream.ask(&begun.call, Type::PurgePrivateData, del("k", "c")).await;
    failed(
        &answer,
        "PURGE_PRIVATE_DATA failed: transaction ID: tx1: purge private data is not enabled, channel application capability of V2_5 or later is required",
    );
}

fn spec(name: &str, argument: &str) -> ChaincodeSpec {
    ChaincodeSpec {
        chaincode_id: Some(ChaincodeId { name: name.to_owned(), ..ChaincodeId::default() }),
        input: Some(ChaincodeInput { args: vec![argument.as_bytes().to_vec()], ..ChaincodeInput::default() }),
        ..ChaincodeSpec::default()
    }
}

#[tokio::test]
async fn other_chaincodes_are_called_through_the_host() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    for (name, target) in
        [("other", "other"), ("other:1.0", "other"), ("other/mychannel", "other"), ("other:1.0/second", "other/second")]
    {
        let answer = answered(&stream.ask(call, Type::InvokeChaincode, spec(name, "x")).await);
        let completed = ChaincodeMessage::decode(answer).unwrap();
        assert_eq!(completed.r#type(), Type::Completed);
        assert_eq!(Response::decode(completed.payload).unwrap().payload, b"called");
        let invoked = connected.peer.host.invoked.lock().unwrap().pop().unwrap();
        assert_eq!(invoked, (target.to_owned(), vec![b"x".to_vec()]));
    }
    let answer = stream.ask(call, Type::InvokeChaincode, spec("other", "refuse")).await;
    failed(&answer, "INVOKE_CHAINCODE failed: transaction ID: tx1: execute failed: it was refused");
    // The caller continues, and its shim turns the message into a response.
    let answer = answered(&stream.ask(call, Type::InvokeChaincode, spec("other", "fail")).await);
    let ended = ChaincodeMessage::decode(answer).unwrap();
    assert_eq!((ended.r#type(), &ended.payload[..]), (Type::Error, &b"it failed"[..]));
    let answer = stream.ask(call, Type::InvokeChaincode, ChaincodeSpec::default()).await;
    failed(&answer, "INVOKE_CHAINCODE failed: transaction ID: tx1: panic during execution");
}

#[tokio::test]
async fn a_chaincode_cannot_call_itself() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let error = connected.peer.execute(&connected.package_id, "tx1").await.unwrap_err();
    assert_eq!(error.reason.to_string(), "error sending: txid: tx1(mychannel) exists");
    connected.stream.complete(&begun.call, 200, b"");
    begun.executing.await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_without_a_transaction_are_rejected() {
    let mut connected = Connected::new().await;
    let of = ChaincodeMessage { txid: "tx1".to_owned(), channel_id: CHANNEL.to_owned(), ..ChaincodeMessage::default() };
    let answer = connected.stream.ask(&of, Type::GetState, get("a", "")).await;
    failed(&answer, "GET_STATE failed: transaction ID: tx1: no ledger context");
    let answer = connected.stream.ask(&of, Type::InvokeChaincode, spec("other", "x")).await;
    failed(&answer, "INVOKE_CHAINCODE failed: transaction ID: tx1: could not get valid transaction");
}

#[tokio::test]
async fn invalid_payloads_are_rejected() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    connected.stream.send(request(&begun.call, Type::GetState, vec![0xff]));
    let answer = text(&connected.stream.next().await);
    assert!(answer.starts_with("GET_STATE failed: transaction ID: tx1: unmarshal failed: proto: "), "{answer}");
}

#[tokio::test]
async fn a_shim_error_fails_the_transaction() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    connected.stream.send(request(&begun.call, Type::Error, b"it broke".to_vec()));
    let error = begun.executing.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "transaction returned with failure: it broke");

    let begun = connected.begin("tx2").await;
    connected.stream.send(request(&begun.call, Type::Completed, vec![0xff]));
    let error = begun.executing.await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("failed to unmarshal response for transaction tx2: proto: "), "{error}");
}

/// Sends a message that ends the stream and the transaction.
async fn ends_the_stream(message: ChaincodeMessage, words: &str) {
    let mut connected = Connected::new().await;
    let mut events = connected.peer.tracer.subscribe();
    let begun = connected.begin("tx1").await;
    connected.stream.send(message);
    connected.stream.ended().await;
    let error = begun.executing.await.unwrap().unwrap_err();
    assert_eq!(error.reason.to_string(), "error sending: chaincode stream terminated");
    let mut seen = String::new();
    super::peer::eventually("the stream's end is traced", || {
        seen.extend(events.drain().iter().map(ToString::to_string));
        seen.contains(" end: ")
    })
    .await;
    assert!(seen.contains(&format!(" end: error handling message, ending stream: {words}")), "{seen}");
}

#[tokio::test]
async fn unexpected_messages_end_the_stream() {
    let message =
        |number: i32| ChaincodeMessage { r#type: number, txid: "t".to_owned(), ..ChaincodeMessage::default() };
    let words = "[t] Fabric side handler cannot handle message (REGISTER) while in ready state";
    ends_the_stream(message(Type::Register.into()), words).await;
    let words = "[t] Fabric side handler cannot handle message (TRANSACTION) while in ready state";
    ends_the_stream(message(Type::Transaction.into()), words).await;
    ends_the_stream(message(99), "[t] Fabric side handler cannot handle message (99) while in ready state").await;
}

#[tokio::test]
async fn messages_before_registration_end_the_launch() {
    let peer = Peer::new();
    let mut server = super::server::ChaincodeProgram::plain().await;
    let id = peer.connected_to(&format!(r#"{{"address":"{}"}}"#, server.address)).await;
    for (what, words) in [
        (
            "message",
            "error handling message, ending stream: [] Fabric side handler cannot handle message (COMPLETED) while in created state",
        ),
        ("status", "receive from chaincode support stream failed: rpc error: code = PermissionDenied desc = go away"),
    ] {
        let executing = peer.executing(&id, "tx1");
        let stream = server.accept().await;
        if what == "message" {
            stream.send(ChaincodeMessage { r#type: Type::Completed.into(), ..ChaincodeMessage::default() });
        } else {
            stream.fail(Status::permission_denied("go away"));
        }
        let error = executing.await.unwrap().unwrap_err().to_string().replace(&id, "ID");
        assert_eq!(
            error,
            format!(
                "failed to execute transaction tx1: could not launch chaincode ID: connection to ID failed: error handling chaincode stream for ID: {words}"
            )
        );
    }
}

#[tokio::test]
async fn keepalives_are_accepted_at_any_time() {
    let mut connected = Connected::new().await;
    let keepalive = ChaincodeMessage { r#type: Type::Keepalive.into(), ..ChaincodeMessage::default() };
    connected.stream.send(keepalive.clone());
    let begun = connected.begin("tx1").await;
    connected.stream.send(keepalive);
    connected.stream.complete(&begun.call, 200, b"");
    begun.executing.await.unwrap().unwrap();
    assert_eq!(connected.stream.next_within(Duration::from_millis(50)).await, None);
}

#[tokio::test]
async fn transactions_share_one_stream() {
    let mut connected = Connected::new().await;
    connected.peer.commit([("a", &b"1"[..])]);
    let mut begun = Vec::new();
    for number in 0..100 {
        begun.push(connected.begin(&format!("tx{number}")).await);
    }
    for of in begun.iter().rev() {
        connected.stream.send(request(&of.call, Type::GetState, get("a", "").encode_to_vec()));
    }
    for _ in 0..100 {
        let answer = connected.stream.next().await;
        assert_eq!(answer.payload, "1");
        connected.stream.complete(&answer, 200, answer.txid.as_bytes());
    }
    for (number, of) in begun.into_iter().enumerate() {
        let executed = of.executing.await.unwrap().unwrap();
        assert_eq!(executed.response.payload, format!("tx{number}").as_bytes());
    }
}

#[tokio::test]
async fn large_values_pass_flow_control() {
    let mut connected = Connected::new().await;
    let large = vec![7; 5 * 1024 * 1024];
    connected.peer.commit([("large", large.as_slice())]);
    let begun = connected.begin("tx1").await;
    let (stream, call) = (&mut connected.stream, &begun.call);
    assert_eq!(answered(&stream.ask(call, Type::GetState, get("large", "")).await), large);
    let put = PutState { key: "x".to_owned(), value: large.clone().into(), collection: String::new() };
    answered(&stream.ask(call, Type::PutState, put).await);
    stream.complete(call, 200, &large);
    assert_eq!(begun.executing.await.unwrap().unwrap().response.payload, large);
}
