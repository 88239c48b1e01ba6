//! The state directory of a persistent network: its creation, its owner, and its removal.
//!
//! A lock on a file in it shows whether the daemon is alive, as in a run's directory. This module does not
//! know the other files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cleanup::{Owner, removal};
use crate::wait::{Poll, until};

const LOCK: &str = "lock";
const DAEMON: &str = "daemon.json";

/// The files that every state directory contains.
const OWN: [&str; 2] = [LOCK, DAEMON];

/// How often a directory is created again if another process removes it meanwhile.
const ATTEMPTS: usize = 10;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// Its daemon is running.
    #[error(
        "--state {}: a network is already running there; stop it with `down`, or give another directory with --state",
        path.display()
    )]
    InUse { path: PathBuf },
    /// It contains other files.
    #[error("--state {}: the directory is not empty and not a network's state; give another directory, or remove it", path.display())]
    Foreign { path: PathBuf },
    /// A system error.
    #[error("--state {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The state directory of this process's network. Dropping it releases the lock and removes nothing.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Creates the directory with mode 0700, or takes over that of a dead daemon and empties it.
    pub(super) fn claim(path: &Path) -> Result<Self, StateError> {
        let path = std::path::absolute(path).map_err(|source| StateError::Io { path: path.to_owned(), source })?;
        let failed = |source| StateError::Io { path: path.clone(), source };
        for _ in 0..ATTEMPTS {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
            if !is_ours(&path).map_err(failed)? {
                return Err(StateError::Foreign { path });
            }
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK));
            let lock = match lock {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match lock.try_lock() {
                Ok(()) if is_at(&lock, &path.join(LOCK)) => {}
                // The former owner removed the directory meanwhile.
                Ok(()) => continue,
                Err(fs::TryLockError::WouldBlock) => return Err(StateError::InUse { path }),
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
            // It will contain keys, so other users get no access, whatever its mode was before.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            removal::empty(&path, &OWN).map_err(failed)?;
            let owner = serde_json::to_vec(&Owner::this()).map_err(io::Error::other);
            owner.and_then(|owner| fs::write(path.join(DAEMON), owner)).map_err(failed)?;
            // Canonical, because it is compared and quoted elsewhere.
            let path = path.canonicalize().map_err(failed)?;
            return Ok(Self { path, _lock: lock });
        }
        Err(failed(io::ErrorKind::Interrupted.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory and its contents.
    pub(super) fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// Whether a running daemon owns this directory.
pub(super) fn lives(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

/// The daemon that owns this directory, if it has recorded itself.
pub(super) fn daemon_of(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(path.join(DAEMON)).ok()?).ok()
}

/// Waits until the daemon has exited.
pub(super) async fn ended(path: &Path, bound: Duration) -> bool {
    let ask = || async {
        let answer = if lives(path) { Poll::NotYet("it runs".to_owned()) } else { Poll::Ready(()) };
        Ok::<_, std::convert::Infallible>(answer)
    };
    until("the network has ended", bound, ask).await.is_ok()
}

/// Whether this is the state directory of a dead daemon.
pub(crate) fn is_dead(path: &Path) -> bool {
    path.join(LOCK).is_file() && is_ours(path).unwrap_or_default() && !lives(path)
}

/// Removes the state directory of a dead daemon. Returns whether it did: not if the daemon is running,
/// and not if it is no state directory.
pub(crate) fn remove_dead(path: &Path) -> io::Result<bool> {
    let lock = match File::open(path.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The last step of a removal that was interrupted. It fails if the directory is not empty.
            return Ok(has_mode_of_state(path) && fs::remove_dir(path).is_ok());
        }
        lock => lock?,
    };
    if !is_ours(path)? || lock.try_lock().is_err() || !is_at(&lock, &path.join(LOCK)) {
        return Ok(false);
    }
    remove(path)?;
    Ok(true)
}

/// Whether it is empty or a state directory. Nothing else is ever removed.
fn is_ours(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let own = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    let marked = has_mode_of_state(path) && OWN.iter().all(|name| path.join(name).is_file());
    Ok(own && (marked || fs::read_dir(path)?.flatten().all(|entry| entry.file_name() == LOCK)))
}

/// Whether it is a directory of this user with mode 0700.
fn has_mode_of_state(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == user && it.mode() & 0o777 == 0o700)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => file.ino() == named.ino() && file.dev() == named.dev(),
        _ => false,
    }
}

/// Removes the files that identify it last, so that a partly removed directory is still recognized.
fn remove(path: &Path) -> io::Result<()> {
    removal::empty(path, &OWN)?;
    // The daemon's reaper or another command may be removing it at the same time.
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    absent_is_fine(fs::remove_file(path.join(DAEMON)))?;
    absent_is_fine(fs::remove_file(path.join(LOCK)))?;
    absent_is_fine(fs::remove_dir(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_daemon_and_that_of_a_dead_one_is_taken_over() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/network");
        let state = StateDirectory::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(lives(&path) && !daemon_of(&path).unwrap().is_known_dead());
        assert!(matches!(StateDirectory::claim(&path), Err(StateError::InUse { .. })));
        assert!(!remove_dead(&path).unwrap(), "its daemon is running");
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/key"), "").unwrap();
        drop(state);
        assert!(!lives(&path));

        let state = StateDirectory::claim(&path).unwrap();
        assert!(!path.join("sub").exists());
        state.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_removal_that_was_interrupted_anywhere_is_completed() {
        for left in [&[LOCK, DAEMON, "peer.env"][..], &[LOCK, DAEMON], &[LOCK], &[]] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("network");
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            for name in left {
                fs::write(path.join(name), "").unwrap();
            }
            assert!(remove_dead(&path).unwrap(), "{left:?}");
            assert!(!path.exists(), "{left:?}");
        }
    }

    #[test]
    fn only_the_directory_of_a_dead_daemon_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("network");
        drop(StateDirectory::claim(&path).unwrap());
        fs::write(path.join("peer.env"), "").unwrap();
        assert!(remove_dead(&path).unwrap());
        assert!(!path.exists());
        assert!(!remove_dead(&path).unwrap());

        let mine = scratch.path().join("mine");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("lock"), "").unwrap();
        fs::write(mine.join("thesis"), "").unwrap();
        assert!(!remove_dead(&mine).unwrap());
        assert!(matches!(StateDirectory::claim(&mine), Err(StateError::Foreign { .. })));
        assert!(mine.join("thesis").exists());
    }
}
