//! A file that only grows, and what could not be written to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

/// Chunks of bytes by their offset.
pub(super) struct Chunks {
    directory: Option<PathBuf>,
    /// Created with the first chunk; `None` if that failed.
    file: OnceLock<Option<File>>,
    end: AtomicU64,
    unwritten: RwLock<BTreeMap<u64, Vec<u8>>>,
}

impl Chunks {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, file: OnceLock::new(), end: AtomicU64::default(), unwritten: RwLock::default() }
    }

    /// Appends a chunk, and returns its offset.
    pub(super) fn append(&self, bytes: Vec<u8>) -> u64 {
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let Some(file) = self.file.get_or_init(|| self.create()) else {
            self.keep(offset, bytes);
            return offset;
        };
        if let Err(error) = file.write_all_at(&bytes, offset) {
            tracing::warn!("cannot write blocks to their file, which stay in memory: {error}");
            self.keep(offset, bytes);
        }
        offset
    }

    /// A part of a chunk. `None` if it cannot be read, which is logged.
    pub(super) fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        if let Some(kept) = self.kept(offset, length) {
            return Some(kept);
        }
        let mut bytes = vec![0; length];
        let read = match self.file.get() {
            Some(Some(file)) => file.read_exact_at(&mut bytes, offset),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        match read {
            Ok(()) => Some(bytes),
            Err(error) => {
                tracing::error!("cannot read {length} bytes at {offset} of the file of blocks: {error}");
                None
            }
        }
    }

    fn create(&self) -> Option<File> {
        let created = match &self.directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        created
            .inspect_err(|error| tracing::warn!("cannot create a file for blocks, which stay in memory: {error}"))
            .ok()
    }

    fn keep(&self, offset: u64, bytes: Vec<u8>) {
        self.unwritten.write().unwrap_or_else(PoisonError::into_inner).insert(offset, bytes);
    }

    fn kept(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let unwritten = self.unwritten.read().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = unwritten.range(..=offset).next_back()?;
        let from = usize::try_from(offset - start).ok()?;
        bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
    }

    #[cfg(test)]
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn are_written(&self) -> bool {
        self.unwritten.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
