//! What a server says that cannot start.

use std::error::Error;
use std::path::{Path, PathBuf};

use chaincode_shim::{Config, Contract, Server, TlsFiles};

use super::certificates::{Ca, Files};
use super::support::config;

/// The error and its causes, with the test's directory left out.
async fn failure(config: Config, directory: &Path) -> String {
    let bound = Server::builder(Contract::new("Empty"), config).bind().await;
    let error = bound.err().expect("the server started");
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.replace(&format!("{}/", directory.display()), "")
}

#[tokio::test]
async fn every_mistake_in_a_file_is_named() {
    let files = Files::new();
    let ca = Ca::new("CA");
    let (certificate, key) = files.pair("server", &ca.issue("chaincode"));
    let (_, other_key) = files.pair("other", &ca.issue("other"));
    let (expired, expired_key) = files.pair("expired", &ca.issue_until("old", 2001));
    let garbage = files.write("garbage", "no PEM\n");
    let broken = files.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let absent = files.path().join("absent");
    let cases: [(&PathBuf, &PathBuf, Option<&PathBuf>, &str); 9] = [
        (&absent, &certificate, None, "cannot read absent (CHAINCODE_TLS_KEY): No such file"),
        (&key, &absent, None, "cannot read absent (CHAINCODE_TLS_CERT): No such file"),
        (&key, &certificate, Some(&absent), "cannot read absent (CHAINCODE_CLIENT_CA_CERT): No"),
        (&garbage, &certificate, None, "garbage (CHAINCODE_TLS_KEY) has no private key"),
        (&key, &garbage, None, "garbage (CHAINCODE_TLS_CERT) has no certificate in PEM form"),
        (&key, &certificate, Some(&garbage), "garbage (CHAINCODE_CLIENT_CA_CERT) has no cert"),
        (&key, &broken, None, "broken (CHAINCODE_TLS_CERT) cannot be used: "),
        (
            &other_key,
            &certificate,
            None,
            "the private key other.key (CHAINCODE_TLS_KEY) does not fit the certificate \
             server.crt (CHAINCODE_TLS_CERT)",
        ),
        (
            &expired_key,
            &expired,
            None,
            "the certificate expired.crt (CHAINCODE_TLS_CERT) expired on Jan  1 00:00:00 2001",
        ),
    ];
    for (key, certificate, client_ca, text) in cases {
        let tls = TlsFiles { key: key.clone(), certificate: certificate.clone(), client_ca: client_ca.cloned() };
        let error = failure(config().with_tls(tls), files.path()).await;
        assert!(error.starts_with(text), "expected {text:?}, saw {error:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    let address = taken.local_addr().unwrap();
    config.address = address.into();
    let error = failure(config, Path::new("/")).await;
    assert_eq!(error, format!("cannot listen on {address}: address already in use"));
}
