//! Streams, connections, TLS and shutdown.

use std::time::Duration;

use chaincode_shim::TlsFiles;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeMessage, SignedProposal};
use tokio_stream::StreamExt;
use tonic_prost::ProstCodec;

use super::certificates::{Ca, Files};
use super::peer::{self, Dial, Peer};
use super::support::{Running, config, start};

async fn connected() -> (Running, Peer) {
    let server = start(config()).await;
    let peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    (server, peer)
}

#[tokio::test]
async fn the_chaincode_registers_first_and_echoes_keepalive() {
    let server = start(config()).await;
    let channel = peer::dial(server.address, Dial::default()).await.unwrap();
    let mut peer = Peer::open(channel).await.unwrap();
    let register = peer.receive().await.unwrap();
    assert_eq!(register.r#type(), Type::Register);
    assert_eq!(&register.payload[..], b"\x12\x0dbasic_1.0:abc");
    peer.send(Type::Keepalive, "", b"");
    assert_eq!(peer.receive().await.unwrap().r#type(), Type::Keepalive);
}

#[tokio::test]
async fn a_panic_fails_only_its_transaction() {
    let (server, mut peer) = connected().await;
    let waiting = peer.begin(Type::Transaction, &["Wait"]);
    server.gates.entered.notified().await;
    let outcome = peer.invoke(&["Panic"]).await;
    assert_eq!(outcome.failure(), (500, "the chaincode panicked: as requested"));
    assert_eq!(outcome.event, None);
    server.gates.leave.add_permits(1);
    let (ended, outcome) = peer.serve(1).await.remove(0);
    assert_eq!((ended, outcome.response.status), (waiting, 200));
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn transactions_of_several_peers_run_concurrently() {
    let server = start(config()).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::connect(server.address, Dial::default()).await.unwrap();
        for _ in 0..50 {
            peer.begin(Type::Transaction, &["Wait"]);
        }
        // Ends after all of those have started and before any of them has ended.
        assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
        peers.push(peer);
    }
    server.gates.leave.add_permits(150);
    for peer in &mut peers {
        let outcomes = peer.serve(50).await;
        assert!(outcomes.iter().all(|(_, outcome)| outcome.response.status == 200));
    }
}

#[tokio::test]
async fn excess_transactions_wait_until_the_queue_is_full() {
    let mut config = config();
    config.limits.running = 1;
    config.limits.waiting = 1;
    let server = start(config).await;
    let mut peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    let running = peer.begin(Type::Transaction, &["Wait"]);
    let waiting = peer.begin(Type::Transaction, &["Get", "k"]);
    let rejected = peer.begin(Type::Transaction, &["Get", "k"]);
    let (first, outcome) = peer.serve(1).await.remove(0);
    assert_eq!(first, rejected);
    let text = "too many transactions are waiting for this chaincode";
    assert_eq!(outcome.failure(), (0, text));
    server.gates.leave.add_permits(1);
    let order: Vec<_> = peer.serve(2).await.into_iter().map(|(txid, _)| txid).collect();
    assert_eq!(order, [running, waiting]);
}

#[tokio::test]
async fn invalid_transactions_are_answered_and_affect_no_others() {
    let (_server, mut peer) = connected().await;
    let mut malformed = ChaincodeMessage {
        r#type: Type::Transaction.into(),
        txid: "1".to_owned(),
        channel_id: "mychannel".to_owned(),
        payload: b"\xff".as_slice().into(),
        ..ChaincodeMessage::default()
    };
    peer.send_message(malformed.clone());
    let answer = peer.receive().await.unwrap();
    assert_eq!((answer.r#type(), answer.txid.as_str()), (Type::Error, "1"));
    malformed.payload = b"".as_slice().into();
    let mut proposal = peer::proposal();
    proposal.proposal_bytes = b"\xff".to_vec();
    malformed.proposal = Some(proposal.clone());
    peer.send_message(malformed.clone());
    let text = peer.receive().await.unwrap().payload;
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with("invalid proposal: "), "{text}");
    proposal.proposal_bytes = Vec::new();
    malformed.proposal = Some(proposal);
    peer.send_message(malformed);
    assert_eq!(peer.receive().await.unwrap().payload, "the proposal has no header");
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn an_invalid_message_ends_only_its_stream() {
    let (server, mut other) = connected().await;
    let channel = peer::dial(server.address, Dial::default()).await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    // Its first field is of type bytes instead of a message type.
    let codec = ProstCodec::<SignedProposal, ChaincodeMessage>::default();
    let path = "/protos.Chaincode/Connect".parse().unwrap();
    let garbage = tokio_stream::iter([peer::proposal()]).chain(tokio_stream::pending());
    let stream = client.streaming(tonic::Request::new(garbage), path, codec).await;
    let mut stream = stream.unwrap().into_inner();
    let register = stream.message().await.unwrap().unwrap();
    assert_eq!(register.r#type(), Type::Register);
    let status = stream.message().await.unwrap_err();
    assert!(status.message().contains("failed to decode Protobuf message"), "{status:?}");
    assert_eq!(other.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn a_protocol_violation_ends_only_its_stream() {
    let (server, mut peer) = connected().await;
    let mut other = Peer::connect(server.address, Dial::default()).await.unwrap();
    peer.send(Type::Response, "unknown", b"");
    let answer = peer.receive().await.unwrap();
    assert_eq!((answer.r#type(), answer.txid.as_str()), (Type::Error, "unknown"));
    let status = peer.end().await.unwrap_err();
    assert_eq!(status.message(), "[unknown] unexpected answer: no request is pending");
    assert_eq!(other.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn values_up_to_the_message_limit_are_accepted() {
    let (_server, mut peer) = connected().await;
    let size = 100 * 1024 * 1024 - 1024;
    let outcome = peer.invoke(&["PutBig", &size.to_string()]).await;
    assert_eq!(outcome.text(), "");
    assert_eq!(peer.state["big"].len(), size);
    let length = peer.invoke(&["Length", "big"]).await.text();
    assert_eq!(length, size.to_string());
    let outcome = peer.invoke(&["PutBig", "104857600"]).await;
    let text = "the maximum is 104857600";
    assert!(outcome.failure().1.ends_with(text), "{:?}", outcome.failure());
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn an_oversized_response_fails_only_its_transaction() {
    let mut config = config();
    config.limits.message_bytes = 1000;
    let server = start(config).await;
    let mut peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    let outcome = peer.invoke(&["Big", "1000"]).await;
    let text = "the maximum is 1000";
    assert!(outcome.failure().1.ends_with(text), "{:?}", outcome.failure());
    assert_eq!(peer.invoke(&["Big", "3"]).await.text(), "xxx");
}

#[tokio::test]
async fn a_lost_stream_ends_its_transactions() {
    let (server, mut peer) = connected().await;
    peer.begin(Type::Transaction, &["Get", "k"]);
    assert_eq!(peer.receive().await.unwrap().r#type(), Type::GetState);
    peer.begin(Type::Transaction, &["Wait"]);
    server.gates.entered.notified().await;
    drop(peer);
    let mut again = Peer::connect(server.address, Dial::default()).await.unwrap();
    assert_eq!(again.invoke(&["Get", "k"]).await.text(), "");
    let left = tokio::time::timeout(Duration::from_secs(10), server.gates.left.notified());
    left.await.expect("a transaction of the lost stream is still running");
}

#[tokio::test]
async fn stop_lets_running_transactions_finish() {
    let (mut server, mut peer) = connected().await;
    let running = peer.begin(Type::Transaction, &["Wait"]);
    server.gates.entered.notified().await;
    server.stop();
    let late = loop {
        // The stream is stopped asynchronously.
        let outcome = peer.invoke(&["Get", "k"]).await;
        if outcome.response.status == 0 {
            break outcome;
        }
    };
    assert_eq!(late.failure(), (0, "the chaincode server is stopping"));
    server.gates.leave.add_permits(1);
    let (ended, outcome) = peer.serve(1).await.remove(0);
    assert_eq!((ended, outcome.response.status), (running, 200));
    peer.end().await.unwrap();
    let address = server.address;
    server.ended().await.unwrap();
    assert!(peer::dial(address, Dial::default()).await.is_err(), "still listening");
}

#[tokio::test]
async fn stop_does_not_wait_longer_than_its_timeout() {
    let mut config = config();
    config.stop_timeout = Duration::from_millis(50);
    let mut server = start(config).await;
    let mut peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    peer.begin(Type::Transaction, &["Wait"]);
    server.gates.entered.notified().await;
    server.stop();
    let status = peer.end().await.unwrap_err();
    assert_eq!(status.message(), "the chaincode server has stopped");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn stop_does_not_wait_for_idle_streams_and_connections() {
    let (mut server, mut peer) = connected().await;
    let silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let idle = peer::dial(server.address, Dial::default()).await.unwrap();
    server.stop();
    peer.end().await.unwrap();
    // The timeout of 8 s is for transactions only.
    let ended = tokio::time::timeout(Duration::from_secs(4), server.ended());
    ended.await.expect("timed out waiting for idle connections").unwrap();
    drop((silent, idle));
}

struct Tls {
    server_ca: Ca,
    client_ca: Ca,
    files: Files,
}

impl Tls {
    fn new() -> Self {
        Self { server_ca: Ca::new("server CA"), client_ca: Ca::new("client CA"), files: Files::new() }
    }

    async fn start(&self, mutual: bool) -> Running {
        let pair = self.server_ca.issue("chaincode");
        let (certificate, key) = self.files.pair("server", &pair);
        // Two CAs in one file, as for peers of two organizations.
        let cas = format!("{}{}", Ca::new("other").pem, self.client_ca.pem);
        let files = TlsFiles::new(key, certificate);
        let files = if mutual { files.with_client_ca(self.files.write("ca.crt", &cas)) } else { files };
        start(config().with_tls(files)).await
    }

    fn dial<'a>(&'a self, client: Option<&'a super::certificates::Pair>) -> Dial<'a> {
        Dial { ca: Some(&self.server_ca.pem), client, versions: None }
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_supported() {
    let tls = Tls::new();
    let server = tls.start(false).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let versions: &'static [_] = Box::leak(Box::new([version]));
        let dial = Dial { versions: Some(versions), ..tls.dial(None) };
        let mut peer = Peer::connect(server.address, dial).await.unwrap();
        assert_eq!(peer.invoke(&["Put", "k", "v"]).await.text(), "");
    }
}

#[tokio::test]
async fn a_plain_or_silent_connection_does_not_delay_others() {
    let tls = Tls::new();
    let server = tls.start(false).await;
    let _silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    assert!(Peer::connect(server.address, Dial::default()).await.is_err());
    let mut peer = Peer::connect(server.address, tls.dial(None)).await.unwrap();
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
}

#[tokio::test]
async fn mutual_tls_accepts_only_peers_of_its_cas() {
    let tls = Tls::new();
    let server = tls.start(true).await;
    let known = tls.client_ca.issue("peer0");
    let unknown = Ca::new("client CA").issue("peer0");
    let expired = tls.client_ca.issue_until("peer0", 2001);
    for (name, client) in [("none", None), ("unknown CA", Some(&unknown)), ("expired", Some(&expired))] {
        let connected = Peer::connect(server.address, tls.dial(client)).await;
        assert!(connected.is_err(), "accepted: {name}");
    }
    let mut peer = Peer::connect(server.address, tls.dial(Some(&known))).await.unwrap();
    assert_eq!(peer.chaincode_id, "basic_1.0:abc");
    assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
}
