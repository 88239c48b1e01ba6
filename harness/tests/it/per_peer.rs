//! One package, and a chaincode server for each peer: who shows which certificate to whom, and that each
//! certificate can be replaced while the package stays.
//!
//! `CCAAS_BUILDER` is a program that `cargo xtask test` builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::client::{ClientError, Definition, Installation, Invocation, PeerClient};
use fabric_harness::console::timeline::Timeline;
use fabric_harness::deploy::{Administration, Package};
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{Running, Runtime, RuntimeOptions};
use fabric_network::bundle::Bundle;
use fabric_network::chaincode::{ChaincodeOptions, ChaincodeTls};
use fabric_network::identity::{NodeIdentity, TlsPair, Validity};
use fabric_network::node::NodeKind;
use fabric_network::placement::ServerPlacement;
use fabric_network::release::Release;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use fabric_protos::prost::Message as _;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_server::{Chaincode, ChaincodeServer};
use fabric_protos::protos::{ChaincodeId, ChaincodeMessage, Response as ChaincodeResponse};
use futures::Stream;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

const TIMEOUT: Duration = Duration::from_secs(30);
const CHAINCODE: &str = "basic";

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + TIMEOUT
}

type Seen = Arc<Mutex<BTreeSet<Vec<u8>>>>;

/// A chaincode that answers every call with its name, and notes the certificate of whoever opens a
/// stream.
struct Answering {
    name: String,
    package_id: String,
    seen: Seen,
    /// Fails when the server ends.
    running: watch::Receiver<()>,
}

#[tonic::async_trait]
impl Chaincode for Answering {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let certificates = request.peer_certs().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.seen.lock().unwrap().insert(certificates[0].to_vec());
        let (outgoing, answers) = mpsc::unbounded_channel();
        let id = ChaincodeId { name: self.package_id.clone(), ..ChaincodeId::default() };
        let register = ChaincodeMessage {
            r#type: Type::Register.into(),
            payload: id.encode_to_vec().into(),
            ..ChaincodeMessage::default()
        };
        outgoing.send(Ok(register)).unwrap();
        let (mut incoming, name) = (request.into_inner(), self.name.clone());
        let mut running = self.running.clone();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = incoming.message() => message,
                    _ = running.changed() => return,
                };
                let Ok(Some(message)) = message else { return };
                if message.r#type() == Type::Transaction {
                    let response =
                        ChaincodeResponse { status: 200, payload: name.clone().into(), ..ChaincodeResponse::default() };
                    let completed = ChaincodeMessage {
                        r#type: Type::Completed.into(),
                        payload: response.encode_to_vec().into(),
                        ..message
                    };
                    let _ = outgoing.send(Ok(completed));
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))))
    }
}

/// A server of it. It ends when dropped, with its connections.
struct Answerer {
    seen: Seen,
    _running: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Answerer {
    fn serve(listener: TcpListener, name: &str, package_id: &str, pair: &TlsPair, client_ca: &str) -> Self {
        let seen = Seen::default();
        let (sender, running) = watch::channel(());
        let (name, package_id) = (name.to_owned(), package_id.to_owned());
        let chaincode = Answering { name, package_id, seen: Arc::clone(&seen), running };
        let identity = Identity::from_pem(&pair.certificate_pem, pair.private_key_pem.as_pem());
        let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(client_ca));
        let server = Server::builder().tls_config(tls).unwrap().add_service(ChaincodeServer::new(chaincode));
        let task = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { seen, _running: sender, task }
    }

