//! Tests of failed connections to chaincode servers, with the error texts of real peers, and the
//! cause where Fabric omits it.

use std::time::{Duration, Instant};

use embedded_peer::chaincode::ChaincodeConfig;
use fabric_network::release::Release;
use fabric_protos::prost::Message;
use fabric_protos::protos::ChaincodeAdditionalParams;
use fabric_protos::protos::chaincode_message::Type;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::certificates::{Authority, Pair, self_signed};
use super::peer::Peer;
use super::server::{ChaincodeProgram, Tls};

const ANY: &str = "127.0.0.1:0";

/// The error text without its variable parts.
fn error_text(error: impl std::fmt::Display, package_id: &str, address: impl std::fmt::Display) -> String {
    let (error_text, address) = (error.to_string().replace(package_id, "ID"), address.to_string());
    if address.is_empty() { error_text } else { error_text.replace(&address, "ADDRESS") }
}

const REFUSED: &str = "could not launch chaincode ID: connection to ID failed: error cannot create connection for ID: error creating grpc connection to ADDRESS: ";

async fn tls_server(pair: Pair, client_ca: Option<String>) -> ChaincodeProgram {
    ChaincodeProgram::start(ANY.parse().unwrap(), Some(Tls { pair, client_ca })).await
}

/// A connection.json for a server with TLS.
fn with_tls(address: impl std::fmt::Display, authority: &Authority) -> Value {
    json!({
        "address": address.to_string(), "dial_timeout": "400ms", "tls_required": true,
        "root_cert": authority.certificate(),
    })
}

fn with_client(mut connection: Value, client: &Pair) -> Value {
    connection["client_auth_required"] = json!(true);
    connection["client_cert"] = json!(client.certificate);
    connection["client_key"] = json!(client.key);
    connection
}

/// Executes a transaction on a newly launched chaincode.
async fn works(mut server: ChaincodeProgram, connection: &Value) {
    let peer = Peer::new();
    let id = peer.connected_to(&connection.to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut stream = server.register(&id).await;
    let call = stream.next().await;
    stream.complete(&call, 200, b"done");
    assert_eq!(executing.await.unwrap().unwrap().response.payload, b"done");
}

/// The error text for a connection that fails.
async fn refused(connection: &Value) -> String {
    let peer = Peer::new();
    let id = peer.connected_to(&connection.to_string()).await;
    let began = Instant::now();
    let error = peer.execute(&id, "tx1").await.unwrap_err().to_string();
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    let error_text = error_text(error, &id, connection["address"].as_str().unwrap_or_default());
    error_text
        .strip_prefix("failed to execute transaction tx1: ")
        .expect("the error does not name the transaction")
        .to_owned()
}

/// Like [`refused`], for errors that Fabric reports only as a deadline: returns the appended cause.
async fn deadline(connection: &Value) -> String {
    let error_text = refused(connection).await;
    let deadline = format!("{REFUSED}failed to create new connection: context deadline exceeded: ");
    error_text.strip_prefix(&deadline).unwrap_or_else(|| panic!("no deadline: {error_text}")).to_owned()
}

#[tokio::test]
async fn valid_servers_are_reached() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = ChaincodeProgram::plain().await;
    let connection = json!({"address": server.address.to_string()});
    works(server, &connection).await;

    let server = tls_server(authority.server(&["127.0.0.1"]), None).await;
    let connection = with_tls(server.address, &authority);
    works(server, &connection).await;

    let server = tls_server(authority.server(&["localhost"]), None).await;
    let connection = with_tls(format!("localhost:{}", server.address.port()), &authority);
    works(server, &connection).await;

    let server = tls_server(authority.server(&["127.0.0.1"]), Some(clients.certificate())).await;
    let connection = with_client(with_tls(server.address, &authority), &clients.client());
    works(server, &connection).await;

    // `domain` is used if there is a client certificate.
    let server = tls_server(authority.server(&["cc.example"]), Some(clients.certificate())).await;
    let mut connection = with_client(with_tls(server.address, &authority), &clients.client());
    connection["domain"] = json!("cc.example");
    works(server, &connection).await;

    // A self-signed CA certificate, OpenSSL's default.
    let pair = self_signed(&["127.0.0.1"]);
    let server = tls_server(pair.clone(), None).await;
    let mut connection = with_tls(server.address, &authority);
    connection["root_cert"] = json!(pair.certificate);
    works(server, &connection).await;
}

