//! An orderer's channel participation API: join, list, look at and remove a channel.
//!
//! The endpoint is the orderer's admin listener, HTTP/1.1 over mutual TLS
//! (`orderer/common/channelparticipation/restapi.go`); one short connection for each call. Making
//! the genesis block is not done here.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use fabric_network::identity::TlsPair;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::error::{ClientError, cause};
use super::transport::Endpoint;
use super::transport::{connect_error, root_certificates, until};

const CHANNELS: &str = "/participation/v1/channels";

/// More than any answer of this API; a larger one is refused.
const MAX_ANSWER: usize = 1024 * 1024;

/// One orderer's admin endpoint.
#[derive(Clone)]
pub struct Participation {
    node: String,
    endpoint: Endpoint,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: TlsConnector,
}

/// An orderer's relation to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelInfo {
    /// Name of the channel.
    pub name: String,
    /// `consenter`, `follower`, `config-tracker` or `other`.
    pub consensus_relation: String,
    /// `active`, `onboarding`, `inactive` or `failed`.
    pub status: String,
    /// Number of blocks that the orderer has.
    pub height: u64,
}

#[derive(Deserialize)]
struct ChannelList {
    #[serde(default)]
    channels: Option<Vec<ChannelName>>,
}

#[derive(Deserialize)]
struct ChannelName {
    name: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

impl Participation {
    /// The admin endpoint of the orderer `node`, as the client with the certificate `client_tls`.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when the address, the root certificate or the pair cannot be used.
    pub fn new(node: &str, endpoint: &Endpoint, client_tls: &TlsPair) -> Result<Self, ClientError> {
        let unusable = |cause: String| connect_error(endpoint, cause);
        let uri: Uri = endpoint.uri.parse().map_err(|bad| unusable(format!("{bad}")))?;
        let host = uri.host().ok_or_else(|| unusable("the address has no host".to_owned()))?;
        let port = uri.port_u16().ok_or_else(|| unusable("the address has no port".to_owned()))?;
        let server_name = ServerName::try_from(endpoint.server_name.clone())
            .map_err(|bad| unusable(format!("bad server name: {bad}")))?;
        Ok(Self {
            node: node.to_owned(),
            endpoint: endpoint.clone(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            server_name,
            tls: tls_connector(&endpoint.tls_ca_pem, client_tls).map_err(unusable)?,
        })
    }

    /// Joins the orderer to the channel of a genesis or configuration block.
    ///
    /// # Errors
    /// [`ClientError::Http`] with the orderer's message: status 400 for a block that it does not
    /// take, 405 when it is a member already; and as any call.
    pub async fn join(&self, block: &[u8], deadline: Instant) -> Result<ChannelInfo, ClientError> {
        let operation = "join the orderer to the channel";
        let boundary = boundary(operation, &self.node)?;
        let body = multipart(&boundary, block);
        let request =
            Request::post(CHANNELS).header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"));
        let (status, body) = self.send(operation, request, body, deadline).await?;
        self.json(operation, status, &body)
    }

    /// Names of the channels that the orderer has joined.
    ///
    /// # Errors
    /// As any call.
    pub async fn channels(&self, deadline: Instant) -> Result<Vec<String>, ClientError> {
        let operation = "list the orderer's channels";
        let request = Request::get(CHANNELS);
        let (status, body) = self.send(operation, request, Bytes::new(), deadline).await?;
        let list: ChannelList = self.json(operation, status, &body)?;
        Ok(list.channels.unwrap_or_default().into_iter().map(|channel| channel.name).collect())
    }

    /// The orderer's relation to a channel; nothing when it has not joined it.
    ///
    /// # Errors
    /// As any call.
    pub async fn channel(&self, channel: &str, deadline: Instant) -> Result<Option<ChannelInfo>, ClientError> {
        let operation = "look at the orderer's channel";
        let request = Request::get(format!("{CHANNELS}/{channel}"));
        let (status, body) = self.send(operation, request, Bytes::new(), deadline).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.json(operation, status, &body).map(Some)
    }

    /// Removes the orderer from a channel, with its ledger of it.
    ///
    /// The orderer goes on removing after it has answered; until it is done,
    /// [`channel`](Self::channel) gives an `inactive` one of height 0.
    ///
    /// # Errors
    /// [`ClientError::Http`] with status 404 when it has not joined it; and as any call.
    pub async fn remove(&self, channel: &str, deadline: Instant) -> Result<(), ClientError> {
        let operation = "remove the orderer from the channel";
        let request = Request::builder().method(Method::DELETE).uri(format!("{CHANNELS}/{channel}"));
        let (status, body) = self.send(operation, request, Bytes::new(), deadline).await?;
        self.check(operation, status, &body)
    }

    async fn send(
        &self,
        operation: &'static str,
        request: hyper::http::request::Builder,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = request
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|bad| ClientError::malformed(operation, &self.node, bad))?;
        until(operation, &self.node, deadline, self.exchange(operation, request)).await?
    }

