//! The server's TLS configuration, from PEM files: TLS 1.2 and 1.3, with CAs of peers mutual TLS.
//!
//! Invalid files are rejected before the first peer connects, since a peer reports only that its
//! deadline was exceeded.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::variable;

/// The maximum size of a PEM file.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The PEM files of a server. Files that change are read again before the next connection.
///
/// ```
/// use chaincode_shim::TlsFiles;
///
/// let server_only = TlsFiles::new("server.key", "server.crt");
/// let mutual = server_only.with_client_ca("peers.crt");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The private key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
    /// The server's certificate, followed by its chain.
    pub certificate: PathBuf,
    /// One or more CA certificates. If given, a peer must present a certificate of one of them.
    pub client_ca: Option<PathBuf>,
}

/// Why the TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path} ({variable})")]
    Read {
        /// The variable that contains its path.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{path} ({variable}) contains no {expected} in PEM format")]
    Missing {
        /// The variable that contains its path.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should contain.
        expected: &'static str,
    },
    /// A certificate or key is invalid.
    #[error("invalid {path} ({variable}): {reason}")]
    Invalid {
        /// The variable that contains its path.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it is invalid.
        reason: String,
    },
    /// The server's certificate has expired.
    #[error("the certificate {path} ({variable}) expired on {date}: renew it")]
    Expired {
        /// The variable that contains its path.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// Its expiry date.
        date: String,
    },
    /// The key does not belong to the certificate.
    #[error("the private key {key} ({key_variable}) does not match the certificate {certificate} ({certificate_variable})",
        key_variable = variable::TLS_KEY, certificate_variable = variable::TLS_CERT)]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

impl TlsFiles {
    /// The files for TLS without client certificates.
    pub fn new(key: impl Into<PathBuf>, certificate: impl Into<PathBuf>) -> Self {
        Self { key: key.into(), certificate: certificate.into(), client_ca: None }
    }

    /// Requires a client certificate of one of the CAs in this file.
    #[must_use]
    pub fn with_client_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(path.into());
        self
    }

    /// Reads and checks the files.
    pub(crate) fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = self.load_key(&provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| invalid(variable::TLS_CERT, &self.certificate, &error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = load_roots(path)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| invalid(variable::CLIENT_CA_CERT, path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let resolver = rustls::sign::SingleCertAndKey::from(key);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would skip the check of the peer's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn load_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (key_path, certificate_path) = (&self.key, &self.certificate);
        let chain = certificates(variable::TLS_CERT, certificate_path)?;
        if let Some(certificate) = chain.first() {
            check_time(certificate_path, certificate)?;
        }
        let pem = read(variable::TLS_KEY, key_path)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Missing {
            variable: variable::TLS_KEY,
            path: key_path.clone(),
            expected: "unencrypted private key",
        })?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| invalid(variable::TLS_KEY, key_path, &error))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Without a known public key, a mismatch appears in the first handshake.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsError::Mismatch { key: key_path.clone(), certificate: certificate_path.clone() })
            }
            Err(error) => Err(invalid(variable::TLS_CERT, certificate_path, &error)),
        }
    }
}

fn load_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(variable::CLIENT_CA_CERT, path)? {
        roots.add(certificate).map_err(|error| invalid(variable::CLIENT_CA_CERT, path, &error))?;
    }
    Ok(Arc::new(roots))
}

fn certificates(variable: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(variable, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(variable, path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::Missing { variable, path: path.to_owned(), expected: "certificate" });
    }
    Ok(certificates)
}

/// Rejects an expired certificate. One that is not valid yet is only reported, since a peer's clock
/// may be ahead.
fn check_time(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| invalid(variable::TLS_CERT, path, &error))?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    let validity = parsed.validity();
    if validity.not_after.timestamp() < now {
        return Err(TlsError::Expired {
            variable: variable::TLS_CERT,
            path: path.to_owned(),
            date: validity.not_after.to_string(),
        });
    }
    if validity.not_before.timestamp() > now {
        tracing::warn!("the certificate {} is not valid before {}", path.display(), validity.not_before);
    }
    Ok(())
}

fn read(variable: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { variable, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("the file exceeds {MAX_FILE_BYTES} bytes");
        return Err(invalid(variable, path, &reason));
    }
    Ok(bytes)
}

fn invalid(variable: &'static str, path: &Path, reason: &impl ToString) -> TlsError {
    TlsError::Invalid { variable, path: path.to_owned(), reason: reason.to_string() }
}
