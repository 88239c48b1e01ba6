//! Writing an output directory so that it is never seen half-written: everything goes to a hidden
//! directory inside it first, then each entry is renamed into place. An error removes the hidden
//! directory; what an interruption leaves of it is removed by the next run.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuilderError;
use crate::tree;

const NAME: &str = ".ccaas-builder.partial";
const REPLACED: &str = ".replaced";

/// Mode of everything that is not secret; the process's umask applies.
pub(crate) const PUBLIC: u32 = 0o644;
/// Mode of a file with a private key.
pub(crate) const SECRET: u32 = 0o600;

/// An output directory being written.
pub(crate) struct Staging {
    output: PathBuf,
    directory: PathBuf,
}

impl Staging {
    /// Begins, with the output directory made if it is not there.
    pub(crate) fn begin(output: &Path) -> Result<Self, BuilderError> {
        let directory = output.join(NAME);
        let begin = || fs::DirBuilder::new().mode(0o700).create(&directory);
        let made = begin().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::create_dir_all(output).and_then(|()| begin()),
            io::ErrorKind::AlreadyExists => remove(&directory).and_then(|()| begin()),
            _ => Err(error),
        });
        made.map_err(BuilderError::write(&directory))?;
        Ok(Self { output: output.to_owned(), directory })
    }

    /// Writes one file. The path must be plain steps below the output directory.
    pub(crate) fn write(&self, path: &Path, mut bytes: impl Read, mode: u32) -> Result<(), BuilderError> {
        let target = self.directory.join(path);
        if !tree::is_plain(path) {
            return Err(BuilderError::Unsafe {
                path: tree::plain_or_quoted(path),
                problem: "leaves the output directory".into(),
            });
        }
        let create = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
        let file = create().or_else(|error| match target.parent() {
            Some(parent) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).and_then(|()| create())
            }
            _ => Err(error),
        });
        let mut file = file.map_err(BuilderError::write(&target))?;
        io::copy(&mut bytes, &mut file).map_err(BuilderError::write(&target))?;
        file.flush().map_err(BuilderError::write(&target))
    }

    /// Copies a file of the package, of the size that it had when it was looked at.
    pub(crate) fn copy(&self, from: &Path, entry: &tree::Entry, to: &Path) -> Result<(), BuilderError> {
        let source = from.join(&entry.path);
        let file = tree::open(&source, to)?;
        self.write(to, file.take(entry.size), PUBLIC)
    }

    /// Puts everything in its place, `last` after all others: who sees it may rely on the rest.
    pub(crate) fn publish(self, last: &str) -> Result<(), BuilderError> {
        let names = fs::read_dir(&self.directory).and_then(|listing| {
            listing.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let mut names = names.map_err(BuilderError::read(&self.directory))?;
        names.sort_by_key(|name| (name == last, name.clone()));
        for name in names {
            let (staged, target) = (self.directory.join(&name), self.output.join(&name));
            let Err(error) = fs::rename(&staged, &target) else { continue };
            // A file is replaced in one step; a directory with content has to make way first.
            if !fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(BuilderError::write(&target)(error));
            }
            let replaced = self.directory.join(REPLACED);
            fs::rename(&target, &replaced)
                .and_then(|()| fs::rename(&staged, &target))
                .map_err(BuilderError::write(&target))?;
            remove(&replaced).map_err(BuilderError::write(&replaced))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Empty, if everything went well.
        let _ = fs::remove_dir(&self.directory).or_else(|_| remove(&self.directory));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
