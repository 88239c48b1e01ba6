//! Reads the files of an unpacked package: only regular files, never through links, within limits.

use std::borrow::Cow;
#[cfg(feature = "package")]
use std::collections::BTreeMap;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::BuilderError;
use crate::quote::shown_path;

/// Size limit of metadata.json, in bytes.
pub(crate) const MAX_METADATA: u64 = 64 * 1024;
/// Size limit of connection.json, and of a file with a setting of the peer, in bytes.
pub(crate) const MAX_CONNECTION: u64 = 1024 * 1024;
/// Size limit of a CouchDB index, in bytes.
pub(crate) const MAX_INDEX: u64 = 1024 * 1024;
/// Size limit of a copied directory, in bytes; a peer accepts packages of up to 100 MiB.
const MAX_TREE: u64 = 64 * 1024 * 1024;
/// Limit on files and directories in a copied directory.
const MAX_ENTRIES: usize = 10_000;
/// Limit on nested directories in a copied directory.
const MAX_DEPTH: usize = 32;

/// A regular file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path relative to the directory.
    pub(crate) path: PathBuf,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// The files of an unpacked package, with the same limits on each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// A trusted directory with untrusted files.
    Directory(&'a Path),
    /// In memory, by path.
    #[cfg(feature = "package")]
    Files(&'a BTreeMap<PathBuf, Vec<u8>>),
}

impl<'a> Source<'a> {
    /// Reads a file of at most `limit` bytes.
    pub(crate) fn read(self, path: &Path, limit: u64) -> Result<Cow<'a, [u8]>, BuilderError> {
        match self {
            Self::Directory(directory) => read(&directory.join(path), path, limit).map(Cow::Owned),
            #[cfg(feature = "package")]
            Self::Files(files) => match files.get(path) {
                None => Err(BuilderError::read(path)(io::ErrorKind::NotFound.into())),
                Some(bytes) if bytes.len() as u64 > limit => Err(too_large(path, limit)),
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
            },
        }
    }

    /// See [`files`].
    pub(crate) fn files(self, below: &Path) -> Result<Vec<Entry>, BuilderError> {
        match self {
            Self::Directory(directory) => files(directory, below),
            #[cfg(feature = "package")]
            Self::Files(files) => {
                if files.contains_key(below) {
                    return Err(unsafe_path(below, "is a file, expected a directory".to_owned()));
                }
                let below_it = |(path, bytes): (&PathBuf, &Vec<u8>)| {
                    let path = path.strip_prefix(below).ok().filter(|path| !path.as_os_str().is_empty())?;
                    Some(Entry { path: path.to_owned(), size: bytes.len() as u64 })
                };
                let entries: Vec<Entry> = files.iter().filter_map(below_it).collect();
                if let Some(deep) = entries.iter().find(|entry| entry.path.components().count() > MAX_DEPTH + 1) {
                    return Err(too_deep(&below.join(&deep.path)));
                }
                if entries.iter().map(|entry| entry.size).sum::<u64>() > MAX_TREE {
                    return Err(too_large(below, MAX_TREE));
                }
                Ok(entries)
            }
        }
    }
}

/// Opens a regular file, without following a link or blocking on a named pipe. `shown` is the path for
/// messages.
pub(crate) fn open(path: &Path, shown: &Path) -> Result<File, BuilderError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        // Links and sockets fail to open: report the kind of file instead of the system's error.
        let kind = fs::symlink_metadata(path).ok().map(|metadata| metadata.file_type());
        let unsafe_kind = kind.and_then(|kind| check_kind(kind, false, shown).err());
        unsafe_kind.unwrap_or_else(|| BuilderError::read(path)(error))
    })?;
    check_kind(file.metadata().map_err(BuilderError::read(path))?.file_type(), false, shown)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, shown: &Path, limit: u64) -> Result<Vec<u8>, BuilderError> {
    let file = open(path, shown)?;
    // With room for one more byte, so that reading to the end does not grow the buffer.
    let size = file.metadata().map_err(BuilderError::read(path))?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(BuilderError::read(path))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(shown, limit));
    }
    Ok(bytes)
}

