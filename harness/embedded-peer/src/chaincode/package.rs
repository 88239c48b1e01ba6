//! Chaincode packages: their format and the store of installed packages.
//!
//! A package is a .tar.gz of metadata.json and code.tar.gz (Fabric's core/chaincode/persistence).
//! It is stored unchanged under its package ID.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use fabric_primitives::names::is_label;
use fabric_primitives::package::package_id;
use flate2::read::MultiGzDecoder;

use super::go;

const METADATA: &str = "metadata.json";
const CODE: &str = "code.tar.gz";

/// Maximum unpacked size of a package. A peer accepts requests of 100 MiB, and code.tar.gz is
/// already compressed.
const UNPACKED_LIMIT: u64 = 256 * 1024 * 1024;

/// The metadata.json of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The chaincode's type, used by builders.
    pub kind: String,
    /// The label, with which the package ID begins.
    pub label: String,
    /// The path of the source, if applicable.
    pub path: String,
}

/// A parsed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The decoded metadata.json.
    pub metadata: Metadata,
    /// The raw metadata.json.
    pub metadata_json: Vec<u8>,
    /// The raw code.tar.gz.
    pub code: Vec<u8>,
}

/// Why a package is invalid. The texts are Fabric's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The package is not a gzip stream.
    #[error("error reading as gzip stream: {0}")]
    Gzip(String),
    /// The package is not a tar archive.
    #[error("error inspecting next tar header: {0}")]
    Header(String),
    /// The archive contains something other than a regular file.
    #[error("tar entry {name} is not a regular file, type {kind}")]
    NotRegular {
        /// The entry's name.
        name: String,
        /// The type byte of the entry.
        kind: u8,
    },
    /// A file in the archive is damaged.
    #[error("could not read {name} from tar: {reason}")]
    Content {
        /// The file's name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// metadata.json is invalid.
    #[error("could not unmarshal metadata.json as json: {0}")]
    Metadata(String),
    /// code.tar.gz is missing.
    #[error("did not find a code package inside the package")]
    NoCode,
    /// metadata.json is missing.
    #[error("did not find any package metadata (missing metadata.json)")]
    NoMetadata,
    /// The label is invalid.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
    /// code.tar.gz is not a valid archive.
    #[error("error retrieving DB artifacts from code package: {0}")]
    Code(String),
    /// The unpacked package is too large.
    #[error("the package holds more than {UNPACKED_LIMIT} bytes when unpacked")]
    TooLarge,
}

impl Package {
    /// Parses a package and checks what the peer checks before it stores one.
    ///
    /// # Errors
    ///
    /// The package is invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut code = None;
        let mut found = None;
        let limited = limited(gzip(bytes).map_err(PackageError::Gzip)?);
        let mut archive = tar::Archive::new(limited);
        let header = |error: &io::Error| {
            if is_limit(error) { PackageError::TooLarge } else { PackageError::Header(stream_error(error)) }
        };
        for entry in archive.entries().map_err(|error| header(&error))? {
            let mut entry = entry.map_err(|error| header(&error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() {
                return Err(PackageError::NotRegular { name, kind: entry.header().entry_type().as_byte() });
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| {
                if is_limit(&error) {
                    return PackageError::TooLarge;
                }
                PackageError::Content { name: name.clone(), reason: stream_error(&error) }
            })?;
            match name.as_str() {
                METADATA => found = Some((Metadata::parse(&content)?, content)),
                CODE => code = Some(content),
                _ => tracing::warn!("unexpected file '{name}' in the top level of a chaincode package"),
            }
        }
        let code = code.ok_or(PackageError::NoCode)?;
        let (metadata, metadata_json) = found.ok_or(PackageError::NoMetadata)?;
        if !is_label(&metadata.label) {
            return Err(PackageError::Label(metadata.label));
        }
        check_archive(&code).map_err(PackageError::Code)?;
        Ok(Self { metadata, metadata_json, code })
    }
}

impl Metadata {
    fn parse(json: &[u8]) -> Result<Self, PackageError> {
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| PackageError::Metadata(go::json_error(&error)))?;
        let members = match value {
            serde_json::Value::Object(members) => members,
            serde_json::Value::Null => return Ok(Self::default()),
            other => {
                let kind = go::json_kind(&other);
                return Err(PackageError::Metadata(format!(
                    "json: cannot unmarshal {kind} into Go value of type persistence.ChaincodePackageMetadata"
                )));
            }
        };
        let text = |name: &str| match go::json_member(&members, name) {
            None | Some(serde_json::Value::Null) => Ok(String::new()),
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(PackageError::Metadata(format!(
                "json: cannot unmarshal {} into Go struct field ChaincodePackageMetadata.{name} of type string",
                go::json_kind(other)
            ))),
        };
        Ok(Self { kind: text("type")?, path: text("path")?, label: text("label")? })
    }
}

