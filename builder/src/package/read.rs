//! Reads a chaincode package as a peer does when it is installed (Fabric:
//! `core/chaincode/persistence/chaincode_package.go`, `core/container/externalbuilder/tar.go`), with
//! limits and in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use fabric_primitives::names;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{CODE, PackageError, package_id};
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;

/// Size limit of a package, in bytes: that of a peer's message.
pub const MAX_PACKAGE: u64 = fabric_primitives::limits::MAX_MESSAGE_BYTES as u64;
/// Limit on the total size of the files in a package, in bytes.
const MAX_CONTENT: u64 = 128 * 1024 * 1024;
/// Limit on the number of files in a package.
const MAX_FILES: usize = 10_000;

/// A package that was read, and that peers accept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The package's metadata.json.
    pub metadata: Metadata,
    /// The bytes of metadata.json.
    pub metadata_bytes: Vec<u8>,
    /// The files of code.tar.gz.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Other files in the package, which peers ignore.
    pub ignored: Vec<String>,
    /// The package ID.
    pub id: String,
}

impl Opened {
    /// Reads a package.
    ///
    /// # Errors
    /// [`PackageError::Invalid`] if peers would reject the package, or if it exceeds the limits.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut metadata = None;
        let mut code = None;
        let mut ignored = Vec::new();
        let mut left = MAX_CONTENT;
        for_each_entry(bytes, "the package", &mut left, |name, kind, content| {
            if kind != Kind::File {
                return Err(invalid(format!(
                    "the package: {name:?} is not a regular file, expected only regular files"
                )));
            }
            match name {
                metadata::FILE => metadata = Some(content),
                CODE => code = Some(content),
                other => ignored.push(other.to_owned()),
            }
            Ok(())
        })?;
        let missing = |name: &str| {
            let hint = if ignored.iter().any(|other| Path::new(other).ends_with(name)) {
                "; the name must not start with a directory or ./"
            } else {
                ""
            };
            invalid(format!("the package: found no {name}, expected metadata.json and code.tar.gz{hint}"))
        };
        let metadata_bytes = metadata.ok_or_else(|| missing(metadata::FILE))?;
        let code = code.ok_or_else(|| missing(CODE))?;
        let metadata = Metadata::parse(&metadata_bytes).map_err(|error| invalid(error.to_string()))?;
        names::label(&metadata.label)?;
        let files = code_files(&code, &mut left)?;
        let id = package_id(&metadata.label, bytes);
        Ok(Self { metadata, metadata_bytes, files, ignored, id })
    }
}

fn code_files(code: &[u8], left: &mut u64) -> Result<BTreeMap<PathBuf, Vec<u8>>, PackageError> {
    let mut files = BTreeMap::<PathBuf, Vec<u8>>::new();
    for_each_entry(code, CODE, left, |name, kind, content| {
        let path = clean(name).ok_or_else(|| invalid(format!("{CODE}: {name:?} is outside the package")))?;
        match kind {
            Kind::Directory => return Ok(()),
            Kind::Other => {
                let expected = "only regular files and directories";
                return Err(invalid(format!("{CODE}: {name:?} is a link or a special file, expected {expected}")));
            }
            Kind::File => {}
        }
        if path.as_os_str().is_empty() {
            return Err(invalid(format!("{CODE}: {name:?} is not a file name")));
        }
        // A peer does not truncate an existing file before it writes.
        let file = files.entry(path).or_default();
        let kept = file.split_off(content.len().min(file.len()));
        *file = content;
        file.extend(kept);
        Ok(())
    })?;
    let conflict = files.keys().find(|path| path.ancestors().skip(1).any(|parent| files.contains_key(parent)));
    if let Some(path) = conflict {
        let shown = shown_path(path);
        return Err(invalid(format!("{CODE}: {shown} is in a directory that is also a file")));
    }
    Ok(files)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Other,
}

/// Iterates over a .tar.gz; `left` is the remaining size limit.
fn for_each_entry(
    bytes: &[u8],
    what: &str,
    left: &mut u64,
    mut visit: impl FnMut(&str, Kind, Vec<u8>) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(invalid(format!("{what}: found data that is not gzip, expected a .tar.gz")));
    }
    let unreadable = |error: std::io::Error| invalid(format!("{what}: found a damaged .tar.gz ({error})"));
    // Also limits headers and long names, since gzip expands small files to gigabytes.
    let limit = left.saturating_mul(2);
    let mut archive = Archive::new(MultiGzDecoder::new(bytes).take(limit));
    for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        let entry = entry.map_err(unreadable)?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| invalid(format!("{what}: found a name that is not UTF-8")))?;
        let kind = match entry.header().entry_type() {
            EntryType::Regular if name.ends_with('/') => Kind::Directory,
            EntryType::Regular => Kind::File,
            EntryType::Directory => Kind::Directory,
            _ => Kind::Other,
        };
        if number >= MAX_FILES || entry.size() > *left {
            let expected = format!("at most {MAX_FILES} files and {} MiB", MAX_CONTENT / (1024 * 1024));
            return Err(invalid(format!("{what}: found too many or too large files, expected {expected}")));
        }
        let size = entry.size();
        let mut content = Vec::new();
        entry.take(*left).read_to_end(&mut content).map_err(unreadable)?;
        if (content.len() as u64) < size {
            return Err(invalid(format!("{what}: found a damaged .tar.gz (truncated)")));
        }
        *left = left.saturating_sub(content.len() as u64);
        visit(&name, kind, content)?;
    }
    Ok(())
}

/// Cleans a path like Go's `filepath.Clean`; none if it is absolute or outside the package.
fn clean(name: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for step in Path::new(name).components() {
        match step {
            Component::Normal(step) => clean.push(step),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    (!name.contains('\0')).then_some(clean)
}

fn invalid(problem: String) -> PackageError {
    PackageError::Invalid(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (name, clean_name) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("a/../b", Some("b")),
            ("..a/b..", Some("..a/b..")),
            ("", Some("")),
            (".", Some("")),
            ("..", None),
            ("a/../../b", None),
            ("/a", None),
        ] {
            assert_eq!(clean(name), clean_name.map(PathBuf::from), "{name:?}");
        }
    }

    proptest! {
        /// Every resulting path stays in the directory it is joined to.
        #[test]
        fn no_path_is_outside(name in r"[a./\\ é\x00]{0,16}|\PC{0,24}") {
            if let Some(path) = clean(&name) {
                prop_assert!(path.as_os_str().is_empty() || crate::tree::is_relative(&path), "{path:?}");
            }
        }
    }
}
