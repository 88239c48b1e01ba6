//! Connections: a tonic channel over TLS to an endpoint, and a channel with its node's name.
//!
//! TLS is rustls with ring, always verified against the endpoint's own root certificate; there is
//! no way to switch verification off, and the system's roots are not used.

use std::sync::Arc;
use std::time::Duration;

use fabric_network::identity::TlsPair;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::error::{ClientError, cause};
use crate::wait::{TimedOut, WaitError};

/// The longest time for TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Rendered nodes accept a ping every 5 s, but Fabric's own default is a minute
/// (`keepalive.minInterval`), and a server closes the connection of a client that pings more often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Large enough that no block or package waits for window updates. Fixed, because an adaptive window
/// measures with pings, and Fabric's servers count those as well.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Where a client finds one of a node's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://HOST:PORT`.
    pub uri: String,
    /// The name that its certificate is verified against.
    pub server_name: String,
    /// The root certificate of its TLS certificate.
    pub tls_ca_pem: String,
}

/// A connection to a node, with the name that errors show.
#[derive(Debug, Clone)]
pub struct Node {
    name: Arc<str>,
    channel: Channel,
    client_certificate_hash: Arc<[u8]>,
}

impl Node {
    /// From an existing channel, whose client has no TLS certificate.
    pub fn new(name: &str, channel: Channel) -> Self {
        Self { name: name.into(), channel, client_certificate_hash: Arc::default() }
    }

    /// Connects to the node's gRPC endpoint.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(name: &str, endpoint: &Endpoint, client_tls: Option<&TlsPair>) -> Result<Self, ClientError> {
        let channel = connect(endpoint, client_tls).await?;
        let certificate =
            client_tls.and_then(|pair| CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).ok());
        let hash = certificate.map(|certificate| Sha256::digest(certificate).as_slice().into());
        Ok(Self { client_certificate_hash: hash.unwrap_or_default(), ..Self::new(name, channel) })
    }

    /// The node's full name, such as `peer0.org1.example.com`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The channel, for a generated client.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// SHA-256 of the client's TLS certificate; empty if it has none.
    pub(super) fn client_certificate_hash(&self) -> &[u8] {
        &self.client_certificate_hash
    }

    /// Runs one call on this node until the deadline.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        deadline: Instant,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, ClientError> {
        match until(operation, &self.name, deadline, call).await? {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ClientError::from_status(operation, &self.name, &status)),
        }
    }
}

/// Connects to a gRPC endpoint, within [`CONNECT_TIMEOUT`].
///
/// `client_tls` is the certificate that the client shows; without it, it shows none.
///
/// # Errors
/// [`ClientError::Connect`] with the endpoint and the error of TCP or TLS. With TLS 1.3, a server's
/// refusal of the client certificate arrives with the first call instead.
pub async fn connect(endpoint: &Endpoint, client_tls: Option<&TlsPair>) -> Result<Channel, ClientError> {
    let roots = root_certificates(&endpoint.tls_ca_pem);
    roots.map_err(|unusable| connect_error(endpoint, unusable))?;
    let connecting = async { channel_to(endpoint, client_tls)?.connect().await };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(failed)) => Err(connect_error(endpoint, cause(&failed))),
        Err(_) => Err(connect_error(endpoint, format!("no answer within {CONNECT_TIMEOUT:?}"))),
    }
}

fn channel_to(
    endpoint: &Endpoint,
    client_tls: Option<&TlsPair>,
) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new()
        .domain_name(&endpoint.server_name)
        .ca_certificate(Certificate::from_pem(&endpoint.tls_ca_pem));
    if let Some(pair) = client_tls {
        tls = tls.identity(Identity::from_pem(&pair.certificate_pem, pair.private_key_pem.as_pem()));
    }
    tonic::transport::Endpoint::from_shared(endpoint.uri.clone())?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tls_config(tls)
}

/// The root certificates in a PEM text, at least one. tonic accepts a text without any, and then every
/// server's issuer is unknown.
pub(super) fn root_certificates(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|bad| format!("root certificate: {bad}"))?;
        roots.add(certificate).map_err(|bad| format!("root certificate: {bad}"))?;
    }
    if roots.is_empty() {
        return Err("root certificate: no `BEGIN CERTIFICATE` found".to_owned());
    }
    Ok(roots)
}

pub(super) fn connect_error(endpoint: &Endpoint, cause: String) -> ClientError {
    ClientError::Connect { uri: endpoint.uri.clone(), server_name: endpoint.server_name.clone(), cause }
}

/// The error of a wait that timed out or failed.
pub(super) fn timed_out(operation: &'static str, node: &str, ended: WaitError<ClientError>) -> ClientError {
    match ended {
        WaitError::Failed(failed) => failed,
        WaitError::TimedOut(TimedOut { after, last, .. }) => {
            ClientError::TimedOut { operation, node: node.to_owned(), waited: after, last: Some(last) }
        }
    }
}

/// Waits for a future until the deadline; the error names operation and node.
pub(super) async fn until<T>(
    operation: &'static str,
    node: &str,
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Result<T, ClientError> {
    let started = Instant::now();
    tokio::time::timeout_at(deadline, future).await.map_err(|_| ClientError::TimedOut {
        operation,
        node: node.to_owned(),
        waited: started.elapsed(),
        last: None,
    })
}
