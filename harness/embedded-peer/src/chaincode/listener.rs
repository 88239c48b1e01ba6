//! The server for chaincode that the peer starts with a builder's `run`.
//!
//! It starts with the first such chaincode. With TLS each chaincode gets a client certificate from
//! a CA that exists only in this process, and may register only the package ID that the certificate
//! was issued for. Follows Fabric's core/chaincode/accesscontrol.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::chaincode_support_server::{ChaincodeSupport, ChaincodeSupportServer};
use fabric_protos::protos::{ChaincodeId, ChaincodeMessage};
use futures::Stream;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::config::ChaincodeConfig;
use super::handler::{Command, Handler, Settings};
use super::registry::Registry;
use crate::trace::{Direction, EventKind};

type Answers = mpsc::UnboundedSender<Result<ChaincodeMessage, Status>>;
type Ca = CertifiedIssuer<'static, KeyPair>;

/// PEM certificate and key of a client, and the root certificate of the server.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) root_certificate: String,
}

/// The peer's listener for chaincode.
pub(super) struct Listener {
    /// The address that chaincode connects to.
    pub(super) address: String,
    /// `None` without TLS.
    ca: Option<Ca>,
    /// The package IDs of issued certificates by their digests.
    holders: Mutex<HashMap<[u8; 32], String>>,
}

impl Listener {
    /// Starts to listen, until `stop` is cancelled. The error is reported to the launch.
    pub(super) async fn start(
        config: &ChaincodeConfig,
        settings: Arc<Settings>,
        registry: Arc<Registry>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, String> {
        let address = &config.chaincode_listen_address;
        let listening = TcpListener::bind(address).await;
        let listener =
            listening.map_err(|error| format!("the peer cannot listen on {address} for chaincode: {error}"))?;
        // Port 0 is resolved by binding.
        let mut address = config.chaincode_address.clone();
        if let (Some(host), Ok(bound)) = (address.strip_suffix(":0"), listener.local_addr()) {
            address = format!("{host}:{}", bound.port());
        }
        let ca = config.is_tls.then(new_ca).transpose()?;
        let this = Arc::new(Self { address, ca, holders: Mutex::default() });
        let mut server = Server::builder().tcp_nodelay(true);
        if let Some(ca) = &this.ca {
            let host = this.address.rsplit_once(':').map_or("", |(host, _)| host);
            let own = issue(ca, host.trim_matches(['[', ']']), ExtendedKeyUsagePurpose::ServerAuth)?;
            let tls = ServerTlsConfig::new()
                .identity(Identity::from_pem(&own.certificate, &own.key))
                .client_ca_root(Certificate::from_pem(&own.root_certificate));
            server = server.tls_config(tls).map_err(|error| error.to_string())?;
        }
        let service = Service { listener: this.clone(), settings, registry, stop: stop.clone() };
        let service = ChaincodeSupportServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let serving = server.add_service(service);
        tokio::spawn(async move {
            let until = stop.cancelled_owned();
            if let Err(error) = serving.serve_with_incoming_shutdown(TcpListenerStream::new(listener), until).await {
                tracing::error!("the chaincode listener failed: {error}");
            }
        });
        Ok(this)
    }

    /// Issues the credentials of a chaincode. Empty without TLS.
    pub(super) fn credentials(&self, package_id: &str) -> Result<Credentials, String> {
        let Some(ca) = &self.ca else { return Ok(Credentials::default()) };
        let made = issue(ca, "", ExtendedKeyUsagePurpose::ClientAuth)?;
        let (_, der) = x509_parser::pem::parse_x509_pem(made.certificate.as_bytes())
            .map_err(|error| format!("a chaincode's certificate cannot be read: {error}"))?;
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.insert(Sha256::digest(&der.contents).into(), package_id.to_owned());
        Ok(made)
    }

    /// Checks that the registered chaincode is the one that the certificate was issued for. The
    /// errors are Fabric's.
    fn check(&self, certificate: Option<&[u8]>, message: &ChaincodeMessage) -> Result<(), String> {
        if self.ca.is_none() {
            return Ok(());
        }
        if message.r#type != i32::from(Type::Register) {
            return Err("First message needs to be a register".to_owned());
        }
        let name = ChaincodeId::decode(message.payload.clone()).map_err(|error| error.to_string())?.name;
        let certificate = certificate.ok_or(format!("TLS is active but chaincode {name} didn't send certificate"))?;
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        match holders.get(&digest) {
            Some(holder) if *holder == name => Ok(()),
            found => {
                let why = if found.is_some() { "belongs to a different chaincode" } else { "not found in registry" };
                Err(format!("Chaincode {name} with given certificate hash {} {why}", hex::encode(digest)))
            }
        }
    }
}

