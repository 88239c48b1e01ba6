//! An orderer's admin endpoint that answers with a given text, over mutual TLS.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::transport::root_certificates;
use crate::client::{ClientError, Participation};

/// An answer with a body.
fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers one request with `answer`, and returns the request.
async fn serve(authority: &Authority, answer: String) -> (Endpoint, tokio::task::JoinHandle<Option<String>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(root_certificates(&authority.pem).unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
    let pair = authority.pair();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = authority.endpoint(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.ok()?;
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.ok()?;
        let mut request = String::new();
        while !is_whole(&request) {
            let mut part = [0; 4096];
            let read = tls.read(&mut part).await.ok()?;
            request.push_str(std::str::from_utf8(&part[..read]).ok()?);
        }
        tls.write_all(answer.as_bytes()).await.ok()?;
        tls.shutdown().await.ok()?;
        Some(request)
    });
    (endpoint, serving)
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

async fn client(authority: &Authority, answer: String) -> Participation {
    let (endpoint, _) = serve(authority, answer).await;
    Participation::new("orderer", &endpoint, &authority.pair()).unwrap()
}

#[tokio::test]
async fn a_join_posts_the_block_and_reads_the_channel() {
    let authority = Authority::new();
    let body = r#"{"name":"c1","url":"u","consensusRelation":"consenter","status":"active","height":1}"#;
    let answer = answer("201 Created", body);
    let (endpoint, serving) = serve(&authority, answer).await;
    let orderer = Participation::new("orderer", &endpoint, &authority.pair()).unwrap();
    let joined = orderer.join(b"the block", soon()).await.unwrap();
    assert_eq!((joined.name.as_str(), joined.consensus_relation.as_str(), joined.height), ("c1", "consenter", 1));
    let request = serving.await.unwrap().unwrap();
    assert!(request.starts_with("POST /participation/v1/channels HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("multipart/form-data; boundary="), "{request}");
}

#[tokio::test]
async fn a_refusal_carries_the_orderers_words() {
    let authority = Authority::new();
    let answer = answer("405 Method Not Allowed", r#"{"error":"cannot join: channel already exists"}"#);
    let error = client(&authority, answer).await.join(b"", soon()).await.unwrap_err();
    let expected = "join the orderer to the channel: orderer answered with HTTP status 405: \
        cannot join: channel already exists";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_channel_that_the_orderer_does_not_know_is_none() {
    let authority = Authority::new();
    let answer = answer("404 Not Found", "{}");
    assert_eq!(client(&authority, answer).await.channel("c1", soon()).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_too_long_is_malformed() {
    let authority = Authority::new();
    let cases = [("hello".to_owned(), "expected value"), ("x".repeat(1024 * 1024 + 1), "length limit exceeded")];
    for (body, cause) in cases {
        let error = client(&authority, answer("200 OK", &body)).await.channels(soon()).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_refused_and_the_error_reports_it() {
    let authority = Authority::new();
    let (endpoint, _) = serve(&authority, String::new()).await;
    let stranger = Authority::new().pair();
    let orderer = Participation::new("orderer", &endpoint, &stranger).unwrap();
    let error = orderer.channels(soon()).await.unwrap_err().to_string();
    assert!(error.contains("received fatal alert"), "{error}");
}
