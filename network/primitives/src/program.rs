//! Finds programs in directories, as a shell does with PATH.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Why a file is not a program. The text completes "PATH: …".
#[derive(Debug, thiserror::Error)]
pub enum NotAProgram {
    /// The file does not exist, or cannot be examined.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A directory, a socket, or another kind of file.
    #[error("not a file")]
    Kind,
    /// No permission to execute it is set.
    #[error("not executable; run chmod +x")]
    Permission,
}

/// Checks that `path` is an executable file. Links are followed.
///
/// # Errors
/// [`NotAProgram`] with the reason.
pub fn check(path: &Path) -> Result<(), NotAProgram> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(NotAProgram::Kind);
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(NotAProgram::Permission);
    }
    Ok(())
}

/// Whether `path` is an executable file.
pub fn is_program(path: &Path) -> bool {
    check(path).is_ok()
}

/// The directories in an environment variable such as `PATH`, in order; empty when it is not set. An empty entry is
/// the current directory, as in a shell.
pub fn directories(variable: &str) -> Vec<PathBuf> {
    std::env::var_os(variable).map(|value| std::env::split_paths(&value).collect()).unwrap_or_default()
}

/// The path of the first `name` in these directories that `accept` accepts, usually [`is_program`] or
/// [`Path::is_file`]. The path is relative when the directory is.
pub fn find(name: &str, directories: &[PathBuf], accept: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|path| accept(path))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn the_first_executable_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let [none, plain, kind, program] = ["none", "plain", "kind", "program"].map(|name| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        fs::create_dir(kind.join("peer")).unwrap();
        for (place, mode) in [(&plain, 0o644), (&program, 0o755)] {
            fs::write(place.join("peer"), "").unwrap();
            fs::set_permissions(place.join("peer"), Permissions::from_mode(mode)).unwrap();
        }

        let places = [none.clone(), plain.clone(), kind.clone(), program.clone()];
        assert_eq!(find("peer", &places, is_program), Some(program.join("peer")));
        assert_eq!(find("peer", &places, Path::is_file), Some(plain.join("peer")));
        assert_eq!(find("orderer", &places, is_program), None);

        assert!(matches!(check(&none.join("peer")), Err(NotAProgram::File(_))));
        assert!(matches!(check(&plain.join("peer")), Err(NotAProgram::Permission)));
        assert!(matches!(check(&kind.join("peer")), Err(NotAProgram::Kind)));
        assert!(check(&program.join("peer")).is_ok());
    }

    #[test]
    fn a_variable_that_is_not_set_lists_no_directories() {
        assert!(directories("FABRIC_PRIMITIVES_NOT_SET").is_empty());
        assert!(!directories("PATH").is_empty());
    }
}
