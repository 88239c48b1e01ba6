//! A node's listeners: TLS as Fabric's servers speak it, and HTTP behind it.
//!
//! What is served is not known here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::Service as _;

use super::verifier::AnyClient;

/// How long a client may take for its TLS handshake (`comm.GRPCServer`'s connection timeout).
const HANDSHAKE_BOUND: Duration = Duration::from_secs(5);

/// Clients that give many calls up are no attackers here.
const RESET_STREAMS: usize = 10_000;

const WINDOW: u32 = 1024 * 1024;

/// Who called: an extension of each request.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it calls from.
    pub address: SocketAddr,
    /// The TLS certificate that it showed, DER; not verified unless the node demands one.
    pub certificate: Option<Bytes>,
}

/// A server can't use its TLS files.
#[derive(Debug, thiserror::Error)]
#[error("the TLS {what} can't be used: {cause}")]
pub struct TlsError {
    what: &'static str,
    cause: String,
}

/// What a server does about the certificates of its clients.
#[derive(Clone, Debug)]
pub(crate) enum ClientCertificates {
    /// Asks for one, takes any or none, and verifies nothing (Go's `RequestClientCert`).
    Requested,
    /// Takes none, or one of these CAs (Go's `VerifyClientCertIfGiven`).
    Verified { roots_pem: Vec<u8> },
    /// Takes only those of these CAs (Go's `RequireAndVerifyClientCert`).
    Required { roots_pem: Vec<u8> },
}

/// A server's side of TLS.
pub(crate) fn tls(
    certificate_pem: &[u8],
    key_pem: &[u8],
    clients: &ClientCertificates,
    protocol: &[u8],
) -> Result<TlsAcceptor, TlsError> {
    let failed = |what: &'static str| move |cause: &dyn std::fmt::Display| TlsError { what, cause: cause.to_string() };
    let chain = certificates(certificate_pem).map_err(|cause| failed("certificate")(&cause))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|cause| failed("key")(&cause))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        ClientCertificates::Requested => Arc::new(AnyClient::new(&provider)),
        ClientCertificates::Verified { roots_pem } | ClientCertificates::Required { roots_pem } => {
            let mut roots = rustls::RootCertStore::empty();
            for root in certificates(roots_pem).map_err(|cause| failed("client root certificate")(&cause))? {
                roots.add(root).map_err(|cause| failed("client root certificate")(&cause))?;
            }
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            if matches!(clients, ClientCertificates::Verified { .. }) {
                verifier = verifier.allow_unauthenticated();
            }
            verifier.build().map_err(|cause| failed("client root certificate")(&cause))?
        }
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed("versions")(&cause))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|cause| failed("certificate and key")(&cause))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // Fabric gives no session tickets (`internal/pkg/comm/server.go`).
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// What ends with a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifetime {
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Lifetime {
    /// Runs a task until it is done or the node ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            ending.run_until_cancelled_owned(work).await;
        });
    }

    /// Begins the end of all tasks.
    pub(crate) fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
    }

    /// Waits until all tasks have ended, or for the bound.
    pub(crate) async fn ended(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.tasks.wait()).await.is_ok()
    }
}

/// Streams end with their node, not with their connection alone.
impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Lifetime {
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}

/// Serves gRPC on a listener until the node ends.
pub(crate) fn serve_grpc(listener: TcpListener, tls: TlsAcceptor, routes: Routes, life: &Lifetime) {
    let life_of_connections = life.clone();
    let routes = routes.prepare();
    accept(listener, tls, life, move |stream, client| {
        let (routes, life) = (routes.clone(), life_of_connections.clone());
        async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(client.clone());
                routes.clone().call(request)
            });
            let mut http = hyper::server::conn::http2::Builder::new(life);
            http.initial_stream_window_size(WINDOW)
                .initial_connection_window_size(4 * WINDOW)
                .max_concurrent_streams(None)
                .max_pending_accept_reset_streams(RESET_STREAMS)
                .max_local_error_reset_streams(RESET_STREAMS);
            http.serve_connection(TokioIo::new(stream), service).await
        }
    });
}

/// Serves HTTP/1.1 on a listener until the node ends. Each request has its [`Client`].
pub(crate) fn serve_http<F, R, B>(listener: TcpListener, tls: TlsAcceptor, answer: F, life: &Lifetime)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    accept(listener, tls, life, move |stream, client| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(client.clone());
                let answer = answer(request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        }
    });
}

fn accept<C, F>(listener: TcpListener, tls: TlsAcceptor, life: &Lifetime, connection: C)
where
    C: Fn(TlsStream<TcpStream>, Client) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), hyper::Error>> + Send + 'static,
{
    let connections = life.clone();
    life.spawn(async move {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors: others may be closed meanwhile.
                    tracing::warn!("can't accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let (tls, connection) = (tls.clone(), connection.clone());
            connections.spawn(async move {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_BOUND, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let certificate = certificate.map(|shown| Bytes::copy_from_slice(shown));
                        if let Err(error) = connection(stream, Client { address, certificate }).await {
                            tracing::debug!("the connection of {address} ended: {error}");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!("the TLS handshake with {address} failed: {error}"),
                    Err(_) => tracing::debug!("the TLS handshake with {address} took too long"),
                }
            });
        }
    });
}
