//! Tests of fault injection (failed, delayed and lost messages) and its trace.

use std::time::{Duration, Instant};

use embedded_peer::faults::{Action, Rule};
use embedded_peer::trace::Direction;
use fabric_protos::protos::GetState;
use fabric_protos::protos::chaincode_message::Type;

use super::peer::{Connected, Peer};
use super::server::text;

const UP: Direction = Direction::ChaincodeToPeer;
const DOWN: Direction = Direction::PeerToChaincode;

fn fail() -> Action {
    Action::Fail("as a test asked".to_owned())
}

fn get() -> GetState {
    GetState { key: "a".to_owned(), ..GetState::default() }
}

#[tokio::test]
async fn faults_in_requests_and_answers() {
    let mut connected = Connected::new().await;
    let begun = connected.begin("tx1").await;
    let rule = Rule::new(fail()).on("peer0").going(UP).of_type("GET_STATE").times(1);
    connected.peer.faults.add(rule);
    let answer = connected.stream.ask(&begun.call, Type::GetState, get()).await;
    assert_eq!(text(&answer), "GET_STATE failed: transaction ID: tx1: as a test asked");
    connected.peer.faults.add(Rule::new(fail()).going(DOWN).of_type("RESPONSE").times(1));
    let answer = connected.stream.ask(&begun.call, Type::GetState, get()).await;
    assert_eq!((answer.r#type(), text(&answer).as_str()), (Type::Error, "as a test asked"));
    let answer = connected.stream.ask(&begun.call, Type::GetState, get()).await;
    assert_eq!(answer.r#type(), Type::Response);
}

#[tokio::test]
async fn faults_before_and_after_the_chaincode() {
    let mut connected = Connected::new().await;
    let rule = connected.peer.faults.add(Rule::new(fail()).going(DOWN).of_type("TRANSACTION").times(1));
    let error = connected.peer.execute(&connected.package_id, "tx1").await.unwrap_err();
    assert_eq!(error.to_string(), "failed to execute transaction tx1: error sending: as a test asked");
    assert_eq!(connected.peer.faults.remove(rule), Some(1));

    connected.peer.faults.add(Rule::new(fail()).going(UP).of_type("COMPLETED").times(1));
    let begun = connected.begin("tx2").await;
    connected.stream.complete(&begun.call, 200, b"");
    let error = begun.executing.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "transaction returned with failure: as a test asked");
}

#[tokio::test]
async fn faults_delay_single_messages() {
    let mut connected = Connected::new().await;
    let late = connected.begin("tx1").await;
    let punctual = connected.begin("tx2").await;
    let delay = Duration::from_millis(300);
    connected.peer.faults.add(Rule::new(Action::Delay(delay)).going(UP).of_type("COMPLETED").times(1));
    let start = Instant::now();
    connected.stream.complete(&late.call, 200, b"late");
    connected.stream.complete(&punctual.call, 200, b"");
    punctual.executing.await.unwrap().unwrap();
    assert!(start.elapsed() < delay);
    assert_eq!(late.executing.await.unwrap().unwrap().response.payload, b"late");
    assert!(start.elapsed() >= delay);

    connected.peer.faults.add(Rule::new(Action::Delay(delay)).going(DOWN).of_type("TRANSACTION").times(1));
    let start = Instant::now();
    let begun = connected.begin("tx3").await;
    assert!(start.elapsed() >= delay);
    connected.stream.complete(&begun.call, 200, b"");
    begun.executing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_message_times_out_the_transaction() {
    let mut connected =
        Connected::with(Peer::with(|_, config| config.execute_timeout = Duration::from_millis(300))).await;
    connected.peer.faults.add(Rule::new(Action::Drop).going(UP).of_type("COMPLETED").times(1));
    let begun = connected.begin("tx1").await;
    connected.stream.complete(&begun.call, 200, b"");
    let error = begun.executing.await.unwrap().unwrap_err();
    assert_eq!(error.reason.to_string(), "error sending: timeout expired while executing transaction");
}

#[tokio::test]
async fn each_message_is_traced() {
    let peer = Peer::new();
    let mut events = peer.tracer.subscribe();
    let mut connected = Connected::with(peer).await;
    let begun = connected.begin("tx1").await;
    connected.stream.ask(&begun.call, Type::GetState, get()).await;
    connected.stream.complete(&begun.call, 200, b"done");
    begun.executing.await.unwrap().unwrap();
    let seen: Vec<String> = events
        .drain()
        .iter()
        .map(|event| event.kind.to_string().replace(&connected.package_id, "ID"))
        .filter(|line| line.starts_with('s'))
        .collect();
    assert_eq!(
        seen,
        [
            "s1 stream opened by peer",
            "s1 C>P REGISTER           txid=         ch=          payload=69B total=73B ChaincodeID{name:\"ID\"}",
            "s1 P>C REGISTERED         txid=         ch=          payload=0B total=2B",
            "s1 P>C READY              txid=         ch=          payload=10B total=14B ChaincodeAdditionalParams{use_write_batch:true max_size_write_batch:1000 use_get_multiple_keys:true max_size_get_multiple_keys:1000}",
            "s1 P>C TRANSACTION        txid=tx1      ch=mychannel payload=4B total=47B proposal=8B sig=9B ChaincodeInput{args=[\"go\"] decorations=0 is_init=false}",
            "s1 C>P GET_STATE          txid=tx1      ch=mychannel payload=3B total=23B GetState{key=\"a\" coll=\"\"}",
            "s1 P>C RESPONSE           txid=tx1      ch=mychannel payload=0B total=18B",
            "s1 C>P COMPLETED          txid=tx1      ch=mychannel payload=9B total=29B Response{status=200 message=\"\" payload=4B}",
        ]
    );
}
