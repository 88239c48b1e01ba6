//! Tests of chaincode that a builder starts and that connects to the peer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_support_client::ChaincodeSupportClient;
use fabric_protos::protos::{ChaincodeId, ChaincodeMessage, Response};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::peer::{Peer, eventually, package, program};
use super::server::request;

/// A peer whose builder releases no connection.json and has this `run` program.
fn peer_with(run: &str, is_tls: bool) -> Peer {
    Peer::with(|builder, config| {
        program(builder, "release", "exit 0");
        if !run.is_empty() {
            program(builder, "run", run);
        }
        config.is_tls = is_tls;
        "127.0.0.1:0".clone_into(&mut config.chaincode_listen_address);
        "127.0.0.1:0".clone_into(&mut config.chaincode_address);
        "Org1MSP".clone_into(&mut config.msp_id);
    })
}

/// Reports its process ID and arguments to the test and keeps running.
const REPORT: &str = r#"echo "$$ $(stat -c %a "$2/chaincode.json")" > "$TMPDIR/report.new"
cp "$2/chaincode.json" "$TMPDIR/chaincode.json"; test -e "$1/code" && mv "$TMPDIR/report.new" "$TMPDIR/report"
exec sleep 300"#;

async fn installed(peer: &Peer) -> String {
    peer.install(&package("f1", &[("code", "")])).await.unwrap()
}

async fn chaincode_json(peer: &Peer) -> Value {
    eventually("run was called", || peer.path("tmp/report").exists()).await;
    serde_json::from_slice(&fs::read(peer.path("tmp/chaincode.json")).unwrap()).unwrap()
}

/// A chaincode that connected with the received credentials.
struct Chaincode {
    outgoing: mpsc::UnboundedSender<ChaincodeMessage>,
    incoming: Streaming<ChaincodeMessage>,
}

