//! The operations service, as monitoring tools use it.

use std::sync::Arc;

use fabric_network::identity::TlsPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;

/// The status and body of a response to a client with or without a certificate.
async fn ask(running: &Running, node: &str, method: &str, path: &str, client: Option<&TlsPair>) -> (u16, String) {
    let spec = running.bundle.nodes.iter().find(|spec| spec.name == node).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for organization in
        running.bundle.identities.peer_organizations.iter().chain([&running.bundle.identities.orderer_organization])
    {
        roots.add(CertificateDer::from_pem_slice(organization.tls_ca_pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = match client {
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_pem().as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let address = (spec.placement.bind, spec.placement.ports.operations);
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(node.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A response may end without TLS's close_notify.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn every_node_serves_health_and_version() {
    let running = Running::new(&Topology::solo(), Options::default());
    for node in ["orderer.example.com", "peer0.org1.example.com"] {
        let (status, health) = ask(&running, node, "GET", "/healthz", None).await;
        assert!(status == 200 && health.starts_with(r#"{"status":"OK","time":"20"#), "{status} {health}");
        let version = ask(&running, node, "GET", "/version", None).await;
        assert_eq!(version, (200, r#"{"CommitSHA":"","Version":"v3.1"}"#.to_owned()));
        assert_eq!(ask(&running, node, "POST", "/healthz", None).await.0, 405);
        assert_eq!(ask(&running, node, "GET", "/", None).await.0, 404);
        // Metrics are disabled in rendered configurations.
        assert_eq!(ask(&running, node, "GET", "/metrics", None).await.0, 404);
    }
}

#[tokio::test]
async fn metrics_need_a_setting_and_a_client_certificate() {
    let topology = Topology::solo();
    let running = Running::changed(&topology, Options::default(), |bundle| {
        for (path, file) in &mut bundle.files {
            if path.ends_with("core.yaml") || path.ends_with("orderer.yaml") {
                let text = String::from_utf8(file.bytes.clone()).unwrap();
                assert!(text.contains("rovider: disabled"), "{}", path.display());
                file.bytes = text.replace("rovider: disabled", "rovider: prometheus").into_bytes();
            }
        }
    });
    running.join_orderers(1);
    running.network.nodes().peers()[0].join(CHANNEL, genesis(&running.bundle)).unwrap();
    let identities = &running.bundle.identities;
    let organizations = [&identities.orderer_organization, &identities.peer_organizations[0]];
    for (node, organization) in ["orderer.example.com", "peer0.org1.example.com"].into_iter().zip(organizations) {
        assert_eq!(ask(&running, node, "GET", "/metrics", None).await.0, 401);
        let (status, metrics) = ask(&running, node, "GET", "/metrics", Some(&organization.admin_tls)).await;
        assert_eq!(status, 200);
        let height = "ledger_blockchain_height{channel=\"mychannel\"} 1";
        assert!(metrics.lines().any(|line| line == height), "{metrics}");
    }
}
