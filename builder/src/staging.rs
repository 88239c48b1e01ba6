//! Writes an output directory without exposing partial output: everything is written under a hidden
//! name, then renamed. An error removes the hidden files; after an interruption the next run does.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::BuilderError;
use crate::quote::shown_path;
use crate::tree;

/// Prefix of hidden names. A separate staging directory would be slower: removing it takes longer than
/// the rest of a build on a busy file system.
const PREFIX: &str = ".ccaas-builder.partial";

/// Mode of files without secrets; the umask applies.
pub(crate) const PUBLIC: u32 = 0o644;
/// Mode of a file with a private key.
pub(crate) const SECRET: u32 = 0o600;

/// An output directory that is being written.
pub(crate) struct Staging {
    output: PathBuf,
    /// The final names of the hidden files and directories at the top level.
    names: BTreeSet<OsString>,
}

impl Staging {
    /// Creates the output directory if it is missing, and removes hidden files of an interrupted run.
    pub(crate) fn begin(output: &Path) -> Result<Self, BuilderError> {
        match fs::read_dir(output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(output),
            Err(error) => Err(error),
            Ok(listing) => listing.filter_map(Result::ok).try_for_each(|entry| {
                let leftover = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
                if leftover { remove(&entry.path()) } else { Ok(()) }
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

    /// Writes a file. The path must be relative to the output directory and stay in it.
    pub(crate) fn write(&mut self, path: &Path, mut bytes: impl Read, mode: u32) -> Result<(), BuilderError> {
        let mut steps = path.iter();
        let Some(top) = steps.next().filter(|_| tree::is_relative(path)) else {
            return Err(BuilderError::Unsafe {
                path: shown_path(path),
                problem: "is outside the output directory".into(),
            });
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

    /// Copies a file of the package, up to the size it had when it was listed.
    pub(crate) fn copy(&mut self, from: &Path, entry: &tree::Entry, to: &Path) -> Result<(), BuilderError> {
        let source = from.join(&entry.path);
        let file = tree::open(&source, to)?;
        self.write(to, file.take(entry.size), PUBLIC)
    }

    /// Renames everything to its final name, `last` after all others.
    pub(crate) fn publish(mut self, last: &str) -> Result<(), BuilderError> {
        let mut names: Vec<OsString> = self.names.iter().cloned().collect();
        names.sort_by_key(|name| name == last);
        for name in names {
            let (staged, target) = (self.hidden(&name), self.output.join(&name));
            replace(&staged, &target, &self.hidden(OsStr::new(""))).map_err(BuilderError::write(&target))?;
            self.names.remove(&name);
        }
        Ok(())
    }
}

/// Replaces the target. A file is replaced atomically; a non-empty directory is moved aside first.
fn replace(staged: &Path, target: &Path, replaced: &Path) -> io::Result<()> {
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
        /// No path creates a file outside the directory.
        #[test]
        fn nothing_is_written_outside(path in r"(\.\.?|[ab]|/|\\|é){1,3}(/(\.\.?|[ab]|)){0,4}") {
            let scratch = tempfile::tempdir().unwrap();
            let inner = scratch.path().join("one/two/out");
            let mut staging = Staging::begin(&inner).unwrap();
            if staging.write(Path::new(&path), b"x".as_slice(), PUBLIC).is_ok() {
                staging.publish("").unwrap();
                // Without a trailing slash.
                let written: PathBuf = Path::new(&path).components().collect();
                prop_assert_eq!(fs::read(inner.join(written)).unwrap(), b"x");
            }
            for outside in [scratch.path().to_owned(), scratch.path().join("one"), scratch.path().join("one/two")] {
                prop_assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
            }
        }
    }

    #[test]
    fn dropped_output_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut staging = Staging::begin(scratch.path()).unwrap();
        staging.write(Path::new("a/b"), b"x".as_slice(), PUBLIC).unwrap();
        staging.write(Path::new("c"), b"x".as_slice(), SECRET).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
        drop(staging);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
