//! Writes and reads chaincode packages (.tar.gz of metadata.json and code.tar.gz). Equal content gives
//! equal bytes on every machine, because the package ID is a digest of them and all organizations must
//! have the same ID. Reading follows the peer's rules.

mod contents;
mod inspect;
mod read;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

pub use contents::Contents;
use fabric_primitives::names::{self, InvalidName};
pub use fabric_primitives::package::package_id;
pub use read::{MAX_PACKAGE, Opened};

use crate::connection::{self, Connection};
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;
use crate::tree;

/// The second file of a package.
const CODE: &str = "code.tar.gz";
/// The operating system "unknown" (RFC 1952).
const UNKNOWN_SYSTEM: u8 = 255;

/// A package with a generated connection.json.
///
/// ```
/// use ccaas_builder::connection::Connection;
/// use ccaas_builder::package::{Opened, Package};
///
/// let package = Package {
///     label: "basic_1.0".into(),
///     kind: "ccaas".into(),
///     connection: Connection { address: "basic:9999".into(), ..Connection::default() },
///     extra_files: Default::default(),
/// };
/// let opened = Opened::read(&package.to_bytes()?)?;
/// assert!(opened.id.starts_with("basic_1.0:"));
/// # Ok::<(), ccaas_builder::package::PackageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Package {
    /// The label, the first part of the package ID; see [`fabric_primitives::names::label`].
    pub label: String,
    /// The package type: `ccaas`.
    pub kind: String,
    /// The connection.json; may contain templates. Should not contain a private key.
    pub connection: Connection,
    /// Additional files by their path in the package, such as `META-INF/statedb/couchdb/indexes/…`.
    pub extra_files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Why a package cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Peers reject the label.
    #[error(transparent)]
    Label(#[from] InvalidName),
    /// Peers reject the path, or it is connection.json.
    #[error("invalid path {}: expected a relative UTF-8 path other than connection.json", shown_path(.0))]
    Path(PathBuf),
    /// Peers reject the package, or it exceeds the limits.
    #[error("{0}")]
    Invalid(String),
    /// connection.json is invalid.
    #[error("{}: {}", connection::FILE, .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Connection(Vec<Finding>),
    /// A file could not be read, or a package must not contain it.
    #[error(transparent)]
    File(#[from] BuilderError),
    /// A file could not be read or written.
    #[error("{0}")]
    Write(#[from] io::Error),
}

impl Package {
    /// The package for `peer lifecycle chaincode install`.
    ///
    /// Times and owners are zero, modes 0644, paths sorted; the gzip header has no file name, time or
    /// system. The content is stored uncompressed, because the output of compressors differs between
    /// versions.
    ///
    /// # Errors
    /// [`PackageError`] for an invalid label or path.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        let connection = self.connection.to_bytes();
        let mut code = BTreeMap::from([(connection::FILE, connection.as_slice())]);
        for (path, bytes) in &self.extra_files {
            let name =
                path.to_str().filter(|_| tree::is_relative(path)).ok_or_else(|| PackageError::Path(path.clone()))?;
            if code.insert(name, bytes).is_some() {
                return Err(PackageError::Path(path.clone()));
            }
        }
        let metadata = Metadata { kind: self.kind.clone(), label: self.label.clone(), path: String::new() };
        archive_files(&metadata, code)
    }
}

fn archive_files(metadata: &Metadata, code: BTreeMap<&str, &[u8]>) -> Result<Vec<u8>, PackageError> {
    names::label(&metadata.label)?;
    let code = archive(code)?;
    // Not sorted: metadata.json comes first, as in packages of the peer.
    archive([(metadata::FILE, metadata.to_bytes().as_slice()), (CODE, code.as_slice())])
}

/// Size limit of a file in an option, in bytes.
pub(crate) const MAX_SETTING: u64 = tree::MAX_CONNECTION;

/// Reads a regular file of at most `limit` bytes. Follows links.
///
/// # Errors
/// If it cannot be read, is not a regular file, or is larger.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    tree::read_trusted(path, limit)
}

fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, PackageError> {
    let gzip = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::none());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, Path::new(name), bytes)?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}
