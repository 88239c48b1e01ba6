//! Connections that fail, each with its own cause in the error, and what counts as an answer.

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::client::{ClientError, answers, connect, connect_when_ready};

fn serve(authority: &Authority) -> Endpoint {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = authority.endpoint(incoming.local_addr().unwrap());
    let server =
        Server::builder().tls_config(authority.server_tls()).unwrap().add_routes(tonic::service::Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    endpoint
}

/// An address on which nothing listens.
async fn closed_port(authority: &Authority) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    authority.endpoint(listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_failed_connection_names_the_endpoint_and_the_real_cause() {
    let authority = Authority::new();
    let good = serve(&authority);
    let refused = closed_port(&authority).await;
    let other_name = Endpoint { server_name: "other.example.com".to_owned(), ..good.clone() };
    let other_root = Endpoint { tls_ca_pem: Authority::new().pem, ..good.clone() };
    let no_root = Endpoint { tls_ca_pem: String::new(), ..good.clone() };
    let no_uri = Endpoint { uri: "https://[".to_owned(), ..good.clone() };
    let cases = [
        (refused, "Connection refused"),
        (other_name, "certificate not valid for name \"other.example.com\""),
        (other_root, "invalid peer certificate"),
        (no_root, "there is no `BEGIN CERTIFICATE` in it"),
        (no_uri, "invalid authority"),
    ];
    for (endpoint, cause) in cases {
        let error = connect(&endpoint, None).await.unwrap_err().to_string();
        let start = format!("cannot connect to {} (expecting a certificate for", endpoint.uri);
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains(cause), "expected {cause:?} in {error:?}");
        assert!(!error.contains("transport error"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_any_service_answers() {
    let authority = Authority::new();
    let node = connect_when_ready("node", &serve(&authority), None, soon()).await.unwrap();
    answers(&node, soon()).await.unwrap();
}

#[tokio::test]
async fn a_port_that_accepts_and_says_nothing_does_not_answer() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = authority.endpoint(listener.local_addr().unwrap());
    let started = Instant::now();
    let deadline = started + Duration::from_millis(100);
    let error = connect_when_ready("node", &endpoint, None, deadline).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "the deadline did not hold: {:?}", started.elapsed());
}

#[tokio::test]
async fn waiting_ends_with_what_the_last_attempt_saw() {
    let endpoint = closed_port(&Authority::new()).await;
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = connect_when_ready("node", &endpoint, None, deadline).await.unwrap_err().to_string();
    assert!(error.contains("no answer from node within"), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}
