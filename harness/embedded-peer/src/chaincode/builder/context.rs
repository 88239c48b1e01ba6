//! A builder's working directories: `fabric-<package ID><random>` with src, metadata, bld and
//! release. They have mode 0700 and are removed on drop.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::chaincode::go;
use crate::chaincode::package::{gzip, limited, stream_error};

/// The directories of one build.
#[derive(Debug)]
pub(super) struct BuildContext {
    pub(super) source: PathBuf,
    pub(super) metadata: PathBuf,
    pub(super) build: PathBuf,
    pub(super) release: PathBuf,
    _scratch: TempDir,
}

impl BuildContext {
    /// Creates the directories in `temporary` and unpacks the code. The error is Fabric's text.
    pub(super) fn new(temporary: &Path, package_id: &str, metadata: &[u8], code: &[u8]) -> Result<Self, String> {
        let prefix = format!("fabric-{}", sanitized(package_id));
        let scratch = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(temporary)
            .map_err(|error| format!("could not create temp dir: {}", go::os_error(&error)))?;
        let make = |name: &str, what: &str| {
            let path = scratch.path().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => Ok(path),
                Err(error) => Err(format!("could not create {what} dir: {}", go::os_error(&error))),
            }
        };
        let source = make("src", "source")?;
        let metadata_directory = make("metadata", "metadata")?;
        let build = make("bld", "build")?;
        let release = make("release", "release")?;
        untar(code, &source).map_err(|error| format!("could not untar source package: {error}"))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o700);
        options
            .open(metadata_directory.join("metadata.json"))
            .and_then(|mut file| io::Write::write_all(&mut file, metadata))
            .map_err(|error| format!("could not write metadata file: {}", go::os_error(&error)))?;
        Ok(Self { source, metadata: metadata_directory, build, release, _scratch: scratch })
    }
}

/// A package ID that is safe in a file name.
pub(super) fn sanitized(package_id: &str) -> String {
    package_id.replace(['<', '>', ':', '"', '/', '\\', '|', '?', '*', '&'], "-")
}

/// Unpacks a .tar.gz of files and directories. Entries outside of the directory are errors.
fn untar(code: &[u8], directory: &Path) -> Result<(), String> {
    let mut archive = tar::Archive::new(limited(gzip(code)?));
    let next = |error: &io::Error| format!("could not get next tar element: {}", stream_error(error));
    for entry in archive.entries().map_err(|error| next(&error))? {
        let mut entry = entry.map_err(|error| next(&error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let inside = inside(&name).ok_or_else(|| format!("tar contains the absolute or escaping path '{name}'"))?;
        let target = directory.join(&inside);
        // The oldest tar format marks directories with a trailing slash.
        let kind = entry.header().entry_type();
        if kind.is_dir() || (kind.is_file() && kind.as_byte() == 0 && name.ends_with('/')) {
            make_directories(directory, &inside)
                .map_err(|error| format!("could not create directory '{name}': {}", go::os_error(&error)))?;
        } else if kind.is_file() {
            let parent = inside.parent().unwrap_or(Path::new("."));
            make_directories(directory, parent).map_err(|error| {
                format!("could not create directory '{}': {}", parent.display(), go::os_error(&error))
            })?;
            let mode = entry.header().mode().unwrap_or(0) & 0o777;
            let mut options = OpenOptions::new();
            // No truncation: Fabric writes duplicate entries over each other.
            options.create(true).truncate(false).write(true).mode(mode);
            let mut file = options
                .open(&target)
                .map_err(|error| format!("could not create file '{name}': {}", go::os_error(&error)))?;
            io::copy(&mut entry, &mut file).map_err(|error| stream_error(&error))?;
        } else {
            let kind = kind.as_byte();
            return Err(format!("invalid file type '{kind}' contained in archive for file '{name}'"));
        }
    }
    Ok(())
}

/// Creates the directories of a path inside `directory`, but not `directory`, which may have been removed with the
/// network's files.
fn make_directories(directory: &Path, inside: &Path) -> io::Result<()> {
    let mut path = directory.to_owned();
    let mut last = Ok(());
    for component in inside.components() {
        path.push(component);
        last = match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) if path.is_dir() => Ok(()),
            result => result,
        };
    }
    last
}

/// The path of an archive entry relative to the directory; `None` if it escapes the directory.
fn inside(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir if path.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// Copies a tree: files with their modes, and symbolic links that stay within the tree. Anything
/// else is an error, and the partial copy is removed.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    copy_entry(from, from, to).map_err(|error| {
        if let Err(error) = fs::remove_dir_all(to)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("failed to remove destination directory {} after copy error: {error}", to.display());
        }
        format!("failed to copy {} to {}: {error}", from.display(), to.display())
    })
}

fn copy_entry(root: &Path, from: &Path, to: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;

    let failed =
        |what: &str, path: &Path, error: &io::Error| format!("{what} {}: {}", path.display(), go::os_error(error));
    let metadata = fs::symlink_metadata(from).map_err(|error| failed("lstat", from, &error))?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(metadata.permissions().mode() & 0o777);
        builder.create(to).map_err(|error| failed("mkdir", to, &error))?;
        let entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<_> =
            entries.map_err(|error| failed("open", from, &error))?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        return names.iter().try_for_each(|name| copy_entry(root, &from.join(name), &to.join(name)));
    }
    if kind.is_symlink() {
        let link = fs::read_link(from).map_err(|error| failed("readlink", from, &error))?;
        if link.is_absolute() {
            return Err(format!("refusing to copy absolute symlink {} -> {}", from.display(), link.display()));
        }
        let directory = from.parent().and_then(|parent| parent.strip_prefix(root).ok()).unwrap_or(Path::new(""));
        if inside(&directory.join(&link).to_string_lossy()).is_none() {
            let (from, link) = (from.display(), link.display());
            return Err(format!("refusing to copy symlink {from} -> {link} pointing outside of source root"));
        }
        return std::os::unix::fs::symlink(&link, to).map_err(|error| failed("symlink", to, &error));
    }
    if kind.is_file() {
        // `fs::copy` also copies the mode, independent of the umask.
        return fs::copy(from, to).map(drop).map_err(|error| failed("open", from, &error));
    }
    let mode = go_mode(kind, metadata.permissions().mode());
    Err(format!("refusing to copy unsupported file {} with mode {mode:o}", from.display()))
}

/// A file's mode in Go's encoding.
fn go_mode(kind: fs::FileType, mode: u32) -> u32 {
    use std::os::unix::fs::FileTypeExt;

    let mut number = mode & 0o777;
    let bits = [
        (kind.is_fifo(), 25),
        (kind.is_socket(), 24),
        (kind.is_block_device() || kind.is_char_device(), 26),
        (kind.is_char_device(), 21),
        (mode & 0o4000 != 0, 23),
        (mode & 0o2000 != 0, 22),
        (mode & 0o1000 != 0, 20),
    ];
    for (is_set, bit) in bits {
        number |= u32::from(is_set) << bit;
    }
    number
}