    fn seen(&self) -> BTreeSet<Vec<u8>> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends it and its connections, so that the address is free.
    async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn der(certificate_pem: &str) -> Vec<u8> {
    let text: String = certificate_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn runtime_options() -> RuntimeOptions {
    RuntimeOptions::new(std::env::var_os("CCAAS_BUILDER").expect("CCAAS_BUILDER is not set"))
}

fn embedded() -> EmbeddedRuntime {
    EmbeddedRuntime::new(runtime_options(), Release::default())
}

async fn fabric() -> ProcessRuntime {
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    ProcessRuntime::find(runtime_options(), directory.as_deref()).await.unwrap()
}

/// A network whose chaincode is committed, with a server for each peer.
struct Deployed {
    running: Running,
    bundle: Bundle,
    package: Package,
    servers: BTreeMap<String, (SocketAddr, Answerer)>,
    peers: Vec<PeerClient>,
    channel: String,
}

/// The package holds neither address, certificate nor key.
fn make_package() -> Package {
    let connection = Connection {
        address: "set-by-the-peer:9999".to_owned(),
        tls_required: true,
        client_auth_required: true,
        ..Connection::default()
    };
    let label = format!("{CHAINCODE}_1.0");
    let extra_files = BTreeMap::new();
    let content = package::Package { label: label.clone(), kind: "ccaas".to_owned(), connection, extra_files };
    let bytes = content.to_bytes().unwrap();
    Package { id: package_id(&label, &bytes), bytes, connection: String::new(), organization: None }
}

async fn deploy(runtime: &dyn Runtime, topology: Topology) -> Deployed {
    let placed = runtime.place(&topology, &[]).await.unwrap();
    let package = make_package();
    let mut listeners = BTreeMap::new();
    for peer in topology.nodes().filter(|node| node.kind == NodeKind::Peer) {
        listeners.insert(peer.name, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    }
    let addresses = listeners.iter().map(|(peer, listener)| {
        let place = ServerPlacement {
            host: "127.0.0.1".to_owned(),
            bind: Ipv4Addr::LOCALHOST.into(),
            port: listener.local_addr().unwrap().port(),
            extra_sans: Vec::new(),
            directory: "/nowhere".into(),
        };
        (peer.clone(), place)
    });
    let servers = addresses.collect();
    let chaincode = ChaincodeOptions { package_id: package.id.clone(), tls: ChaincodeTls::Mutual, servers };
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
    let options = RenderOptions { chaincode: Some(chaincode), ..RenderOptions::new(runtime.release(), validity) };
    let bundle = render(&topology, &placed.placement, &options).unwrap();

    let mut servers = BTreeMap::new();
    for organization in &bundle.identities.peer_organizations {
        for (peer, identity) in &organization.nodes {
            let listener = listeners.remove(peer).unwrap();
            let address = listener.local_addr().unwrap();
            let pair = identity.chaincode_server.as_ref().unwrap();
            let server = Answerer::serve(listener, peer, &package.id, pair, &organization.tls_ca_pem);
            servers.insert(peer.clone(), (address, server));
        }
    }
    let running = placed.start(&bundle, &[]).await.unwrap();
    let administration = Administration::connect(&topology, &bundle, running.nodes(), TIMEOUT).await.unwrap();
    let channel = &topology.channels[0];
    let definition = Definition::new(CHAINCODE, "1.0");
    administration.join_and_install(&topology, &bundle, &package, &Timeline::begin(true)).await.unwrap();
    administration.approve(channel, &definition, &package).await.unwrap();
    administration.commit(channel, &definition).await.unwrap();
    let peers = administration.channel_peers(channel).cloned().collect();
    Deployed { running, bundle, package, servers, peers, channel: channel.name.clone() }
}

impl Deployed {
    /// What the peer's own server answers to it. A peer may notice only by a call that its server was
    /// replaced, and signals that caller.
    async fn ask(&self, peer: &PeerClient) -> Result<String, ClientError> {
        let deadline = deadline();
        loop {
            match self.ask_once(peer).await {
                Err(ClientError::Rejected { message, .. })
                    if message.contains("chaincode stream terminated") && tokio::time::Instant::now() < deadline => {}
                answer => return answer,
            }
        }
    }

    async fn ask_once(&self, peer: &PeerClient) -> Result<String, ClientError> {
        let proposal = Invocation::new(&self.channel, CHAINCODE, "Who").propose(peer.signer()).unwrap();
        let answer = peer.process_proposal("ask", &proposal, deadline()).await?;
        Ok(String::from_utf8(answer.response.unwrap().payload).unwrap())
    }

    fn identity(&self, peer: &str) -> &NodeIdentity {
        let mut organizations = self.bundle.identities.peer_organizations.iter();
        organizations.find_map(|organization| organization.nodes.get(peer)).unwrap()
    }

    async fn each_server_sees_its_own_peer_alone(self) {
        let mut ids = BTreeSet::new();
        for peer in &self.peers {
            assert_eq!(self.ask(peer).await.unwrap_or_else(|error| panic!("{error}")), peer.name());
            ids.extend(peer.query_installed(deadline()).await.unwrap().into_iter().map(|found| found.package_id));
        }
        assert_eq!(ids, BTreeSet::from([self.package.id.clone()]), "one package for all");
        let mut all = BTreeSet::new();
        for (peer, (_, server)) in &self.servers {
            let own = der(&self.identity(peer).chaincode_client.as_ref().unwrap().certificate_pem);
            assert_eq!(server.seen(), BTreeSet::from([own.clone()]), "what the server of {peer} saw");
            assert!(all.insert(own), "two peers show one certificate");
        }
        assert_eq!(all.len(), 4);
        self.running.stop().await.unwrap();
    }

    /// A file of a peer's own directory.
    fn file(&self, peer: &str, path: &str) -> PathBuf {
        self.running.directory().join("nodes").join(peer).join(path)
    }

    /// Has the peer build the package again, as in docs/operators.md.
    async fn build_again(&self, peer: &str) {
        fs::remove_dir_all(self.file(peer, "data/externalbuilder/builds")).unwrap();
        self.running.restart(peer).await.unwrap();
    }

    async fn same_package(&self, peer: &PeerClient) {
        let again = peer.install(&self.package.bytes, deadline()).await.unwrap();
        assert!(matches!(again, Installation::AlreadyInstalled { .. }), "{again:?}");
    }

    /// Replaces the server by one with another certificate, at the same address.
    async fn replace_server(&mut self, peer: &str, pair: &TlsPair, client_ca: &str) {
        let (address, old) = self.servers.remove(peer).unwrap();
        old.stop().await;
        let listener = TcpListener::bind(address).await.unwrap();
        let new = Answerer::serve(listener, peer, &self.package.id, pair, client_ca);
        self.servers.insert(peer.to_owned(), (address, new));
    }
}

/// An authority that did not exist before, and what it issues.
struct NewAuthority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl NewAuthority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.self_signed(&key).unwrap().pem();
        Self { certificate_pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> TlsPair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let private_key_pem = fabric_network::identity::PrivateKey::from_pem(key.serialize_pem());
        TlsPair { certificate_pem, private_key_pem }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_sees_its_own_embedded_peer_alone() {
    deploy(&embedded(), Topology::duo()).await.each_server_sees_its_own_peer_alone().await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_each_server_sees_its_own_peer_alone() {
    deploy(&fabric().await, Topology::duo()).await.each_server_sees_its_own_peer_alone().await;
}

/// Server, client and authority, each replaced in turn, as in docs/operators.md; the package stays.
#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_certificates_are_renewed_without_a_new_package() {
    const PEER: &str = "peer0.org1.example.com";
    let mut network = deploy(&fabric().await, Topology::solo()).await;
    let peer = network.peers[0].clone();
    let old_ca = network.bundle.identities.peer_organizations[0].tls_ca_pem.clone();
    assert_eq!(network.ask(&peer).await.unwrap(), PEER);

    // A bundle of roots on both sides, before anything of the new authority is in use.
    let authority = NewAuthority::new();
    let roots = format!("{old_ca}{}", authority.certificate_pem);
    fs::write(network.file(PEER, "chaincode/ca.crt"), &roots).unwrap();
    let old_pair = network.identity(PEER).chaincode_server.clone().unwrap();
    network.replace_server(PEER, &old_pair, &roots).await;
    network.build_again(PEER).await;
    assert_eq!(network.ask(&peer).await.unwrap(), PEER);
    network.same_package(&peer).await;

    // The server's certificate: nothing but its restart.
    let new_pair = authority.issue(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    network.replace_server(PEER, &new_pair, &roots).await;
    assert_eq!(network.ask(&peer).await.unwrap(), PEER);

    // The peer's: its files, then the build.
    let client = authority.issue(&[], ExtendedKeyUsagePurpose::ClientAuth);
    fs::write(network.file(PEER, "chaincode/client.crt"), &client.certificate_pem).unwrap();
    fs::write(network.file(PEER, "chaincode/client.key"), client.private_key_pem.as_pem()).unwrap();
    network.build_again(PEER).await;
    assert_eq!(network.ask(&peer).await.unwrap(), PEER);
    assert!(network.servers[PEER].1.seen().contains(&der(&client.certificate_pem)), "the new certificate is shown");

    // The old authority goes: neither side trusts it any more.
    fs::write(network.file(PEER, "chaincode/ca.crt"), &authority.certificate_pem).unwrap();
    network.replace_server(PEER, &new_pair, &authority.certificate_pem).await;
    network.build_again(PEER).await;
    assert_eq!(network.ask(&peer).await.unwrap(), PEER);
    assert_eq!(network.servers[PEER].1.seen(), BTreeSet::from([der(&client.certificate_pem)]));
    network.same_package(&peer).await;

    // And it is really not trusted.
    network.replace_server(PEER, &old_pair, &authority.certificate_pem).await;
    let error = network.ask(&peer).await.unwrap_err().to_string();
    assert!(error.contains("could not launch chaincode") || error.contains("failed"), "{error}");
    network.running.stop().await.unwrap();
}