#[tokio::test]
async fn certificate_errors_follow_the_deadline_text() {
    const VERIFY: &str = "tls: failed to verify certificate: x509: ";
    let (authority, other) = (Authority::new(), Authority::new());

    let server = tls_server(authority.server(&["127.0.0.1"]), None).await;
    let cause = deadline(&with_tls(server.address, &other)).await;
    assert_eq!(cause, format!("{VERIFY}certificate signed by unknown authority"));

    let server = tls_server(authority.server(&["cc.example"]), None).await;
    let no_ip = format!("{VERIFY}cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs");
    assert_eq!(deadline(&with_tls(server.address, &authority)).await, no_ip);
    let mut without_client = with_tls(server.address, &authority);
    without_client["domain"] = json!("cc.example");
    assert_eq!(deadline(&without_client).await, no_ip, "the domain counts only with a client certificate");
    let named = with_tls(format!("localhost:{}", server.address.port()), &authority);
    assert_eq!(deadline(&named).await, format!("{VERIFY}certificate is valid for cc.example, not localhost"));

    let server = tls_server(authority.server(&["10.0.0.1"]), None).await;
    let cause = deadline(&with_tls(server.address, &authority)).await;
    assert_eq!(cause, format!("{VERIFY}certificate is valid for 10.0.0.1, not 127.0.0.1"));

    // The address is only in the common name, which is ignored.
    let server = tls_server(authority.server(&[]), None).await;
    assert_eq!(deadline(&with_tls(server.address, &authority)).await, no_ip);
    let named = with_tls(format!("localhost:{}", server.address.port()), &authority);
    let legacy = format!("{VERIFY}certificate relies on legacy Common Name field, use SANs instead");
    assert_eq!(deadline(&named).await, legacy);

    let server = tls_server(authority.expired(&["127.0.0.1"]), None).await;
    let cause = deadline(&with_tls(server.address, &authority)).await;
    assert!(
        cause.starts_with(&format!("{VERIFY}certificate has expired or is not yet valid: current time ")),
        "{cause}"
    );
    assert!(cause.ends_with(" is after 2002-02-03T00:00:00Z"), "{cause}");
}

#[tokio::test]
async fn rejected_client_certificates_are_reported() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = tls_server(authority.server(&["127.0.0.1"]), Some(clients.certificate())).await;
    let cause = deadline(&with_tls(server.address, &authority)).await;
    assert_eq!(cause, "remote error: tls: certificate required");
    let cause = deadline(&with_client(with_tls(server.address, &authority), &authority.client())).await;
    assert!(cause.starts_with("remote error: tls: "), "{cause}");
}

#[tokio::test]
async fn protocol_errors_follow_the_deadline_text() {
    let authority = Authority::new();
    let plain = ChaincodeProgram::plain().await;
    let cause = deadline(&with_tls(plain.address, &authority)).await;
    assert_eq!(cause, "tls: first record does not look like a TLS handshake");

    let tls = tls_server(authority.server(&["127.0.0.1"]), None).await;
    let cause = deadline(&json!({"address": tls.address.to_string(), "dial_timeout": "400ms"})).await;
    assert!(cause.starts_with("the server does not speak HTTP/2: "), "{cause}");
}

