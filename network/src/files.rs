//! Files in memory, and the one way to write them to disk.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// The mode of files that hold a private key.
pub const PRIVATE_MODE: u32 = 0o600;
/// The mode of all other files.
pub const PUBLIC_MODE: u32 = 0o644;

/// One file of a bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits: [`PRIVATE_MODE`] or [`PUBLIC_MODE`].
    pub mode: u32,
}

impl File {
    /// A file that everyone may read.
    pub fn public(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), mode: PUBLIC_MODE }
    }

    /// A file that only its owner may read, such as a private key.
    pub fn private(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), mode: PRIVATE_MODE }
    }
}

impl fmt::Debug for File {
    /// Shows no content: it may be a private key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "File({} bytes, mode {:o})", self.bytes.len(), self.mode)
    }
}

/// Why files could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file exists already.
    #[error("{} already exists; write to an empty directory, or remove the old network first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A path leads out of the directory.
    #[error("the path {} leads out of the directory", path.display())]
    Outside {
        /// The path, relative to the directory.
        path: PathBuf,
    },
    /// A file or directory could not be created or written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
}

/// Writes every file under `directory`, which is created when it does not exist.
///
/// Directories get mode 0755. A file has its mode from the moment it exists, so a private key is never
/// readable by others.
///
/// # Errors
///
/// [`WriteError`]. When one of the files exists, it is neither overwritten nor followed, and nothing is
/// written. When the system fails halfway, the files written so far stay.
pub fn write_files(files: &BTreeMap<PathBuf, File>, directory: &Path) -> Result<(), WriteError> {
    for path in files.keys() {
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(WriteError::Outside { path: path.clone() });
        }
        let path = directory.join(path);
        if path.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path });
        }
    }
    make_directory(directory)?;
    for (path, file) in files {
        if let Some(parent) = path.parent() {
            make_directories_below(directory, parent)?;
        }
        write_file(&directory.join(path), file)?;
    }
    Ok(())
}

/// Creates each missing directory of the path. Follows no links.
fn make_directories_below(directory: &Path, relative: &Path) -> Result<(), WriteError> {
    let mut path = directory.to_owned();
    for part in relative {
        path.push(part);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(WriteError::Exists { path }),
            Err(_) => make_directory(&path)?,
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), WriteError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    builder.create(path).map_err(|source| WriteError::Io { path: path.to_owned(), source })
}

fn write_file(path: &Path, file: &File) -> Result<(), WriteError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, file.mode);
    let written = options.open(path).and_then(|mut handle| handle.write_all(&file.bytes));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => WriteError::Exists { path: path.to_owned() },
        _ => WriteError::Io { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, u32)]) -> BTreeMap<PathBuf, File> {
        entries
            .iter()
            .map(|(path, mode)| (PathBuf::from(path), File { bytes: path.as_bytes().to_vec(), mode: *mode }))
            .collect()
    }

    #[test]
    #[cfg(unix)]
    fn files_and_directories_have_their_modes() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("new/network");
        let files = files(&[("a/b/key.pem", PRIVATE_MODE), ("a/cert.pem", PUBLIC_MODE)]);
        write_files(&files, &directory).unwrap();

        let mode = |path: &str| fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("a/b/key.pem"), 0o600);
        assert_eq!(mode("a/cert.pem"), 0o644);
        assert_eq!(mode("a/b"), 0o755);
        assert_eq!(fs::read(directory.join("a/b/key.pem")).unwrap(), b"a/b/key.pem");
    }

    #[test]
    fn an_existing_file_is_kept_and_nothing_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("z"), "mine").unwrap();
        let error = write_files(&files(&[("a", 0o644), ("z", 0o644)]), scratch.path()).unwrap_err();
        assert!(matches!(&error, WriteError::Exists { path } if path.ends_with("z")), "{error}");
        assert_eq!(fs::read_to_string(scratch.path().join("z")).unwrap(), "mine");
        assert!(!scratch.path().join("a").exists(), "nothing may be written");
    }

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let inside = scratch.path().join("inside");
        for path in ["../escaped", "/tmp/escaped-absolute", "a/../../escaped", "./a"] {
            let error = write_files(&files(&[(path, 0o644)]), &inside).unwrap_err();
            assert!(matches!(error, WriteError::Outside { .. }), "{path}: {error}");
        }
        assert!(!scratch.path().join("escaped").exists(), "nothing may be written outside");
    }

    #[test]
    #[cfg(unix)]
    fn no_link_is_followed_out_of_the_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let (inside, outside) = (scratch.path().join("inside"), scratch.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("a")).unwrap();
        let error = write_files(&files(&[("a/b", 0o644)]), &inside).unwrap_err();
        assert!(matches!(error, WriteError::Exists { .. }), "{error}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn debug_shows_no_content() {
        let file = File { bytes: b"SECRET".to_vec(), mode: PRIVATE_MODE };
        assert_eq!(format!("{file:?}"), "File(6 bytes, mode 600)");
    }
}
