//! Errors of a server that cannot start.

use std::error::Error;
use std::path::{Path, PathBuf};

use chaincode_shim::{Config, Contract, Server, TlsFiles};

use super::certificates::{Ca, Files};
use super::support::config;

/// The error and its causes, without the test's directory.
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
async fn invalid_tls_files_are_named() {
    let files = Files::new();
    let ca = Ca::new("CA");
    let (certificate, key) = files.pair("server", &ca.issue("chaincode"));
    let (_, other_key) = files.pair("other", &ca.issue("other"));
    let (expired, expired_key) = files.pair("expired", &ca.issue_until("old", 2001));
    let garbage = files.write("garbage", "no PEM\n");
    let invalid = files.write("invalid.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let absent = files.path().join("absent");
    let cases: [(&PathBuf, &PathBuf, Option<&PathBuf>, &str); 9] = [
        (&absent, &certificate, None, "cannot read absent (CHAINCODE_TLS_KEY): No such file"),
        (&key, &absent, None, "cannot read absent (CHAINCODE_TLS_CERT): No such file"),
        (&key, &certificate, Some(&absent), "cannot read absent (CHAINCODE_CLIENT_CA_CERT): No"),
        (&garbage, &certificate, None, "garbage (CHAINCODE_TLS_KEY) contains no unencrypted private key in PEM format"),
        (&key, &garbage, None, "garbage (CHAINCODE_TLS_CERT) contains no certificate in PEM format"),
        (&key, &certificate, Some(&garbage), "garbage (CHAINCODE_CLIENT_CA_CERT) contains no cert"),
        (&key, &invalid, None, "invalid invalid.crt (CHAINCODE_TLS_CERT): "),
        (
            &other_key,
            &certificate,
            None,
            "the private key other.key (CHAINCODE_TLS_KEY) does not match the certificate \
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
        let mut tls = TlsFiles::new(key, certificate);
        tls.client_ca = client_ca.cloned();
        let error = failure(config().with_tls(tls), files.path()).await;
        assert!(error.starts_with(text), "expected {text:?}, got {error:?}");
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
