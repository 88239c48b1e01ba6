//! Certificate renewal, health and tracing spans.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaincode_shim::mock::MockLedger;
use chaincode_shim::{Contract, Error, Stub, TlsFiles};
use fabric_protos::protos::chaincode_message::Type;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing_subscriber::fmt::format::FmtSpan;

use super::certificates::{Ca, Files};
use super::peer::{Dial, Peer, dial};
use super::support::{config, start};

#[tokio::test]
async fn valid_renewed_certificates_are_used() {
    let files = Files::new();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let (certificate, key) = files.pair("server", &old.issue("chaincode"));
    let server = start(config().with_tls(TlsFiles::new(key, certificate))).await;
    let trusting = |ca: &'static str| Dial { ca: Some(ca), ..Dial::default() };
    let (old_pem, new_pem): (&'static str, &'static str) = (old.pem.clone().leak(), new.pem.clone().leak());
    let mut before = Peer::connect(server.address, trusting(old_pem)).await.unwrap();

    let renewed = new.issue("chaincode");
    files.write("server.key", &renewed.key);
    // The key is new, but the certificate is not: the previous files stay in use.
    Peer::connect(server.address, trusting(old_pem)).await.unwrap();

    files.write("server.crt", &renewed.certificate);
    let mut after = Peer::connect(server.address, trusting(new_pem)).await.unwrap();
    assert!(Peer::connect(server.address, trusting(old_pem)).await.is_err(), "the old certificate is still in use");
    for peer in [&mut before, &mut after] {
        assert_eq!(peer.invoke(&["Get", "k"]).await.text(), "");
    }
}

#[tokio::test]
async fn peers_of_a_removed_ca_are_rejected() {
    let files = Files::new();
    let (ca, first, second) = (Ca::new("CA"), Ca::new("first"), Ca::new("second"));
    let (certificate, key) = files.pair("server", &ca.issue("chaincode"));
    let tls = TlsFiles::new(key, certificate).with_client_ca(files.write("peers.crt", &first.pem));
    let server = start(config().with_tls(tls)).await;
    let pair = first.issue("peer0");
    let how = || Dial { ca: Some(&ca.pem), client: Some(&pair), versions: None };
    Peer::connect(server.address, how()).await.unwrap();
    files.write("peers.crt", &format!("{}\n", second.pem));
    assert!(Peer::connect(server.address, how()).await.is_err(), "the first CA is still trusted");
}

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

fn status(response: HealthCheckResponse) -> ServingStatus {
    response.status()
}

#[tokio::test]
async fn health_is_reported_until_the_server_stops() {
    let mut server = start(config()).await;
    let mut client = HealthClient::new(dial(server.address, Dial::default()).await.unwrap());
    for service in ["", "protos.Chaincode"] {
        let answer = client.check(request(service)).await.unwrap();
        assert_eq!(status(answer.into_inner()), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client.check(request("protos.Endorser")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let mut watched = client.watch(request("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().map(status), Some(ServingStatus::Serving));
    let mut peer = Peer::connect(server.address, Dial::default()).await.unwrap();
    peer.begin(Type::Transaction, &["Wait"]);
    server.gates.entered.notified().await;
    server.stop();
    let update = tokio::time::timeout(Duration::from_secs(10), watched.message()).await;
    let update = update.expect("timed out waiting for a status").unwrap();
    assert_eq!(update.map(status), Some(ServingStatus::NotServing));
    server.gates.leave.add_permits(1);
    assert_eq!(peer.serve(1).await[0].1.response.status, 200);
    server.ended().await.unwrap();
}

/// The log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn events_of_a_transaction_are_in_its_span() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let contract = Contract::new("Test")
        .submit("Log", |_: Stub| async {
            tracing::info!("from the function");
            Ok::<_, Error>(())
        })
        .submit("Panic", |stub: Stub| async move {
            assert!(stub.args().is_empty(), "as requested");
            Ok::<_, Error>(())
        });
    let mut ledger = MockLedger::new(contract);
    let tx_id = ledger.evaluate(["Log"]).await.tx_id;
    ledger.evaluate(["Panic"]).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let span = format!("transaction{{txid=\"{}\" channel=\"mychannel\" function=\"Log\"}}", &tx_id[..8]);
    let line = |end: &str| text.lines().any(|line| line.contains(&span) && line.contains(end));
    assert!(line("from the function"), "{text}");
    assert!(line("close"), "{text}");
    let panicked = text.lines().find(|line| line.contains("the chaincode panicked")).unwrap_or_default();
    assert!(panicked.contains("function=\"Panic\"") && panicked.contains("as requested"), "{text}");
}
