//! Writes a directory completely or not at all: into a neighbouring directory, then with one rename.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fabric_network::bundle::{File, WriteError, write_files};
use fabric_network::render::operator::description;
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The directory can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Something is in it.
    #[error("--out {} is not empty: give a new directory, or replace the bundle that is there by --force", path.display())]
    NotEmpty {
        /// What was given.
        path: PathBuf,
    },
    /// `--force` is for bundles.
    #[error(
        "--out {} is not empty, and no bundle: it has no {}; --force replaces nothing else",
        path.display(), description::FILE
    )]
    NoBundle {
        /// What was given.
        path: PathBuf,
    },
    /// Somebody else's files would go.
    #[error(
        "--out {} has files that are not of this bundle, and --force would remove them: {}; move them elsewhere, or \
         give a new directory",
        path.display(), some_of(files)
    )]
    Foreign {
        /// What was given.
        path: PathBuf,
        /// The files, relative to it.
        files: Vec<PathBuf>,
    },
    /// The system refused.
    #[error("--out {}: {what}", path.display())]
    Io {
        /// What was given.
        path: PathBuf,
        /// What could not be done.
        what: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// How many files are named.
const NAMED: usize = 5;

fn some_of(files: &[PathBuf]) -> String {
    let mut names: Vec<String> = files.iter().take(NAMED).map(|file| file.display().to_string()).collect();
    if files.len() > NAMED {
        names.push(format!("and {} more", files.len() - NAMED));
    }
    names.join(", ")
}

/// Where a bundle of another topology, chaincode or version has other files: what it had there goes.
const REPLACED: [&str; 6] =
    ["organizations", "channels", "chaincode", "environment", "systemd", "kubernetes/overlays/development-sidecar"];

/// A directory that may be written.
pub(super) struct Target {
    path: PathBuf,
    replaces: bool,
}

impl Target {
    /// Decides before anything is made whether the directory may be written.
    pub(super) fn check(path: &Path, force: bool) -> Result<Self, OutputError> {
        let io = |what: &'static str| {
            let path = path.to_owned();
            move |source| OutputError::Io { path, what, source }
        };
        let path = std::path::absolute(path).map_err(io("is no path"))?;
        // A path that ends in `..` or `.` names no entry that could be replaced.
        if path.file_name().is_none() {
            return Err(io("is no directory that can be made")(io::ErrorKind::InvalidInput.into()));
        }
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, replaces: false }),
            Err(error) => return Err(io("can't be looked at")(error)),
        };
        if !metadata.is_dir() {
            return Err(io("is no directory")(io::ErrorKind::NotADirectory.into()));
        }
        let is_empty = fs::read_dir(&path).map_err(io("can't be read"))?.next().is_none();
        if is_empty {
            Ok(Self { path, replaces: true })
        } else if !force {
            Err(OutputError::NotEmpty { path })
        } else if path.join(description::FILE).is_file() {
            Ok(Self { path, replaces: true })
        } else {
            Err(OutputError::NoBundle { path })
        }
    }

    /// The directory, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are there, and that no bundle like this one would have.
    fn foreign(&self, files: &BTreeMap<PathBuf, File>) -> io::Result<Vec<PathBuf>> {
        let (mut foreign, mut directories) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.path.join(&directory))? {
                let entry = entry?;
                let path = directory.join(entry.file_name());
                if files.contains_key(&path) || REPLACED.iter().any(|replaced| path.starts_with(replaced)) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    directories.push(path);
                } else {
                    foreign.push(path);
                }
            }
        }
        foreign.sort();
        Ok(foreign)
    }

    /// Writes the files to a neighbouring directory, then renames it.
    pub(super) fn write(&self, files: &BTreeMap<PathBuf, File>) -> Result<(), OutputError> {
        let io = |what: &'static str| {
            let path = self.path.clone();
            move |source| OutputError::Io { path, what, source }
        };
        if self.replaces {
            let foreign = self.foreign(files).map_err(io("can't be read"))?;
            if !foreign.is_empty() {
                return Err(OutputError::Foreign { path: self.path.clone(), files: foreign });
            }
        }
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(io("its parent can't be made"))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.partial-");
        // Removed when it is dropped: what was written if this fails, what was replaced otherwise.
        let aside = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let aside = aside.map_err(io("cannot create a directory next to it"))?;
        write_files(files, aside.path())?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(aside.path(), mode).map_err(io("can't get its permissions"))?;
        let flags = if self.replaces { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, aside.path(), CWD, &self.path, flags)
            .map_err(|error| io("can't be put into its place")(error.into()))?;
        if !self.replaces {
            // It is elsewhere now.
            let _ = aside.keep();
        }
        Ok(())
    }
}