#[tokio::test]
async fn silent_servers_are_reported_after_the_deadline_text() {
    let authority = Authority::new();
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream);
        }
    });
    for connection in [with_tls(address, &authority), json!({"address": address.to_string(), "dial_timeout": "400ms"})]
    {
        assert_eq!(deadline(&connection).await, "ADDRESS did not answer within 400ms");
    }
}

#[tokio::test]
async fn missing_fields_of_connection_json_fail_immediately() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let good = || with_client(with_tls("127.0.0.1:1", &authority), &clients.client());
    let without = |name: &str, value: Value| {
        let mut connection = good();
        connection[name] = value;
        connection
    };
    for (connection, words) in [
        (without("client_key", Value::Null), "error building chaincode: chaincode tls key not provided"),
        (without("client_cert", json!("")), "error building chaincode: chaincode tls cert not provided"),
        (without("root_cert", Value::Null), "error building chaincode: chaincode tls root cert not provided"),
        (without("address", json!("")), "error building chaincode: chaincode address not provided"),
    ] {
        assert_eq!(refused(&connection).await, format!("could not launch chaincode ID: {words}"));
    }
    let error_text = refused(&without("dial_timeout", json!("10"))).await;
    let error_text = error_text.split_once("malformed chaincode info at '").unwrap().1;
    assert!(
        error_text.ends_with("/release/chaincode/server/connection.json': time: missing unit in duration \"10\""),
        "{error_text}"
    );
    let words = "error adding root certificate";
    assert_eq!(refused(&without("root_cert", json!("no PEM"))).await, format!("{REFUSED}{words}"));
    let words =
        "failed to load client certificate: failed to create key pair: tls: failed to find any PEM data in key input";
    assert_eq!(refused(&without("client_key", json!("no PEM"))).await, format!("{REFUSED}{words}"));
    let key = authority.client().key;
    let words =
        "failed to load client certificate: failed to create key pair: tls: private key does not match public key";
    assert_eq!(refused(&without("client_key", json!(key))).await, format!("{REFUSED}{words}"));
}

#[tokio::test]
async fn refused_connections_fail_immediately() {
    const DIALING: &str =
        "failed to create new connection: connection error: desc = \"transport: error while dialing: ";
    let free = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
    let connection = json!({"address": free.to_string(), "dial_timeout": "1h"});
    let words = format!("{REFUSED}{DIALING}dial tcp ADDRESS: connect: connection refused\"");
    assert_eq!(refused(&connection).await, words);

    let words = format!("{REFUSED}{DIALING}dial tcp: address ADDRESS: missing port in address\"");
    assert_eq!(refused(&json!({"address": "127.0.0.1"})).await, words);
    let words = format!("{REFUSED}{DIALING}dial tcp: lookup tcp/port: unknown port\"");
    assert_eq!(refused(&json!({"address": "127.0.0.1:port"})).await, words);
}

#[tokio::test]
async fn unresolved_names_are_reported() {
    let error_text = refused(&json!({"address": "no.such.host.invalid:9999", "dial_timeout": "300ms"})).await;
    // Without a reachable name server the failure is temporary.
    let known = error_text.ends_with("dial tcp: lookup no.such.host.invalid: no such host\"")
        || error_text.ends_with("dial tcp: lookup no.such.host.invalid: temporary failure in name resolution");
    assert!(known, "{error_text}");
}

