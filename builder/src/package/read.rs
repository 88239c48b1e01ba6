//! Reading a chaincode package as a peer does when it is installed (Fabric:
//! `core/chaincode/persistence/chaincode_package.go`, `core/container/externalbuilder/tar.go`), with
//! limits. Everything is kept in memory; nothing is unpacked to files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::{CODE, PackageError, package_id};
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;

/// Most bytes of a package: what a peer takes in one message.
pub const MAX_PACKAGE: u64 = fabric_primitives::limits::MAX_MESSAGE_BYTES as u64;
/// Most bytes of all files in a package.
const MAX_CONTENT: u64 = 128 * 1024 * 1024;
/// Most files in a package.
const MAX_FILES: usize = 10_000;

/// A package that a peer would take, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What its metadata.json says.
    pub metadata: Metadata,
    /// metadata.json itself, as the peer hands it to its builder.
    pub metadata_bytes: Vec<u8>,
    /// The files of its code.tar.gz.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Files beside metadata.json and code.tar.gz, which a peer passes over.
    pub ignored: Vec<String>,
    /// Label, colon, SHA-256.
    pub id: String,
}

impl Opened {
    /// Reads a package.
    ///
    /// # Errors
    /// [`PackageError::Refused`] with what a peer would refuse, or what is beyond the limits.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut metadata = None;
        let mut code = None;
        let mut ignored = Vec::new();
        let mut left = MAX_CONTENT;
        for_each_entry(bytes, "the package", &mut left, |name, kind, content| {
            if kind != Kind::File {
                return Err(refused(format!("the package: {name:?} is not a regular file, expected only those")));
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
                "; a peer knows it by that very name, without a directory or ./ before it"
            } else {
                ""
            };
            refused(format!("the package: found no {name}, expected metadata.json and code.tar.gz{hint}"))
        };
        let metadata_bytes = metadata.ok_or_else(|| missing(metadata::FILE))?;
        let code = code.ok_or_else(|| missing(CODE))?;
        let metadata = Metadata::parse(&metadata_bytes).map_err(|error| refused(error.to_string()))?;
        if !metadata::is_label(&metadata.label) {
            return Err(PackageError::Label(metadata.label));
        }
        let files = code_files(&code, &mut left)?;
        let id = package_id(&metadata.label, bytes);
        Ok(Self { metadata, metadata_bytes, files, ignored, id })
    }
}

fn code_files(code: &[u8], left: &mut u64) -> Result<BTreeMap<PathBuf, Vec<u8>>, PackageError> {
    let mut files = BTreeMap::<PathBuf, Vec<u8>>::new();
    for_each_entry(code, CODE, left, |name, kind, content| {
        let path = clean(name).ok_or_else(|| refused(format!("{CODE}: {name:?} leaves the package")))?;
        match kind {
            Kind::Directory => return Ok(()),
            Kind::Other => {
                let expected = "only regular files and directories";
                return Err(refused(format!("{CODE}: {name:?} is a link or a special file, expected {expected}")));
            }
            Kind::File => {}
        }
        if path.as_os_str().is_empty() {
            return Err(refused(format!("{CODE}: {name:?} is the name of a file, expected a name")));
        }
        // A peer opens a file that is there already without cutting it off.
        let file = files.entry(path).or_default();
        let kept = file.split_off(content.len().min(file.len()));
        *file = content;
        file.extend(kept);
        Ok(())
    })?;
    let conflict = files.keys().find(|path| path.ancestors().skip(1).any(|above| files.contains_key(above)));
    if let Some(path) = conflict {
        let shown = shown_path(path);
        return Err(refused(format!("{CODE}: {shown} lies in a directory that is also a file")));
    }
    Ok(files)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Other,
}

/// Goes through a .tar.gz; `left` is what its content may still take.
fn for_each_entry(
    bytes: &[u8],
    what: &str,
    left: &mut u64,
    mut take: impl FnMut(&str, Kind, Vec<u8>) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(refused(format!("{what}: found something else than gzip, expected a .tar.gz")));
    }
    let unreadable = |error: std::io::Error| refused(format!("{what}: found a .tar.gz that is damaged ({error})"));
    // The archive's own headers and long names count as well: gzip makes gigabytes out of nothing.
    let limit = left.saturating_mul(2);
    let mut archive = Archive::new(MultiGzDecoder::new(bytes).take(limit));
    for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
        let entry = entry.map_err(unreadable)?;
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refused(format!("{what}: found a name that is not UTF-8, expected a plain one")))?;
        let kind = match entry.header().entry_type() {
            EntryType::Regular if name.ends_with('/') => Kind::Directory,
            EntryType::Regular => Kind::File,
            EntryType::Directory => Kind::Directory,
            _ => Kind::Other,
        };
        if number >= MAX_FILES || entry.size() > *left {
            let expected = format!("at most {MAX_FILES} files and {} MiB", MAX_CONTENT / (1024 * 1024));
            return Err(refused(format!("{what}: found more than any real package has, expected {expected}")));
        }
        let size = entry.size();
        let mut content = Vec::new();
        entry.take(*left).read_to_end(&mut content).map_err(unreadable)?;
        if (content.len() as u64) < size {
            return Err(refused(format!("{what}: found a .tar.gz that is cut off")));
        }
        *left = left.saturating_sub(content.len() as u64);
        take(&name, kind, content)?;
    }
    Ok(())
}

/// A path as Go's `filepath.Clean` leaves it; none when it is absolute or leads out.
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

fn refused(problem: String) -> PackageError {
    PackageError::Refused(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
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
        /// Whatever comes out can be joined to a directory and stays in it.
        #[test]
        fn no_path_leaves(name in r"[a./\\ é\x00]{0,16}|\PC{0,24}") {
            if let Some(path) = clean(&name) {
                prop_assert!(path.as_os_str().is_empty() || crate::tree::is_plain(&path), "{path:?}");
            }
        }
    }
}