/// Checks that code.tar.gz is readable to its end: the peer searches it for index definitions.
fn check_archive(code: &[u8]) -> Result<(), String> {
    let mut archive = tar::Archive::new(limited(gzip(code)?));
    for entry in archive.entries().map_err(|error| stream_error(&error))? {
        entry.map_err(|error| stream_error(&error))?;
    }
    Ok(())
}

/// A gzip decoder, if the bytes start with a gzip header.
pub(super) fn gzip(bytes: &[u8]) -> Result<MultiGzDecoder<&[u8]>, String> {
    match bytes {
        [] => Err("EOF".to_owned()),
        [0x1f, 0x8b, 8, ..] if bytes.len() >= 10 => Ok(MultiGzDecoder::new(bytes)),
        _ if bytes.len() < 10 => Err("unexpected EOF".to_owned()),
        _ => Err("gzip: invalid header".to_owned()),
    }
}

/// The text of a stream or archive error, with Go's words where they are fixed.
pub(super) fn stream_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => error.to_string(),
    }
}

/// Marks the error of a reader that exceeded its limit.
#[derive(Debug)]
struct LimitReached;

impl fmt::Display for LimitReached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "more than {UNPACKED_LIMIT} bytes when unpacked")
    }
}

impl std::error::Error for LimitReached {}

fn is_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<LimitReached>)
}

/// A reader with a size limit, so that a small package cannot fill memory or disk.
struct Limited<R> {
    inner: R,
    left: u64,
}

pub(super) fn limited(reader: impl Read) -> impl Read {
    Limited { inner: reader, left: UNPACKED_LIMIT }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(LimitReached))?;
        Ok(read)
    }
}

/// An installed chaincode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The package ID.
    pub package_id: String,
    /// The package's label.
    pub label: String,
}

/// A peer's store of installed packages.
#[derive(Debug)]
pub struct PackageStore {
    directory: PathBuf,
    installed: Mutex<BTreeMap<String, Installed>>,
}

/// Why a package cannot be stored.
#[derive(Debug, thiserror::Error)]
#[error("error writing chaincode install package to {}: {}", path.display(), go::os_error(source))]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

impl PackageStore {
    /// Opens the store in this directory and creates the directory if necessary.
    ///
    /// # Errors
    ///
    /// The directory cannot be created.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), installed: Mutex::default() })
    }

    /// The stored packages, including those that are not built yet.
    pub(super) fn stored(&self) -> Vec<Installed> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut stored: Vec<Installed> =
            entries.filter_map(|entry| from_file_name(&entry.file_name().to_string_lossy())).collect();
        stored.sort_by(|one, other| one.package_id.cmp(&other.package_id));
        stored
    }

    /// Stores a package unless it exists.
    pub(super) fn save(&self, label: &str, package: &[u8]) -> Result<String, SaveError> {
        let package_id = package_id(label, package);
        let path = self.path(&package_id);
        if path.exists() {
            return Ok(package_id);
        }
        // The file appears under its name only when it is complete.
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".ccpackage.").tempfile_in(&self.directory)?;
            io::Write::write_all(&mut file, package)?;
            file.persist(&path).map_err(|error| error.error)
        };
        match write() {
            Ok(_) => Ok(package_id),
            Err(source) => Err(SaveError { path, source }),
        }
    }

    /// Deletes a package whose build failed.
    pub(super) fn delete(&self, package_id: &str) {
        if let Err(error) = fs::remove_file(self.path(package_id)) {
            tracing::warn!("cannot remove the package {package_id}: {error}");
        }
    }

    /// Marks a stored package as built and installed.
    pub(super) fn set_installed(&self, installed: Installed) {
        let mut all = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(installed.package_id.clone(), installed);
    }

    /// The installed chaincodes, by package ID.
    pub fn list(&self) -> Vec<Installed> {
        self.installed.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether a chaincode is installed.
    pub fn is_installed(&self, package_id: &str) -> bool {
        self.installed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(package_id)
    }

    /// The bytes of a stored package.
    pub fn get(&self, package_id: &str) -> Option<Bytes> {
        fs::read(self.path(package_id)).ok().map(Bytes::from)
    }

    fn path(&self, package_id: &str) -> PathBuf {
        // Package IDs come from clients: the path must stay in this directory.
        let name = package_id.replacen(':', ".", 1).replace('/', "_");
        self.directory.join(format!("{name}.tar.gz"))
    }
}

fn from_file_name(name: &str) -> Option<Installed> {
    let (label, hash) = name.strip_suffix(".tar.gz")?.rsplit_once('.')?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !label.is_empty()).then(|| Installed { package_id: format!("{label}:{hash}"), label: label.to_owned() })
}