#[tokio::test]
async fn a_server_fixed_within_the_dial_timeout_is_reached() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = Peer::new();
    let id = peer.connected_to(&json!({"address": address.to_string(), "dial_timeout": "10s"}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let (mut stranger, _) = listener.accept().await.unwrap();
    stranger.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    drop((stranger, listener));
    let mut server = ChaincodeProgram::start(address, None).await;
    let mut stream = server.register(&id).await;
    let call = stream.next().await;
    stream.complete(&call, 200, b"");
    executing.await.unwrap().unwrap();
}

async fn ready_payload(change: impl FnOnce(&mut ChaincodeConfig)) -> ChaincodeAdditionalParams {
    let peer = Peer::with(|_, config| change(config));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let (support, of) = (peer.support.clone(), id.clone());
    let launching = tokio::spawn(async move { support.launch(&of).await });
    let mut stream = server.accept().await;
    stream.register(&id);
    assert_eq!(stream.next().await.r#type(), Type::Registered);
    let ready = stream.next().await;
    assert_eq!(ready.r#type(), Type::Ready);
    launching.await.unwrap().unwrap();
    ChaincodeAdditionalParams::decode(ready.payload).unwrap()
}

#[tokio::test]
async fn ready_payload_depends_on_the_release() {
    let offered = ready_payload(|_| {}).await;
    assert!(offered.use_write_batch && offered.use_get_multiple_keys);
    assert_eq!((offered.max_size_write_batch, offered.max_size_get_multiple_keys), (1000, 1000));
    let offered = ready_payload(|config| config.release = Release::V2_5).await;
    assert_eq!(offered, ChaincodeAdditionalParams::default());
}

#[tokio::test]
async fn a_wrong_package_id_leads_to_the_startup_timeout() {
    let peer = Peer::with(|_, config| config.startup_timeout = Duration::from_millis(500));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut stream = server.accept().await;
    stream.register("other:1234");
    let error = executing.await.unwrap().unwrap_err();
    assert_eq!(
        error_text(error, &id, server.address),
        "failed to execute transaction tx1: could not launch chaincode ID: timeout expired while starting chaincode ID for transaction: the server at ADDRESS registered as \"other:1234\""
    );
    // The stream stays open but gets no answer, since it has registered.
    assert!(stream.next_within(Duration::from_millis(50)).await.is_none());

    // The next call dials again.
    let executing = peer.executing(&id, "tx2");
    let mut next = server.register(&id).await;
    let call = next.next().await;
    next.complete(&call, 200, b"");
    executing.await.unwrap().unwrap();
    peer.support.stop();
    stream.ended().await;
}

#[tokio::test]
async fn a_late_registration_serves_the_next_launch() {
    let peer = Peer::with(|_, config| config.startup_timeout = Duration::from_millis(500));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut late = server.accept().await;
    let error = executing.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("timeout expired while starting chaincode"), "{error}");

    let executing = peer.executing(&id, "tx2");
    // The peer dials again and uses the stream that registers first.
    let _silent = server.accept().await;
    late.register(&id);
    let call = loop {
        let message = late.next().await;
        if message.r#type() == Type::Transaction {
            break message;
        }
    };
    assert_eq!(call.txid, "tx2");
    late.complete(&call, 200, b"");
    executing.await.unwrap().unwrap();
}

#[tokio::test]
async fn concurrent_launches_report_a_failed_registration() {
    let peer = Peer::new();
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let id = peer.connected_to(&json!({"address": address.to_string(), "dial_timeout": "10s"}).to_string()).await;
    let first = {
        let (support, id) = (peer.support.clone(), id.clone());
        tokio::spawn(async move { support.launch(&id).await })
    };
    // The launch is under way. It fails once the second caller waits for it as well.
    let (stream, _) = listener.accept().await.unwrap();
    let (second, ()) = tokio::join!(biased; peer.execute(&id, "tx1"), async { drop((stream, listener)) });
    let second = error_text(second.unwrap_err(), &id, address);
    assert!(
        second.starts_with(
            "failed to execute transaction tx1: could not launch chaincode ID: chaincode registration failed: connection to ID failed: "
        ),
        "{second}"
    );
    let first = error_text(first.await.unwrap().unwrap_err(), &id, address);
    assert!(first.starts_with("could not launch chaincode ID: connection to ID failed: "), "{first}");
}

#[tokio::test]
async fn a_killed_server_ends_the_transaction_and_is_dialled_again() {
    let peer = Peer::new();
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut stream = server.register(&id).await;
    stream.next().await;
    let address = server.kill().await;
    drop(stream);
    let error = executing.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "failed to execute transaction tx1: error sending: chaincode stream terminated");

    let error = error_text(peer.execute(&id, "tx2").await.unwrap_err(), &id, address);
    assert!(error.ends_with("dial tcp ADDRESS: connect: connection refused\""), "{error}");

    let mut server = ChaincodeProgram::start(address, None).await;
    let executing = peer.executing(&id, "tx3");
    let mut stream = server.register(&id).await;
    let call = stream.next().await;
    stream.complete(&call, 200, b"back");
    assert_eq!(executing.await.unwrap().unwrap().response.payload, b"back");
}

