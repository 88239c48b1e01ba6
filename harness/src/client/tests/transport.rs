//! Connections that fail, each with its own cause in the error, and what counts as an answer.

use tokio::net::TcpSocket;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::client::{ClientError, Node, answers, connect};

fn serve(authority: &Authority) -> Endpoint {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = authority.endpoint(incoming.local_addr().unwrap());
    let server =
        Server::builder().tls_config(authority.server_tls()).unwrap().add_routes(tonic::service::Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    endpoint
}

/// An address on which nothing listens, and nobody else will while the socket is held.
fn closed_port(authority: &Authority) -> (Endpoint, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (authority.endpoint(socket.local_addr().unwrap()), socket)
}

#[tokio::test]
async fn a_failed_connection_names_the_endpoint_and_the_real_cause() {
    let authority = Authority::new();
    let good = serve(&authority);
    let (refused, _held) = closed_port(&authority);
    let other_name = Endpoint { server_name: "other.example.com".to_owned(), ..good.clone() };
    let other_root = Endpoint { tls_ca_pem: Authority::new().pem, ..good.clone() };
    let no_root = Endpoint { tls_ca_pem: String::new(), ..good.clone() };
    let no_uri = Endpoint { uri: "https://[".to_owned(), ..good.clone() };
    let cases = [
        (refused, "Connection refused"),
        (other_name, "certificate not valid for name \"other.example.com\""),
        (other_root, "invalid peer certificate"),
        (no_root, "no `BEGIN CERTIFICATE` found"),
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
    let node = Node::connect("node", &serve(&authority), None).await.unwrap();
    answers(&node, soon()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_went_away_does_not_answer() {
    let authority = Authority::new();
    // A runtime of its own, so that its end is the end of every connection.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoint = {
        let _inside = runtime.enter();
        serve(&authority)
    };
    let node = Node::connect("node", &endpoint, None).await.unwrap();
    runtime.shutdown_background();
    let error = answers(&node, soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }), "{error}");
}
