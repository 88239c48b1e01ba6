//! Writing an output directory so that it is never seen half-written: everything gets a hidden name
//! in it first, and is renamed when it is whole. An error removes what is hidden; what an
//! interruption leaves of it is removed by the next run.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuilderError;
use crate::quote::shown_path;
use crate::tree;

/// Hidden names begin with this. A directory of its own for them would have to be removed, which
/// takes a busy file system longer than everything else that a build does.
const PREFIX: &str = ".ccaas-builder.partial";

/// Mode of everything that is not secret; the process's umask applies.
pub(crate) const PUBLIC: u32 = 0o644;
/// Mode of a file with a private key.
pub(crate) const SECRET: u32 = 0o600;

/// An output directory being written.
pub(crate) struct Staging {
    output: PathBuf,
    /// What is hidden at the top of the directory, by the names that it will have.
    names: BTreeSet<OsString>,
}

impl Staging {
    /// Begins, with the output directory made if it is not there.
    pub(crate) fn begin(output: &Path) -> Result<Self, BuilderError> {
        match fs::read_dir(output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(output),
            Err(error) => Err(error),
            Ok(listing) => listing.filter_map(Result::ok).try_for_each(|entry| {
                let is_left = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
                if is_left { remove(&entry.path()) } else { Ok(()) }
            }),
        }
        .map_err(BuilderError::write(output))?;
        Ok(Self { output: output.to_owned(), names: BTreeSet::new() })
    }

    fn hidden(&self, name: &OsStr) -> PathBuf {
        let mut hidden = OsString::from(PREFIX);
        hidden.push("-");
        hidden.push(name);
        self.output.join(hidden)
    }

    /// Writes one file. The path must be plain steps below the output directory.
    pub(crate) fn write(&mut self, path: &Path, mut bytes: impl Read, mode: u32) -> Result<(), BuilderError> {
        let mut steps = path.iter();
        let Some(top) = steps.next().filter(|_| tree::is_plain(path)) else {
            return Err(BuilderError::Unsafe { path: shown_path(path), problem: "leaves the output directory".into() });
        };
        let mut target = self.hidden(top);
        target.extend(steps);
        self.names.insert(top.to_owned());
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
    pub(crate) fn copy(&mut self, from: &Path, entry: &tree::Entry, to: &Path) -> Result<(), BuilderError> {
        let source = from.join(&entry.path);
        let file = tree::open(&source, to)?;
        self.write(to, file.take(entry.size), PUBLIC)
    }

    /// Puts everything in its place, `last` after all others: who sees it may rely on the rest.
    pub(crate) fn publish(mut self, last: &str) -> Result<(), BuilderError> {
        let mut names: Vec<OsString> = self.names.iter().cloned().collect();
        names.sort_by_key(|name| name == last);
        for name in names {
            let (staged, target) = (self.hidden(&name), self.output.join(&name));
            put(&staged, &target, &self.hidden(OsStr::new(""))).map_err(BuilderError::write(&target))?;
            self.names.remove(&name);
        }
        Ok(())
    }
}

/// A file is replaced in one step; a directory with content has to make way first.
fn put(staged: &Path, target: &Path, replaced: &Path) -> io::Result<()> {
    let Err(error) = fs::rename(staged, target) else { return Ok(()) };
    if !fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(error);
    }
    fs::rename(target, replaced).and_then(|()| fs::rename(staged, target)).and_then(|()| remove(replaced))
}

impl Drop for Staging {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = remove(&self.hidden(name));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No path, plain or not, makes a file outside of the directory.
        #[test]
        fn nothing_is_written_outside(path in r"(\.\.?|[ab]|/|\\|é){1,3}(/(\.\.?|[ab]|)){0,4}") {
            let scratch = tempfile::tempdir().unwrap();
            let inner = scratch.path().join("one/two/out");
            let mut staging = Staging::begin(&inner).unwrap();
            if staging.write(Path::new(&path), b"x".as_slice(), PUBLIC).is_ok() {
                staging.publish("").unwrap();
                // Without a slash at its end.
                let written: PathBuf = Path::new(&path).components().collect();
                prop_assert_eq!(fs::read(inner.join(written)).unwrap(), b"x");
            }
            for outside in [scratch.path().to_owned(), scratch.path().join("one"), scratch.path().join("one/two")] {
                prop_assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
            }
        }
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let mut staging = Staging::begin(scratch.path()).unwrap();
        staging.write(Path::new("a/b"), b"x".as_slice(), PUBLIC).unwrap();
        staging.write(Path::new("c"), b"x".as_slice(), SECRET).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
        drop(staging);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