/// Whether the error is that the file does not exist.
pub(crate) fn is_missing(error: &BuilderError) -> bool {
    matches!(error, BuilderError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// All regular files in the directory `below` of a trusted directory, sorted by path. A missing directory
/// has none. No component of `below` may be a link.
pub(crate) fn files(base: &Path, below: &Path) -> Result<Vec<Entry>, BuilderError> {
    let mut root = base.to_owned();
    for step in below {
        root.push(step);
        match fs::symlink_metadata(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(BuilderError::read(&root)(error)),
            Ok(metadata) => check_kind(metadata.file_type(), true, below)?,
        }
    }
    let mut walk = Walk { root: &root, shown: below, files: Vec::new(), entries: 0, bytes: 0 };
    walk.directory(Path::new(""), 0)?;
    walk.files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(walk.files)
}

struct Walk<'a> {
    root: &'a Path,
    shown: &'a Path,
    files: Vec<Entry>,
    entries: usize,
    bytes: u64,
}

impl Walk<'_> {
    fn directory(&mut self, below: &Path, depth: usize) -> Result<(), BuilderError> {
        let directory = self.root.join(below);
        let shown = self.shown.join(below);
        if depth > MAX_DEPTH {
            return Err(too_deep(&shown));
        }
        for entry in fs::read_dir(&directory).map_err(BuilderError::read(&directory))? {
            let entry = entry.map_err(BuilderError::read(&directory))?;
            let path = below.join(entry.file_name());
            let shown = self.shown.join(&path);
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(unsafe_path(self.shown, format!("contains more than {MAX_ENTRIES} files")));
            }
            let metadata = entry.metadata().map_err(BuilderError::read(&entry.path()))?;
            if metadata.is_dir() {
                self.directory(&path, depth + 1)?;
                continue;
            }
            check_kind(metadata.file_type(), false, &shown)?;
            self.bytes = self.bytes.saturating_add(metadata.len());
            if self.bytes > MAX_TREE {
                return Err(too_large(self.shown, MAX_TREE));
            }
            self.files.push(Entry { path, size: metadata.len() });
        }
        Ok(())
    }
}

/// Whether a path is relative and has only normal components.
pub(crate) fn is_relative(path: &Path) -> bool {
    path.components().all(|step| matches!(step, Component::Normal(_))) && path.components().next().is_some()
}

pub(crate) fn too_large(shown: &Path, limit: u64) -> BuilderError {
    let limit =
        if limit >= 1024 * 1024 { format!("{} MiB", limit / (1024 * 1024)) } else { format!("{} KiB", limit / 1024) };
    unsafe_path(shown, format!("is larger than {limit}"))
}

fn too_deep(shown: &Path) -> BuilderError {
    unsafe_path(shown, format!("is nested deeper than {MAX_DEPTH} directories"))
}

fn check_kind(kind: FileType, directory: bool, shown: &Path) -> Result<(), BuilderError> {
    if (directory && kind.is_dir()) || (!directory && kind.is_file()) {
        return Ok(());
    }
    let expected = if directory { "a directory" } else { "a regular file" };
    Err(unsafe_path(shown, format!("is {}, expected {expected}", name_of(kind))))
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a file"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn unsafe_path(shown: &Path, problem: String) -> BuilderError {
    BuilderError::Unsafe { path: shown_path(shown), problem }
}

/// Reads a file named by a user or the peer's operator. Follows links, since mounted secrets are links, but reads
/// only regular files within the limit.
pub(crate) fn read_trusted(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        return Err(io::Error::other(format!("not a regular file, but {}", name_of(kind))));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {} MiB", limit / (1024 * 1024))));
    }
    Ok(bytes)
}
