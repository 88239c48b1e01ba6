//! Peers and chaincode servers that are only TLS, and a tap between them.

use super::*;
use crate::runtime::embedded::EmbeddedRuntime;
use crate::runtime::{Runtime, RuntimeOptions};
use fabric_network::identity::Validity;
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_message::Type;
use prost::Message as _;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PEER: &str = "peer0.org1.example.com";

async fn bundle() -> Bundle {
    let parent = tempfile::tempdir().unwrap();
    let options = RuntimeOptions { parent: parent.path().to_owned(), ..RuntimeOptions::new("/bin/true") };
    let runtime = EmbeddedRuntime::new(options, Release::default());
    let topology = Topology::solo();
    let placed = runtime
        .place(&topology, &[crate::runtime::ServerRequest::new("cc", &crate::server::ServerSource::default())])
        .await
        .unwrap();
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(1));
    render(&topology, &placed.placement, &RenderOptions::new(Release::default(), validity)).unwrap()
}

/// Sends back, once, what it gets; and records who connected.
async fn server(bundle: &Bundle, mutual: bool) -> (SocketAddr, tokio::task::JoinHandle<Option<Vec<u8>>>) {
    let owner = &bundle.identities.peer_organizations[0];
    let mut roots = RootCertStore::empty();
    trust(&mut roots, &owner.tls_ca_pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let (chain, key) = pair(&owner.chaincode_server).unwrap();
    let builder = if mutual { builder.with_client_cert_verifier(verifier) } else { builder.with_no_client_auth() };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).await.ok()?;
        // A server begins with settings, not with the preface.
        stream.write_all(&bytes[24..length]).await.ok()?;
        stream.shutdown().await.ok()?;
        Some(shown)
    });
    (address, served)
}

fn tap(bundle: &Bundle, server: SocketAddr) -> (Tap, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place { chaincode: "cc".to_owned(), listener, server };
    (Tap::begin(place, bundle).unwrap(), address)
}

/// What a peer gets for what it sends, with this certificate.
async fn ask(
    bundle: &Bundle,
    identity: Option<&TlsPair>,
    address: SocketAddr,
    bytes: &[u8],
) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    trust(&mut roots, &bundle.identities.peer_organizations[0].tls_ca_pem).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity.map(pair) {
        Some(identity) => {
            let (chain, key) = identity.unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN));
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn client_of(bundle: &Bundle) -> &TlsPair {
    bundle.identities.peer_organizations[0].nodes[PEER].chaincode_client.as_ref().unwrap()
}

/// The preface, and a message in a DATA frame of stream 1.
fn speech() -> Vec<u8> {
    let message = ChaincodeMessage { r#type: Type::Ready.into(), txid: "t1".to_owned(), ..ChaincodeMessage::default() };
    let body = message.encode_to_vec();
    let length = u8::try_from(body.len()).unwrap();
    let frame = [&[0, 0, length + 5, 0, 0, 0, 0, 0, 1][..], &[0, 0, 0, 0, length], &body].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame].concat()
}

fn recorded(tap: &Tap) -> Vec<String> {
    let messages = tap.journal().messages();
    messages.iter().map(|m| format!("{} > {}: {} {}", m.from.name, m.to.name, m.kind, m.transaction)).collect()
}

#[tokio::test]
async fn the_server_sees_the_peers_own_certificate_and_every_byte_passes() {
    let bundle = bundle().await;
    let (address, served) = server(&bundle, true).await;
    let (tap, address) = tap(&bundle, address);
    let answer = ask(&bundle, Some(client_of(&bundle)), address, &speech()).await.unwrap();
    assert_eq!(answer, speech()[24..]);
    let (own, _) = pair(client_of(&bundle)).unwrap();
    assert_eq!(served.await.unwrap().as_deref(), Some(&*own[0]));
    let recorded = recorded(&tap);
    let passed = [format!("{PEER} > cc: connect "), format!("{PEER} > cc: READY t1"), format!("cc > {PEER}: READY t1")];
    assert_eq!(recorded[..3], passed);
}

#[tokio::test]
async fn a_peer_without_a_certificate_gets_only_what_the_server_gives_it() {
    let bundle = bundle().await;
    let (address, served) = server(&bundle, true).await;
    let (tap, address) = tap(&bundle, address);
    let refused = ask(&bundle, None, address, &speech()).await;
    assert!(refused.as_ref().map_or(true, Vec::is_empty), "{refused:?}");
    assert_eq!(served.await.unwrap(), None);
    assert!(
        !recorded(&tap).iter().any(|line| line.starts_with("cc >") && line.contains("READY")),
        "{:?}",
        recorded(&tap)
    );

    let (address, _served) = server(&bundle, false).await;
    let (_tap, address) = self::tap(&bundle, address);
    assert_eq!(ask(&bundle, None, address, &speech()).await.unwrap(), speech()[24..]);
}

#[tokio::test]
async fn a_strangers_certificate_is_refused_before_the_server_hears_of_it() {
    let (bundle, other) = (bundle().await, bundle().await);
    let (address, served) = server(&bundle, true).await;
    let (tap, address) = tap(&bundle, address);
    let refused = ask(&bundle, Some(client_of(&other)), address, &speech()).await;
    assert!(refused.as_ref().map_or(true, Vec::is_empty), "{refused:?}");
    assert_eq!(served.await.unwrap(), None);
    // Of its own network, but no peer's client certificate towards chaincode.
    let (address, _served) = server(&bundle, true).await;
    let (_tap, address) = self::tap(&bundle, address);
    let node = &bundle.identities.peer_organizations[0].nodes[PEER];
    let refused = ask(&bundle, Some(&node.tls), address, &speech()).await;
    assert!(refused.as_ref().map_or(true, Vec::is_empty), "{refused:?}");
    drop(tap);
}

#[tokio::test]
async fn without_tls_bytes_pass_as_well_and_a_server_that_is_gone_is_reported() {
    let bundle = bundle().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tap, address) = tap(&bundle, listener.local_addr().unwrap());
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(&speech()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut bytes = vec![0; speech().len()];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, speech());
    drop(server);
    assert_eq!(peer.read(&mut bytes).await.unwrap(), 0);
    assert_eq!(recorded(&tap)[..2], [format!("{PEER} > cc: connect "), format!("{PEER} > cc: READY t1")]);

    drop(listener);
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(&speech()).await.unwrap();
    assert!(peer.read(&mut bytes).await.map_or(true, |length| length == 0));
    assert!(recorded(&tap).contains(&format!("cc > {PEER}: connection failed ")), "{:?}", recorded(&tap));
}
