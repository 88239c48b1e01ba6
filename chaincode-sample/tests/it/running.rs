//! Start, TLS, signals and exit codes.

use fabric_protos::protos::chaincode_message::Type;
use rustix::process::Signal;

use super::certificates::{Ca, Files};
use super::peer::{Dial, Peer};
use super::program::{Program, command, serving, serving_conformance, serving_tls};

#[tokio::test]
async fn mutual_tls_from_the_environment() {
    let (server_ca, peers_ca) = (Ca::new("chaincode"), Ca::new("peers"));
    let files = Files::new();
    files.pair("server", &server_ca.issue("chaincode"));
    files.write("ca.crt", &peers_ca.pem);
    let mut program = Program::start(serving_tls(files.path())).await;
    let known = peers_ca.issue("peer0");
    let dial = |client| Dial { ca: Some(&server_ca.pem), client, versions: None };
    let mut peer = Peer::connect(program.address, dial(Some(&known))).await.unwrap();
    assert_eq!(peer.chaincode_id, "basic:1");
    assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.text(), "false");

    let refused = Peer::connect(program.address, dial(None)).await;
    assert!(refused.is_err(), "accepted without a certificate");
    // The peer's log does not contain the reason.
    let line = program.log_line("TLS handshake failed").await;
    assert!(line.contains("peer sent no certificates"), "{line}");
}

#[tokio::test]
async fn tls_without_client_certificates() {
    let ca = Ca::new("chaincode");
    let files = Files::new();
    files.pair("server", &ca.issue("chaincode"));
    let program = Program::start(serving_tls(files.path())).await;
    let dial = Dial { ca: Some(&ca.pem), ..Dial::default() };
    let mut peer = Peer::connect(program.address, dial).await.unwrap();
    assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.text(), "false");
    assert!(Peer::connect(program.address, Dial::default()).await.is_err());
}

#[tokio::test]
async fn signals_stop_the_program_while_a_peer_is_connected() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(serving()).await;
        let mut peer = Peer::connect(program.address, Dial::default()).await.unwrap();
        assert_eq!(peer.invoke(&["AssetExists", "a1"]).await.text(), "false");
        let status = program.end(signal).await;
        assert_eq!(status.code(), Some(0), "{signal:?}");
        peer.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_function_that_blocks_its_thread_does_not_delay_the_exit() {
    let mut program = Program::start(serving_conformance()).await;
    let mut peer = Peer::connect(program.address, Dial::default()).await.unwrap();
    let txid = peer.begin(Type::Transaction, &["Block", "1000"]);
    let request = peer.receive().await.unwrap();
    assert_eq!(request.r#type(), Type::GetState);
    // The transaction has started, so it continues after the signal, and blocks.
    peer.send(Type::Response, &txid, b"");
    program.signal(Signal::TERM);
    program.log_line("a transaction blocks the server's thread").await;
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn flags_override_the_environment() {
    let mut command = serving();
    command.args(["--chaincode-id", "other:2", "--address", "localhost:0"]);
    let program = Program::start(command).await;
    let peer = Peer::connect(program.address, Dial::default()).await.unwrap();
    assert_eq!(peer.chaincode_id, "other:2");
}

/// Environment, exit code, what stderr contains.
type Case<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);

#[tokio::test]
async fn errors_at_start_are_printed_with_an_exit_code() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let cases: [Case<'_>; 6] = [
        (&[], 2, "error: CHAINCODE_ID is not set"),
        (&[("CHAINCODE_ID", "a:1")], 2, "error: CHAINCODE_SERVER_ADDRESS is not set"),
        (
            &[("CHAINCODE_ID", "a:1"), ("CHAINCODE_SERVER_ADDRESS", "9999")],
            2,
            "error: invalid CHAINCODE_SERVER_ADDRESS: \"9999\" is not a listen address: the port is missing",
        ),
        (
            &[("CHAINCODE_ID", "a:1"), ("CHAINCODE_SERVER_ADDRESS", ":0"), ("CHAINCODE_TLS_DISABLED", "no")],
            2,
            "error: invalid CHAINCODE_TLS_DISABLED: expected true or false, got \"no\"",
        ),
        (
            &[
                ("CHAINCODE_ID", "a:1"),
                ("CHAINCODE_SERVER_ADDRESS", ":0"),
                ("CHAINCODE_TLS_DISABLED", "false"),
                ("CHAINCODE_TLS_KEY", "/absent/server.key"),
                ("CHAINCODE_TLS_CERT", "/absent/server.crt"),
            ],
            1,
            "error: cannot read /absent/server.crt (CHAINCODE_TLS_CERT): No such file",
        ),
        (&[("CHAINCODE_ID", "a:1"), ("CHAINCODE_SERVER_ADDRESS", &taken)], 1, "address already in use"),
    ];
    for (environment, code, text) in cases {
        let output = command().envs(environment.iter().copied()).output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(text), "{environment:?}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{environment:?}: {stderr}");
    }
}