#[tokio::test]
async fn a_server_restart_between_calls_is_transparent() {
    let peer = Peer::new();
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    for transaction in ["tx1", "tx2", "tx3"] {
        let executing = peer.executing(&id, transaction);
        let mut stream = server.register(&id).await;
        let call = stream.next().await;
        stream.complete(&call, 200, b"");
        executing.await.unwrap().unwrap();
        let mut events = peer.tracer.subscribe();
        let address = server.kill().await;
        drop(stream);
        server = ChaincodeProgram::start(address, None).await;
        super::peer::eventually("the peer noticed", || {
            events.drain().iter().any(|event| event.kind.to_string().contains(" end: "))
        })
        .await;
    }
}

/// As in Fabric, whose peers do not end a simulation because the client has gone.
#[tokio::test]
async fn a_transaction_goes_on_when_its_caller_goes_away() {
    let peer = Peer::with(|_, config| config.execute_timeout = Duration::from_secs(20));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut stream = server.register(&id).await;
    let call = stream.next().await;
    executing.abort();
    assert!(executing.await.unwrap_err().is_cancelled());
    let put = fabric_protos::protos::PutState { key: "k".to_owned(), ..Default::default() };
    assert_eq!(stream.ask(&call, Type::PutState, put).await.r#type(), Type::Response);
    stream.complete(&call, 200, b"late");
    let executing = peer.executing(&id, "tx2");
    let call = stream.next().await;
    stream.complete(&call, 200, b"done");
    executing.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_execute_timeout_fails_the_transaction_and_later_requests() {
    let peer = Peer::with(|_, config| config.execute_timeout = Duration::from_millis(300));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let executing = peer.executing(&id, "tx1");
    let mut stream = server.register(&id).await;
    let call = stream.next().await;
    let error = executing.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to execute transaction tx1: error sending: timeout expired while executing transaction"
    );
    let put = fabric_protos::protos::PutState { key: "k".to_owned(), ..Default::default() };
    let answer = stream.ask(&call, Type::PutState, put).await;
    assert_eq!(answer.r#type(), Type::Error);
    assert_eq!(super::server::text(&answer), "PUT_STATE failed: transaction ID: tx1: no ledger context");
    // A late answer is ignored.
    stream.complete(&call, 200, b"late");
    let executing = peer.executing(&id, "tx2");
    let call = stream.next().await;
    stream.complete(&call, 200, b"in time");
    assert_eq!(executing.await.unwrap().unwrap().response.payload, b"in time");
}

#[tokio::test]
async fn configured_keepalives_are_sent_and_need_no_answer() {
    let peer = Peer::with(|_, config| config.keepalive = Some(Duration::from_millis(50)));
    let mut server = ChaincodeProgram::plain().await;
    let id = peer.connected_to(&json!({"address": server.address.to_string()}).to_string()).await;
    let (support, of) = (peer.support.clone(), id.clone());
    let launching = tokio::spawn(async move { support.launch(&of).await });
    let mut stream = server.register(&id).await;
    launching.await.unwrap().unwrap();
    for _ in 0..3 {
        let keepalive = stream.next().await;
        assert_eq!(keepalive.r#type(), Type::Keepalive);
        assert_eq!(keepalive.encoded_len(), 2);
        stream.send(keepalive);
    }
}
