//! Removal of directories with private keys. Another process can complete a removal that was interrupted at
//! any point.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How often a removal is repeated if another process adds or removes files meanwhile.
const ATTEMPTS: usize = 10;

/// Removes a directory with its contents, if it exists. Private files, such as keys, go first.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        // What this cannot remove, the next step reports.
        let _ = remove_private_files(directory);
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => return Ok(()),
            // A process that is ending wrote a last file, or another removal was faster.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
    fs::remove_dir_all(directory)
}

/// Removes the contents of a directory, except the files of these names. Private files go first.
pub(crate) fn empty(directory: &Path, except: &[&str]) -> io::Result<()> {
    let is_kept = |name: &OsStr| except.iter().any(|kept| name == *kept);
    for only_private in [true, false] {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if is_kept(&entry.file_name()) {
                continue;
            }
            let (path, metadata) = (entry.path(), entry.metadata()?);
            match (metadata.is_dir(), only_private) {
                (true, true) => remove_private_files(&path)?,
                (true, false) => fs::remove_dir_all(path)?,
                (false, true) if !is_private(&metadata) => {}
                (false, _) => fs::remove_file(path)?,
            }
        }
    }
    Ok(())
}

fn remove_private_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            remove_private_files(&entry.path())?;
        } else if is_private(&metadata) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether only its owner has access to this file.
fn is_private(metadata: &fs::Metadata) -> bool {
    const OTHERS: u32 = 0o077;
    metadata.is_file() && (metadata.mode() & OTHERS) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn tree() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("msp/keystore")).unwrap();
        for (name, mode) in [("msp/keystore/key", 0o600), ("msp/cert.pem", 0o644), ("lock", 0o600), ("file", 0o644)] {
            fs::write(scratch.path().join(name), "").unwrap();
            fs::set_permissions(scratch.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        scratch
    }

    #[test]
    fn private_files_are_removed_alone() {
        let scratch = tree();
        remove_private_files(scratch.path()).unwrap();
        let exists = |name: &str| scratch.path().join(name).exists();
        assert!(!exists("msp/keystore/key") && !exists("lock"));
        assert!(exists("msp/cert.pem") && exists("file"));
    }

    #[test]
    fn a_directory_is_emptied_except_for_the_given_files() {
        let scratch = tree();
        empty(scratch.path(), &["lock", "other"]).unwrap();
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    #[test]
    fn a_missing_directory_is_removed_already() {
        let scratch = tree();
        remove(&scratch.path().join("msp")).unwrap();
        remove(&scratch.path().join("msp")).unwrap();
        assert!(!scratch.path().join("msp").exists() && scratch.path().exists());
    }
}