    async fn exchange(
        &self,
        operation: &'static str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let refused = |failed: std::io::Error| connect_error(&self.endpoint, cause(&failed));
        let broken =
            |failed: hyper::Error| ClientError::Transport { operation, node: self.node.clone(), cause: cause(&failed) };
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        let tls = self.tls.connect(self.server_name.clone(), tcp).await.map_err(refused)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|bad| ClientError::malformed(operation, &self.node, bad))?;
            Ok((status, body.to_bytes()))
        };
        // Not driven by a separate task, so that the connection ends when the deadline drops this future. Its
        // result adds nothing to the answer.
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    }

    fn check(&self, operation: &'static str, status: StatusCode, body: &[u8]) -> Result<(), ClientError> {
        if status.is_success() {
            return Ok(());
        }
        let message = serde_json::from_slice::<ErrorBody>(body)
            .map_or_else(|_| String::from_utf8_lossy(body).trim().to_owned(), |answer| answer.error);
        Err(ClientError::Http { operation, node: self.node.clone(), status: status.as_u16(), message })
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<T, ClientError> {
        self.check(operation, status, body)?;
        serde_json::from_slice(body).map_err(|bad| ClientError::malformed(operation, &self.node, bad))
    }
}

impl std::fmt::Debug for Participation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Participation")
            .field("node", &self.node)
            .field("uri", &self.endpoint.uri)
            .finish_non_exhaustive()
    }
}

fn tls_connector(ca_pem: &str, client_tls: &TlsPair) -> Result<TlsConnector, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(client_tls.certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|bad| format!("client certificate: {bad}"))?;
    let key = PrivateKeyDer::from_pem_slice(client_tls.private_key_pem.as_pem().as_bytes())
        .map_err(|bad| format!("private key of the client certificate: {bad}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|bad| bad.to_string())?
        .with_root_certificates(root_certificates(ca_pem)?)
        .with_client_auth_cert(chain, key)
        .map_err(|bad| format!("client certificate: {bad}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// 32 hex digits that no block contains but by will.
fn boundary(operation: &'static str, node: &str) -> Result<String, ClientError> {
    let mut random = [0; 16];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| ClientError::malformed(operation, node, "the system gives no random bytes"))?;
    Ok(hex::encode(random))
}

/// The form with the one field that the orderer looks for.
fn multipart(boundary: &str, block: &[u8]) -> Bytes {
    let head = format!(
        "--{boundary}\r\n\
         Content-Disposition: form-data; name=\"config-block\"; filename=\"config.block\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let mut body = BytesMut::with_capacity(head.len() + block.len() + tail.len());
    body.put_slice(head.as_bytes());
    body.put_slice(block);
    body.put_slice(tail.as_bytes());
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_holds_the_block_byte_by_byte() {
        let expected = b"--b0\r\n\
            Content-Disposition: form-data; name=\"config-block\"; filename=\"config.block\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\
            \x00\r\n--\xff\
            \r\n--b0--\r\n";
        assert_eq!(multipart("b0", b"\x00\r\n--\xff"), &expected[..]);
    }
}