fn new_ca() -> Result<Ca, String> {
    let make = || {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "chaincode connections of a peer");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    };
    make().map_err(|error: rcgen::Error| format!("failed to generate TLS certificates: {error}"))
}

fn issue(ca: &Ca, host: &str, usage: ExtendedKeyUsagePurpose) -> Result<Credentials, String> {
    let make = || {
        let names = if host.is_empty() { Vec::new() } else { vec![host.to_owned()] };
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, ca)?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        Ok(Credentials { certificate, key, root_certificate: ca.pem() })
    };
    make().map_err(|error: rcgen::Error| format!("failed to generate TLS certificates: {error}"))
}

struct Service {
    listener: Arc<Listener>,
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl ChaincodeSupport for Service {
    type RegisterStream = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let certificate = request.peer_certs().and_then(|chain| chain.first().map(|first| first.to_vec()));
        let incoming = request.into_inner();
        let (answers, outgoing) = mpsc::unbounded_channel();
        let (handler, commands) = Handler::new(self.settings.clone(), self.registry.clone());
        let (listener, stop) = (self.listener.clone(), self.stop.clone());
        tokio::spawn(async move {
            let mut served = Served { incoming, answers, handler, commands, out: Vec::new() };
            let reason = tokio::select! {
                () = stop.cancelled() => "the peer is being stopped".to_owned(),
                reason = served.run(&listener, certificate.as_deref()) => reason,
            };
            served.end(reason);
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }
}

/// A stream opened by a chaincode.
struct Served {
    incoming: Streaming<ChaincodeMessage>,
    answers: Answers,
    handler: Arc<Handler>,
    commands: mpsc::UnboundedReceiver<Command>,
    out: Vec<Bytes>,
}

impl Served {
    /// Runs until the stream ends and returns the reason.
    async fn run(&mut self, listener: &Listener, certificate: Option<&[u8]>) -> String {
        let (settings, stream) = (self.handler.settings.clone(), self.handler.stream);
        settings.tracer.emit(&settings.node, || EventKind::StreamOpened { stream, chaincode: "a chaincode".into() });
        let mut is_first = true;
        let mut keepalive = settings.keepalive.map(tokio::time::interval);
        loop {
            let handled = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Send(frame)) => {
                        self.out.push(frame);
                        Ok(())
                    }
                    Some(Command::Receive(message)) => self.handler.handle(*message, &mut self.out),
                    Some(Command::End(reason)) => return reason,
                    None => return "the peer is being stopped".to_owned(),
                },
                message = self.incoming.message() => match message {
                    Ok(Some(message)) => {
                        if std::mem::take(&mut is_first)
                            && let Err(error) = listener.check(certificate, &message)
                        {
                            return error;
                        }
                        let total = message.encoded_len();
                        self.handler.receive(message, total, &mut self.out)
                    }
                    Ok(None) => return "EOF".to_owned(),
                    Err(status) => return format!("receive from chaincode support stream failed: {status}"),
                },
                () = tick(keepalive.as_mut()) => {
                    self.handler.keepalive(&mut self.out);
                    Ok(())
                }
            };
            if let Err(error) = handled {
                return format!("error handling message, ending stream: {error}");
            }
            for frame in self.out.drain(..) {
                // The peer's own frames always hold a valid message.
                if let Ok(message) = ChaincodeMessage::decode(frame.slice(super::frame::HEADER..))
                    && self.answers.send(Ok(message)).is_err()
                {
                    return "the chaincode went away".to_owned();
                }
            }
        }
    }

    fn end(self, reason: String) {
        let (settings, stream) = (self.handler.settings.clone(), self.handler.stream);
        tracing::debug!("stream of {} ended: {reason}", self.handler.package_id());
        self.handler.end();
        let _ = self.answers.send(Err(Status::unknown(reason.clone())));
        let direction = Direction::ChaincodeToPeer;
        settings.tracer.emit(&settings.node, || EventKind::StreamEnded { stream, direction, reason });
    }
}

async fn tick(keepalive: Option<&mut tokio::time::Interval>) {
    match keepalive {
        Some(keepalive) => {
            keepalive.tick().await;
        }
        None => std::future::pending().await,
    }
}
