//! A tap: what a peer dials in the place of its chaincode server, so that their messages can be shown.
//!
//! It ends the peer's TLS with the chaincode server's own certificate, verifies the client certificate
//! if the peer shows one, and dials the real server with that same peer's certificate. All bytes within
//! TLS are passed on as they are, both ways; the messages in them are decoded on the side, into a
//! [`Journal`]. It is there only when it was asked for, since with it a pass does not prove that peer
//! and chaincode agree on TLS.
//!
//! Whether the chaincode server wants a client certificate is left to the server: the tap shows it what
//! the peer has shown, or nothing.

mod http2;
mod relay;
#[cfg(test)]
mod tests;

use crate::journal::{Journal, Party, Role};
use fabric_network::bundle::Bundle;
use fabric_network::identity::TlsPair;
use relay::Relay;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// HTTP/2 by its name in ALPN.
const ALPN: &[u8] = b"h2";

/// How many connections may be open at a time. A peer has one to each chaincode.
const CONNECTION_LIMIT: usize = 256;

/// A running tap. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Tap {
    journal: Journal,
    task: AbortHandle,
}

/// A place that is taken, but not yet a tap.
#[derive(Debug)]
pub(crate) struct Place {
    /// The name of the chaincode server that it is for.
    pub chaincode: String,
    /// Listens where the peers dial.
    pub listener: std::net::TcpListener,
    /// Where the real server is.
    pub server: SocketAddr,
}

/// A tap that can't be placed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// The network has no peer organization, or no certificate can be read.
    #[error("the certificates of the network can't be used by the tap of {chaincode}: {reason}")]
    Certificates {
        /// The chaincode server.
        chaincode: String,
        /// Why not.
        reason: String,
    },
    /// The port can't be listened on.
    #[error("the tap of {chaincode} can't listen")]
    Listen {
        /// The chaincode server.
        chaincode: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Tap {
    /// Passes on whatever comes, with the keys of this network.
    ///
    /// # Errors
    ///
    /// When the network's keys or the listener can't be used.
    pub(crate) fn begin(place: Place, bundle: &Bundle) -> Result<Self, TapError> {
        let Place { chaincode, listener, server } = place;
        let keys =
            Keys::of(bundle).map_err(|reason| TapError::Certificates { chaincode: chaincode.clone(), reason })?;
        let failed = |source| TapError::Listen { chaincode: chaincode.clone(), source };
        let host = listener.local_addr().map_err(failed)?.ip();
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let journal = Journal::begin();
        let (server_name, journal_of_relay) = (ServerName::IpAddress(host.into()), journal.clone());
        let chaincode = Party::new(Role::Chaincode, chaincode);
        let relay = Arc::new(Relay { keys, chaincode, server, server_name, journal: journal_of_relay });
        let task = tokio::spawn(listen(listener, relay)).abort_handle();
        Ok(Self { journal, task })
    }

    /// What has passed.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Its connections end with it.
async fn listen(listener: TcpListener, relay: Arc<Relay>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTION_LIMIT => {
                    let relay = Arc::clone(&relay);
                    connections.spawn(async move { relay.pass(stream).await });
                }
                Ok(_) => {}
                // Out of file descriptors, or the client has gone: whoever is connected goes first.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The certificates of both sides.
#[derive(Debug)]
struct Keys {
    /// Towards the peers.
    server: Arc<ServerConfig>,
    /// Towards the chaincode server, by the certificate that the peer has shown.
    clients: HashMap<Vec<u8>, (Party, Arc<ClientConfig>)>,
    /// Towards the chaincode server, for a peer that has shown none.
    anonymous: Arc<ClientConfig>,
    /// Who such a peer is.
    some_peer: Party,
}

impl Keys {
    fn of(bundle: &Bundle) -> Result<Self, String> {
        let organizations = &bundle.identities.peer_organizations;
        let owner = organizations.first().ok_or("there is no organization with peers")?;
        let mut trusted = RootCertStore::empty();
        for organization in organizations {
            trust(&mut trusted, &organization.tls_ca_pem)?;
        }
        let mut of_server = RootCertStore::empty();
        trust(&mut of_server, &owner.tls_ca_pem)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(text)?;
        let (chain, key) = pair(&owner.chaincode_server)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(text)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(text)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let client = |identity: Option<&TlsPair>| {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(text)?
                .with_root_certificates(of_server.clone());
            let mut client = match identity {
                None => builder.with_no_client_auth(),
                Some(identity) => {
                    let (chain, key) = pair(identity)?;
                    builder.with_client_auth_cert(chain, key).map_err(text)?
                }
            };
            client.alpn_protocols = vec![ALPN.to_vec()];
            Ok::<_, String>(Arc::new(client))
        };
        let peers = || organizations.iter().flat_map(|organization| &organization.nodes);
        let mut clients = HashMap::new();
        for (name, node) in peers() {
            let Some(identity) = &node.chaincode_client else { continue };
            let (chain, _) = pair(identity)?;
            let shown = chain.first().map(|certificate| certificate.to_vec()).unwrap_or_default();
            clients.insert(shown, (Party::peer(name), client(Some(identity))?));
        }
        let mut names = peers().map(|(name, _)| name);
        let only = names.next().filter(|_| names.next().is_none());
        let some_peer = Party::peer(only.map_or("a peer", String::as_str));
        Ok(Self { server: Arc::new(server), clients, anonymous: client(None)?, some_peer })
    }
}

fn trust(roots: &mut RootCertStore, pem: &str) -> Result<(), String> {
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(text)?).map_err(text)?;
    }
    Ok(())
}

fn pair(pair: &TlsPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(text)?;
    let key = PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_pem().as_bytes()).map_err(text)?;
    Ok((chain, key))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
