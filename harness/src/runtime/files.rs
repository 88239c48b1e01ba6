//! Writes the files in the directory of a node or chaincode server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use fabric_network::bundle::{Bundle, File};
use fabric_network::node::NodeSpec;

use super::RuntimeError;

/// The programs of an external builder: one program, which behaves by the name it is called by.
pub(super) const BUILDER_PROGRAMS: [&str; 4] = ["detect", "build", "release", "run"];

/// Writes the bundle's files of a node into `directory`.
pub(super) fn write_node(bundle: &Bundle, spec: &NodeSpec, directory: &Path) -> Result<(), RuntimeError> {
    make_directory(directory)?;
    let below = bundle.files.iter().filter_map(|(path, file)| Some((path.strip_prefix(&spec.directory).ok()?, file)));
    write(below, directory)
}

/// Writes files under `directory`, each created with its mode. Overwrites nothing.
pub(super) fn write<'a>(
    files: impl Iterator<Item = (&'a Path, &'a File)>,
    directory: &Path,
) -> Result<(), RuntimeError> {
    for (relative, file) in files {
        let path = directory.join(relative);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a path within its directory");
            return Err(RuntimeError::File { path, source });
        }
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(file.mode);
        options
            .open(&path)
            .and_then(|mut handle| handle.write_all(&file.bytes))
            .map_err(|source| RuntimeError::File { path, source })?;
    }
    Ok(())
}

/// Creates a directory that only this user can enter, with its parents.
pub(super) fn make_directory(path: &Path) -> Result<(), RuntimeError> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| RuntimeError::File { path: path.to_owned(), source })
}

/// Creates `directory/bin/{detect,build,release,run}`, links to the builder program.
pub(super) fn link_builder(builder: &Path, directory: &Path) -> Result<(), RuntimeError> {
    let bin = directory.join("bin");
    make_directory(&bin)?;
    BUILDER_PROGRAMS.iter().try_for_each(|name| link_program(builder, &bin.join(name)))
}

/// Creates a link to a program.
pub(super) fn link_program(program: &Path, link: &Path) -> Result<(), RuntimeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RuntimeError::File { path, source }
    };
    let program = program.canonicalize().map_err(failed(program))?;
    symlink(program, link).map_err(failed(link))
}

/// Writes the files of a chaincode server under `directory`.
pub(super) fn write_chaincode(files: &BTreeMap<PathBuf, File>, directory: &Path) -> Result<(), RuntimeError> {
    make_directory(directory)?;
    write(files.iter().map(|(path, file)| (path.as_path(), file)), directory)
}

/// [`write_chaincode`] for a container whose user is not known: every user may read the files. On this machine
/// nobody else can, since only this user can enter the run's directory.
#[cfg(feature = "docker")]
pub(super) fn write_for_everybody(files: &BTreeMap<PathBuf, File>, directory: &Path) -> Result<(), RuntimeError> {
    write_chaincode(files, directory)?;
    let open = |path: &Path, mode: u32| {
        let opened = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        opened.map_err(|source| RuntimeError::File { path: path.to_owned(), source })
    };
    files.keys().try_for_each(|name| open(&directory.join(name), 0o644))?;
    open(directory, 0o755)
}

/// Removes an earlier run's files of these names from a directory of the user. Unless `is_ours`, they are the
/// user's own files, which is an error.
pub(super) fn clear<'a>(
    names: impl Iterator<Item = &'a Path>,
    directory: &Path,
    is_ours: bool,
) -> Result<(), RuntimeError> {
    for path in names.map(|name| directory.join(name)) {
        match path.symlink_metadata() {
            Ok(_) if !is_ours => {
                let source = io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "a file of your own already exists; give a `directory` that is only for the files of the chaincode server",
                );
                return Err(RuntimeError::File { path, source });
            }
            Ok(_) => fs::remove_file(&path).map_err(|source| RuntimeError::File { path, source })?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Writes, atomically, a file that anyone may read.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), RuntimeError> {
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| RuntimeError::File { path: path.to_owned(), source })
}