impl Chaincode {
    async fn connect(given: &Value, package_id: &str) -> Self {
        let text = |name: &str| given[name].as_str().unwrap().to_owned();
        let address = text("peer_address");
        let endpoint = if text("root_cert").is_empty() {
            Endpoint::from_shared(format!("http://{address}")).unwrap()
        } else {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(text("root_cert")))
                .identity(Identity::from_pem(text("client_cert"), text("client_key")));
            Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
        };
        let channel = endpoint.connect().await.unwrap();
        let (outgoing, messages) = mpsc::unbounded_channel();
        let id = ChaincodeId { name: package_id.to_owned(), ..ChaincodeId::default() };
        let payload = id.encode_to_vec().into();
        outgoing.send(ChaincodeMessage { r#type: Type::Register.into(), payload, ..Default::default() }).unwrap();
        let opened = ChaincodeSupportClient::new(channel).register(UnboundedReceiverStream::new(messages)).await;
        Self { outgoing, incoming: opened.unwrap().into_inner() }
    }

    async fn next(&mut self) -> ChaincodeMessage {
        let next = tokio::time::timeout(Duration::from_secs(10), self.incoming.message()).await;
        next.expect("the peer sent nothing").unwrap().expect("the peer ended the stream")
    }
}

#[tokio::test]
async fn chaincode_started_by_a_builder_executes() {
    for is_tls in [true, false] {
        let peer = peer_with(REPORT, is_tls);
        let id = installed(&peer).await;
        let executing = peer.executing(&id, "tx1");
        let given = chaincode_json(&peer).await;
        assert_eq!(given["chaincode_id"], id.as_str());
        assert_eq!(given["mspid"], "Org1MSP");
        assert_eq!(given["client_key"].as_str().unwrap().is_empty(), !is_tls);
        let mut chaincode = Chaincode::connect(&given, &id).await;
        assert_eq!(chaincode.next().await.r#type(), Type::Registered);
        assert_eq!(chaincode.next().await.r#type(), Type::Ready);
        let call = chaincode.next().await;
        assert_eq!(call.r#type(), Type::Transaction);
        let response = Response { status: 200, payload: b"ran".to_vec(), ..Response::default() };
        chaincode.outgoing.send(request(&call, Type::Completed, response.encode_to_vec())).unwrap();
        assert_eq!(executing.await.unwrap().unwrap().response, response);
        // The end of a stream ends its transactions.
        let executing = peer.executing(&id, "tx2");
        chaincode.next().await;
        drop(chaincode);
        let error = executing.await.unwrap().unwrap_err();
        assert_eq!(error.reason.to_string(), "error sending: chaincode stream terminated");
    }
}

#[tokio::test]
async fn certificates_are_bound_to_their_chaincode() {
    let peer = peer_with(REPORT, true);
    let id = installed(&peer).await;
    let _executing = peer.executing(&id, "tx1");
    let given = chaincode_json(&peer).await;
    let mut stranger = Chaincode::connect(&given, "other:1234").await;
    let status = stranger.incoming.message().await.unwrap_err();
    assert!(status.message().starts_with("Chaincode other:1234 with given certificate hash "), "{status}");
    assert!(status.message().ends_with(" belongs to a different chaincode"), "{status}");
}

#[tokio::test]
async fn run_failures_have_fabric_texts() {
    for (run, words) in [
        (
            "exit 3",
            "chaincode registration failed: failed to wait on container exit: builder 'test' run failed: exit status 3",
        ),
        ("exit 0", "chaincode registration failed: container exited with 0"),
        (
            "",
            "error starting container: error starting container: could not execute run: builder 'test' run failed to start: fork/exec BUILDER/bin/run: no such file or directory",
        ),
    ] {
        let peer = peer_with(run, true);
        let id = installed(&peer).await;
        let error = peer.execute(&id, "tx1").await.unwrap_err();
        let text = error.to_string().replace(&id, "ID");
        let text = text.replace(&peer.path("builder").display().to_string(), "BUILDER");
        assert_eq!(text, format!("failed to execute transaction tx1: could not launch chaincode ID: {words}"));
    }
}

#[tokio::test]
async fn a_run_without_registration_times_out() {
    let peer = Peer::with(|builder, config| {
        program(builder, "release", "exit 0");
        program(builder, "run", REPORT);
        config.startup_timeout = Duration::from_secs(4);
        "127.0.0.1:0".clone_into(&mut config.chaincode_listen_address);
    });
    let id = installed(&peer).await;
    let error = peer.execute(&id, "tx1").await.unwrap_err().to_string().replace(&id, "ID");
    assert_eq!(
        error,
        "failed to execute transaction tx1: could not launch chaincode ID: timeout expired while starting chaincode ID for transaction: the builder's run was started, but no chaincode has registered"
    );
    let report = fs::read_to_string(peer.path("tmp/report")).unwrap();
    let (pid, mode) = report.trim().split_once(' ').unwrap();
    assert_eq!(mode, "600");
    let process = PathBuf::from("/proc").join(pid);
    // It may still register and serve the next call.
    assert!(process.exists(), "the chaincode was ended");
    peer.support.stop();
    eventually("the chaincode is gone", || !process.exists()).await;
    let left: Vec<String> = peer.files("tmp").into_iter().filter(|name| name.starts_with("fabric-run")).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(fs::metadata(peer.path("tmp")).unwrap().permissions().mode() & 0o700, 0o700);
}

#[tokio::test]
async fn a_stopped_peer_lets_its_chaincode_exit() {
    let run = format!(
        "trap 'touch \"$TMPDIR/asked\"; exit 0' TERM\n{}",
        REPORT.replace("exec sleep 300", "while :; do sleep 0.05; done")
    );
    let peer = peer_with(&run, true);
    let id = installed(&peer).await;
    let _executing = peer.executing(&id, "tx1");
    chaincode_json(&peer).await;
    peer.support.stop();
    eventually("the chaincode was asked to end", || peer.path("tmp/asked").exists()).await;
}
