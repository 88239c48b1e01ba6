//! TLS of a node's listeners, configured like Fabric's servers.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::verifier::AnyClient;

/// A TLS file of a server is invalid.
#[derive(Debug, thiserror::Error)]
#[error("invalid TLS {file}: {cause}")]
pub struct TlsError {
    file: &'static str,
    cause: String,
}

/// How a server treats the certificates of its clients.
#[derive(Clone, Debug)]
pub(crate) enum ClientCertificates {
    /// Requests one, accepts any or none, and verifies nothing (Go's `RequestClientCert`).
    Requested,
    /// Accepts none, or one issued by these CAs (Go's `VerifyClientCertIfGiven`).
    Verified { roots_pem: Vec<u8> },
    /// Requires one issued by these CAs (Go's `RequireAndVerifyClientCert`).
    Required { roots_pem: Vec<u8> },
}

/// The server side of TLS, for one ALPN protocol.
pub(crate) fn tls(
    certificate_pem: &[u8],
    key_pem: &[u8],
    clients: &ClientCertificates,
    protocol: &[u8],
) -> Result<TlsAcceptor, TlsError> {
    let failed = |file: &'static str| move |cause: &dyn std::fmt::Display| TlsError { file, cause: cause.to_string() };
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
    // Fabric issues no session tickets (`internal/pkg/comm/server.go`).
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
