//! Writing a chaincode package (.tar.gz of metadata.json and code.tar.gz), the same bytes from the
//! same content on any machine: the package ID is a digest of them, and every organization's peers
//! must agree on it; and reading one as a peer does. Installs nothing.

mod contents;
mod inspect;
mod read;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

pub use contents::Contents;
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
/// "Unknown", which says nothing about the machine (RFC 1952).
const UNKNOWN_SYSTEM: u8 = 255;

/// What goes into a package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The readable half of the package ID, see [`metadata::is_label`].
    pub label: String,
    /// The package's type: `ccaas`.
    pub kind: String,
    /// Its connection.json; may hold templates. Better without a private key.
    pub connection: Connection,
    /// Further files by their path in the package, such as `META-INF/statedb/couchdb/indexes/…`.
    pub extra_files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No peer would take the label.
    #[error("label {0:?}: expected letters, digits and _ . + -, beginning with a letter or digit")]
    Label(String),
    /// A path that no peer would unpack, or that is taken.
    #[error("{}: expected a UTF-8 path below the package that is not connection.json", shown_path(.0))]
    Path(PathBuf),
    /// What no peer would take, or what is beyond the limits: where, what was found, what is expected.
    #[error("{0}")]
    Refused(String),
    /// connection.json is of no use to any peer.
    #[error("{}: {}", connection::FILE, .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Connection(Vec<Finding>),
    /// A file could not be read, or is none that a package may hold.
    #[error(transparent)]
    File(#[from] BuilderError),
    /// A file could not be read or written.
    #[error("{0}")]
    Write(#[from] io::Error),
}

impl Package {
    /// The package as `peer lifecycle chaincode install` takes it.
    ///
    /// Times are zero, owners are 0 without a name, modes 0644, paths in order; gzip names neither
    /// file, time nor system. The content is stored, not compressed: compressors differ between
    /// versions, and with them the package ID.
    ///
    /// # Errors
    /// [`PackageError`], for a label or path that no peer would take.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        let connection = self.connection.to_bytes();
        let mut code = BTreeMap::from([(connection::FILE, connection.as_slice())]);
        for (path, bytes) in &self.extra_files {
            let name =
                path.to_str().filter(|_| tree::is_plain(path)).ok_or_else(|| PackageError::Path(path.clone()))?;
            if code.insert(name, bytes).is_some() {
                return Err(PackageError::Path(path.clone()));
            }
        }
        let metadata = Metadata { kind: self.kind.clone(), label: self.label.clone(), path: String::new() };
        archive_files(&metadata, code)
    }
}

fn archive_files(metadata: &Metadata, code: BTreeMap<&str, &[u8]>) -> Result<Vec<u8>, PackageError> {
    if !metadata::is_label(&metadata.label) {
        return Err(PackageError::Label(metadata.label.clone()));
    }
    let code = archive(code)?;
    // Not in order of the names: a peer, and whoever lists a package, wants this one first.
    archive([(metadata::FILE, metadata.to_bytes().as_slice()), (CODE, code.as_slice())])
}

/// Most bytes of a file that an option names.
pub const MAX_SETTING: u64 = tree::MAX_CONNECTION;

/// Reads a regular file of at most `limit` bytes, through links if need be; never one that could block
/// or grow without end.
///
/// # Errors
/// When it can't be read, is another kind of file, or larger.
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
