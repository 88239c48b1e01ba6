//! Reading what a package unpacked to: regular files only, never through a link, within limits.
//! Writes nothing.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::BuilderError;
use crate::quote::shown_path;

/// Largest metadata.json, in bytes.
pub(crate) const MAX_METADATA: u64 = 64 * 1024;
/// Largest connection.json, or file with a setting on the peer, in bytes.
pub(crate) const MAX_CONNECTION: u64 = 1024 * 1024;
/// Largest CouchDB index, in bytes.
pub(crate) const MAX_INDEX: u64 = 1024 * 1024;
/// Most bytes of one copied directory: less than the 100 MiB that a peer takes in a message.
const MAX_TREE: u64 = 64 * 1024 * 1024;
/// Most files and directories of one copied directory.
const MAX_ENTRIES: usize = 10_000;
/// Deepest directory of one copied directory.
const MAX_DEPTH: usize = 32;

/// A regular file in a directory of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path below the directory.
    pub(crate) path: PathBuf,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// Opens a regular file, without following a link or waiting for a pipe's writer. `shown` is the
/// path that a message names.
pub(crate) fn open(path: &Path, shown: &Path) -> Result<File, BuilderError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        // A link or a socket does not open; say so instead of the system's words.
        let kind = fs::symlink_metadata(path).ok().map(|metadata| metadata.file_type());
        let refused = kind.and_then(|kind| refuse(kind, false, shown).err());
        refused.unwrap_or_else(|| BuilderError::read(path)(error))
    })?;
    refuse(file.metadata().map_err(BuilderError::read(path))?.file_type(), false, shown)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, shown: &Path, limit: u64) -> Result<Vec<u8>, BuilderError> {
    let file = open(path, shown)?;
    // Room for one byte more, in which the end is seen.
    let size = file.metadata().map_err(BuilderError::read(path))?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(BuilderError::read(path))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(shown, limit));
    }
    Ok(bytes)
}

/// Whether a read failed because nothing is there.
pub(crate) fn is_missing(error: &BuilderError) -> bool {
    matches!(error, BuilderError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// All regular files of the directory `below` a trusted one, in order of their paths; none if there
/// is no such directory. No step of `below` may be a link.
pub(crate) fn files(base: &Path, below: &Path) -> Result<Vec<Entry>, BuilderError> {
    let mut root = base.to_owned();
    for step in below {
        root.push(step);
        match fs::symlink_metadata(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(BuilderError::read(&root)(error)),
            Ok(metadata) => refuse(metadata.file_type(), true, below)?,
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
            return Err(unsafe_path(&shown, format!("is more than {MAX_DEPTH} directories deep")));
        }
        for entry in fs::read_dir(&directory).map_err(BuilderError::read(&directory))? {
            let entry = entry.map_err(BuilderError::read(&directory))?;
            let path = below.join(entry.file_name());
            let shown = self.shown.join(&path);
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(unsafe_path(self.shown, format!("holds more than {MAX_ENTRIES} files")));
            }
            let metadata = entry.metadata().map_err(BuilderError::read(&entry.path()))?;
            if metadata.is_dir() {
                self.directory(&path, depth + 1)?;
                continue;
            }
            refuse(metadata.file_type(), false, &shown)?;
            self.bytes = self.bytes.saturating_add(metadata.len());
            if self.bytes > MAX_TREE {
                return Err(too_large(self.shown, MAX_TREE));
            }
            self.files.push(Entry { path, size: metadata.len() });
        }
        Ok(())
    }
}

/// Whether a path names something below a directory, in plain steps.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.components().all(|step| matches!(step, Component::Normal(_))) && path.components().next().is_some()
}

pub(crate) fn too_large(shown: &Path, limit: u64) -> BuilderError {
    let limit =
        if limit >= 1024 * 1024 { format!("{} MiB", limit / (1024 * 1024)) } else { format!("{} KiB", limit / 1024) };
    unsafe_path(shown, format!("is larger than {limit}"))
}

fn refuse(kind: FileType, directory: bool, shown: &Path) -> Result<(), BuilderError> {
    if (directory && kind.is_dir()) || (!directory && kind.is_file()) {
        return Ok(());
    }
    let found = if kind.is_symlink() {
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
    };
    let expected = if directory { "a directory" } else { "a regular file" };
    Err(unsafe_path(shown, format!("is {found}, expected {expected}")))
}

fn unsafe_path(shown: &Path, problem: String) -> BuilderError {
    BuilderError::Unsafe { path: shown_path(shown), problem }
}

/// Reads a file that the peer's operator named: links are followed, since mounted secrets are
/// links, but nothing that could block or grow without end is read.
pub(crate) fn read_trusted(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than the {} MiB that are taken", limit / (1024 * 1024))));
    }
    Ok(bytes)
}
