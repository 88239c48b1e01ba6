//! A node's files in the rendered bundle.

use std::path::{Component, Path, PathBuf};

use fabric_network::bundle::Bundle;
use fabric_network::node::NodeSpec;

use super::tls::{ClientCertificates, TlsError, tls};
use crate::msp::MspManager;
use crate::signer::{Randomness, Signer};
use tokio_rustls::TlsAcceptor;

/// A file or directory of a node is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A file is missing.
    #[error("{} is not in the bundle", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is not text.
    #[error("{} is not UTF-8", path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// The configuration is invalid.
    #[error("invalid configuration {}: {reason}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A TLS certificate or key is invalid.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The signing key is invalid.
    #[error(transparent)]
    Signer(#[from] crate::signer::SignerError),
    /// A directory is unusable.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The node's MSP is invalid.
    #[error("invalid MSP: {reason}")]
    Msp {
        /// The reason.
        reason: String,
    },
}

/// The files in a node's directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeFiles<'a> {
    bundle: &'a Bundle,
    directory: &'a Path,
    seen_at: &'a Path,
}

impl<'a> NodeFiles<'a> {
    pub(crate) fn new(bundle: &'a Bundle, spec: &'a NodeSpec) -> Self {
        Self { bundle, directory: &spec.directory, seen_at: &spec.placement.config_dir }
    }

    /// The bytes of a file. `path` is relative to the node's directory, or absolute within it.
    pub(crate) fn bytes(&self, path: &Path) -> Result<&'a [u8], NodeError> {
        let path = self.in_bundle(path);
        match self.bundle.files.get(&path) {
            Some(file) => Ok(&file.bytes),
            None => Err(NodeError::Missing { path }),
        }
    }

    pub(crate) fn text(&self, path: &Path) -> Result<&'a str, NodeError> {
        std::str::from_utf8(self.bytes(path)?).map_err(|_| NodeError::Text { path: self.in_bundle(path) })
    }

    /// Every file directly in a directory.
    pub(crate) fn files_in(&self, directory: &Path) -> impl Iterator<Item = (&'a Path, &'a [u8])> + use<'a> {
        let directory = self.in_bundle(directory);
        let files = self.bundle.files.iter();
        files
            .filter(move |(path, _)| path.parent() == Some(&*directory))
            .map(|(path, file)| (path.as_path(), &*file.bytes))
    }

    /// The TLS of a listener.
    pub(crate) fn tls(
        &self,
        certificate: &Path,
        key: &Path,
        client_roots: Option<&[PathBuf]>,
        protocol: &[u8],
    ) -> Result<TlsAcceptor, NodeError> {
        let clients = match client_roots {
            None => ClientCertificates::Requested,
            Some(paths) => ClientCertificates::Required { roots_pem: self.joined(paths)? },
        };
        Ok(tls(self.bytes(certificate)?, self.bytes(key)?, &clients, protocol)?)
    }

    /// The TLS of the operations service.
    pub(crate) fn operations_tls(
        &self,
        certificate: &Path,
        key: &Path,
        client_roots: &[PathBuf],
        client_auth_required: bool,
    ) -> Result<TlsAcceptor, NodeError> {
        let roots_pem = self.joined(client_roots)?;
        let clients = match (client_auth_required, client_roots) {
            (true, _) => ClientCertificates::Required { roots_pem },
            (false, []) => ClientCertificates::Requested,
            (false, _) => ClientCertificates::Verified { roots_pem },
        };
        Ok(tls(self.bytes(certificate)?, self.bytes(key)?, &clients, b"http/1.1")?)
    }

    /// The concatenation of PEM files.
    fn joined(&self, paths: &[PathBuf]) -> Result<Vec<u8>, NodeError> {
        let mut joined = Vec::new();
        for path in paths {
            joined.extend_from_slice(self.bytes(path)?);
            joined.push(b'\n');
        }
        Ok(joined)
    }

    /// The signing identity in the MSP directory `msp`.
    pub(crate) fn signer(&self, msp_id: &str, msp: &Path, randomness: Randomness) -> Result<Signer, NodeError> {
        let first = |directory: &str| {
            let directory = msp.join(directory);
            let found = self.files_in(&directory).next();
            let (path, bytes) = found.ok_or_else(|| NodeError::Missing { path: self.in_bundle(&directory) })?;
            std::str::from_utf8(bytes).map_err(|_| NodeError::Text { path: path.to_owned() })
        };
        Ok(Signer::new(msp_id, first("signcerts")?, first("keystore")?, randomness)?)
    }

    /// The MSP in the directory `msp`.
    pub(crate) fn local_msp(&self, msp_id: &str, msp: &Path) -> Result<MspManager, NodeError> {
        let directory = self.in_bundle(msp);
        let files = self.bundle.files.range(directory.clone()..);
        let files =
            files.map_while(|(path, file)| Some((path.strip_prefix(&directory).ok()?.to_owned(), file.bytes.clone())));
        let files = files.collect();
        MspManager::from_files(msp_id, &files).map_err(|error| NodeError::Msp { reason: error.to_string() })
    }

    fn in_bundle(&self, path: &Path) -> PathBuf {
        let own = path.strip_prefix(self.seen_at).unwrap_or(path);
        let plain = own.components().filter(|part| !matches!(part, Component::CurDir));
        self.directory.join(plain.collect::<PathBuf>())
    }
}
