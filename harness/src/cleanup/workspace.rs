//! The directory of a run, with a lock that shows whether the run is alive, and a record of its owner.
//!
//! The lock is the kernel's (`flock`), which releases it as soon as the harness ends for any reason. This
//! module does not know the other files in the directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::Record;
use super::removal;

/// Prefix of the names of run directories.
pub const PREFIX: &str = "fabric-harness-";

/// Prefix of the name of a run's directory while it is removed. A directory of this name needs neither a lock
/// nor a record to be recognized, so an interrupted removal is always completed.
pub(crate) const REMOVED_PREFIX: &str = "fabric-harness-removed-";

const LOCK: &str = "lock";
const NEW_LOCK: &str = "lock.new";
const RECORD: &str = "run.json";

/// A directory without a lock that is older than this was left by a harness that died early.
const BIRTH: Duration = Duration::from_mins(1);

/// Why the run's directory cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot create {} {} for the run; set TMPDIR to use another place", what, path.display())]
pub struct WorkspaceError {
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

/// The directory of a live run. Dropping it releases the lock and removes nothing; see
/// [`RunGuard`](super::RunGuard).
#[derive(Debug)]
pub struct Workspace {
    directory: PathBuf,
    id: String,
    _lock: File,
}

impl Workspace {
    /// Chooses an unused path `PARENT/fabric-harness-<random>`, absolute and without symbolic links. Creates
    /// nothing, so that the reaper can be started first.
    ///
    /// # Errors
    ///
    /// The parent does not exist.
    pub(crate) fn choose(parent: &Path) -> Result<PathBuf, WorkspaceError> {
        let wrong = |source| WorkspaceError { what: "a directory in", path: parent.to_owned(), source };
        // Processes are recognized by the canonical path.
        let parent = parent.canonicalize().map_err(wrong)?;
        let free = |path: &Path| match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        };
        let chosen = tempfile::Builder::new().prefix(PREFIX).rand_bytes(8).make_in(&parent, free).map_err(wrong)?;
        Ok(chosen.into_parts().0)
    }

    /// Creates the chosen directory with mode 0700, and locks it.
    ///
    /// # Errors
    ///
    /// The parent is not writable, is full, or does not support locks. Then nothing is created.
    pub(crate) fn create(directory: PathBuf) -> Result<Self, WorkspaceError> {
        let wrong = |what, path: &Path| {
            let path = path.to_owned();
            move |source| WorkspaceError { what, path, source }
        };
        DirBuilder::new().mode(0o700).create(&directory).map_err(wrong("the directory", &directory))?;
        let lock = lock_new(&directory).map_err(|source| {
            let _ = removal::remove(&directory);
            wrong("a lock in", &directory)(source)
        })?;
        let id = id_of(&directory);
        Ok(Self { directory, id, _lock: lock })
    }

    /// The directory, absolute and without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The run's ID: the random part of the directory's name. Letters and digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Creates a directory in the run's directory, with its parents, with mode 0700.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn subdirectory(&self, name: impl AsRef<Path>) -> Result<PathBuf, WorkspaceError> {
        let path = self.directory.join(name);
        match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(WorkspaceError { what: "the directory", path, source }),
        }
    }

    /// Writes the record of the owner, which a sweep reads.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), WorkspaceError> {
        let path = self.directory.join(RECORD);
        serde_json::to_vec(record)
            .map_err(io::Error::other)
            .and_then(|bytes| fs::write(&path, bytes))
            .map_err(|source| WorkspaceError { what: "the record", path, source })
    }
}

/// The run's ID, from its directory.
pub(crate) fn id_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(PREFIX).unwrap_or(&name).to_owned()
}

/// Creates the lock file. It gets its name after it is locked, so that a sweep never sees it unlocked.
fn lock_new(directory: &Path) -> io::Result<File> {
    let unnamed = directory.join(NEW_LOCK);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
    file.lock()?;
    fs::rename(unnamed, directory.join(LOCK))?;
    Ok(file)
}

/// A run whose harness has ended. Its lock is held, so that only one sweep removes it.
#[derive(Debug)]
pub(crate) struct DeadRun {
    pub(crate) directory: PathBuf,
    pub(crate) id: String,
    pub(crate) record: Option<Record>,
    _lock: Option<File>,
}

/// The runs in `parent` that belong to this user and whose harness has ended.
pub(crate) fn dead_runs(parent: &Path) -> Vec<DeadRun> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter_map(|entry| dead_run(&entry.path()))
        .collect()
}

/// Whether the run in this directory is alive: another process holds its lock.
pub(crate) fn lives(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

/// The record in a run's directory, if it is readable.
pub(crate) fn read_record(directory: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()
}

/// The canonical path, if it is a directory that [`Workspace::create`] has created.
pub(crate) fn as_run(path: &Path) -> Option<PathBuf> {
    let directory = path.canonicalize().ok()?;
    let locked = fs::symlink_metadata(directory.join(LOCK)).is_ok_and(|lock| lock.is_file());
    (is_named(&directory) && is_ours(&fs::symlink_metadata(&directory).ok()?) && locked).then_some(directory)
}

/// Whether the harness may still create or lock this directory of a run.
pub(crate) fn is_pending(path: &Path) -> bool {
    is_named(path)
        && match fs::symlink_metadata(path) {
            Ok(metadata) => is_ours(&metadata) && fs::symlink_metadata(path.join(LOCK)).is_err(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
}

fn is_named(directory: &Path) -> bool {
    directory.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX))
}

/// Removes the directory of a harness that ended before it locked the directory, or while it removed it, if it
/// exists.
///
/// # Errors
///
/// It contains other files.
pub(crate) fn remove_pending(directory: &Path) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    absent_is_fine(fs::remove_file(directory.join(NEW_LOCK)))?;
    absent_is_fine(fs::remove_dir(directory))?;
    removal::remove(&removed_name(directory))
}

/// Whether only this user can write to it. Everyone can write to the parent.
fn is_ours(metadata: &fs::Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o777 == 0o700
}

fn dead_run(path: &Path) -> Option<DeadRun> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !is_ours(&metadata) {
        return None;
    }
    let directory = path.canonicalize().ok()?;
    if is_being_removed(&directory) {
        return Some(DeadRun { id: id_of(&directory), directory, record: None, _lock: None });
    }
    let lock = match File::open(directory.join(LOCK)) {
        Ok(lock) => {
            lock.try_lock().ok()?;
            Some(lock)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let age = metadata.modified().ok()?.elapsed().ok()?;
            if age < BIRTH {
                return None;
            }
            None
        }
        Err(_) => return None,
    };
    let record = read_record(&directory);
    // Processes of another namespace are not visible from here. Without a record, nothing was started yet.
    if record.as_ref().is_some_and(|record| !record.owner.is_visible()) {
        return None;
    }
    Some(DeadRun { id: id_of(&directory), directory, record, _lock: lock })
}

/// Removes a run's directory, if it exists. It gets its name of [`REMOVED_PREFIX`] first.
///
/// # Errors
///
/// The directory under its present name, and why it cannot be removed.
pub(crate) fn remove_directory(directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    let removed = removed_name(directory);
    if let Err(error) = fs::rename(directory, &removed)
        && error.kind() != io::ErrorKind::NotFound
    {
        removal::remove(directory).map_err(|error| (directory.to_owned(), error))?;
    }
    removal::remove(&removed).map_err(|error| (removed, error))?;
    // A thread of an embedded node may have created it again.
    removal::remove(directory).map_err(|error| (directory.to_owned(), error))
}

/// The name of a run's directory while it is removed.
fn removed_name(directory: &Path) -> PathBuf {
    if is_being_removed(directory) {
        return directory.to_owned();
    }
    directory.with_file_name(format!("{REMOVED_PREFIX}{}", id_of(directory)))
}

/// Whether the removal of this run's directory has begun.
pub(crate) fn is_being_removed(directory: &Path) -> bool {
    directory.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(REMOVED_PREFIX))
}

#[cfg(test)]
pub(crate) fn made_in(parent: &Path) -> Workspace {
    Workspace::create(Workspace::choose(parent).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::record::{Owner, this_place};
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_unused_path_is_chosen_and_created_once() {
        let parent = tempfile::tempdir().unwrap();
        let chosen = Workspace::choose(parent.path()).unwrap();
        assert!(is_pending(&chosen) && !chosen.exists(), "{chosen:?}");
        assert!(!is_pending(&parent.path().join("other")));
        DirBuilder::new().mode(0o700).create(&chosen).unwrap();
        assert!(is_pending(&chosen));
        fs::remove_dir(&chosen).unwrap();
        let _run = Workspace::create(chosen.clone()).unwrap();
        assert!(!is_pending(&chosen) && as_run(&chosen).is_some());
        let twice = Workspace::create(chosen.clone()).unwrap_err().to_string();
        assert!(twice.starts_with("cannot create the directory ") && chosen.exists(), "{twice}");
    }

    #[test]
    fn only_what_has_no_lock_yet_is_pending() {
        let parent = tempfile::tempdir().unwrap();
        let chosen = Workspace::choose(parent.path()).unwrap();
        remove_pending(&chosen).unwrap();
        for files in [&[][..], &[NEW_LOCK]] {
            fs::create_dir(&chosen).unwrap();
            for file in files {
                fs::write(chosen.join(file), "").unwrap();
            }
            remove_pending(&chosen).unwrap();
            assert!(!chosen.exists());
        }
        fs::create_dir(&chosen).unwrap();
        fs::write(chosen.join("mine"), "").unwrap();
        assert!(remove_pending(&chosen).is_err() && chosen.join("mine").exists());
    }

    #[test]
    fn an_interrupted_removal_is_completed() {
        let parent = tempfile::tempdir().unwrap();
        let run = made_in(parent.path());
        let directory = run.directory().to_owned();
        let removed = removed_name(&directory);
        fs::rename(&directory, &removed).unwrap();
        fs::remove_file(removed.join(LOCK)).unwrap();
        let dead = dead_runs(parent.path());
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert_eq!(removed_name(&dead[0].directory), removed);
        remove_pending(&directory).unwrap();
        assert!(!removed.exists());

        fs::create_dir(&removed).unwrap();
        remove_directory(&directory).unwrap();
        assert!(!removed.exists());
    }

    #[test]
    fn a_live_run_is_not_dead_and_a_dropped_one_is() {
        let parent = tempfile::tempdir().unwrap();
        let run = made_in(parent.path());
        let mode = fs::metadata(run.directory()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
        assert!(lives(run.directory()));
        assert!(dead_runs(parent.path()).is_empty());

        let directory = run.directory().to_owned();
        drop(run);
        assert!(!lives(&directory));
        let dead = dead_runs(parent.path());
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].directory, directory);
        assert!(dead_runs(parent.path()).is_empty(), "a sweep holds the lock of what it takes on");
    }

    #[test]
    fn directories_of_others_and_new_ones_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let open = parent.path().join("fabric-harness-open");
        fs::create_dir(&open).unwrap();
        fs::write(open.join(LOCK), "").unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let young = parent.path().join("fabric-harness-young");
        DirBuilder::new().mode(0o700).create(young).unwrap();
        std::os::unix::fs::symlink("/", parent.path().join("fabric-harness-link")).unwrap();
        assert!(dead_runs(parent.path()).is_empty());
    }

    #[test]
    fn a_dead_run_with_invisible_processes_is_left_alone() {
        let here = this_place();
        let [host, boot, namespace] = here.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        for (place, taken) in [
            (here.clone(), 1),
            (format!("{host} another-boot pid:[1]"), 1),
            (format!("{host} {boot} {namespace}0"), 0),
            (format!("elsewhere another-boot {namespace}"), 0),
            ("nonsense".to_owned(), 0),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let run = made_in(parent.path());
            let owner = Owner { place: place.clone(), ..Owner::this() };
            run.write_record(&Record::new(owner, None, None)).unwrap();
            drop(run);
            assert_eq!(dead_runs(parent.path()).len(), taken, "{place}");
        }
    }

    #[test]
    fn only_directories_of_the_harness_are_runs() {
        let parent = tempfile::tempdir().unwrap();
        let run = made_in(parent.path());
        let directory = run.directory();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(directory, &link).unwrap();
        assert_eq!(as_run(&link).as_deref(), Some(directory));
        assert_eq!(as_run(parent.path()), None);
        let renamed = parent.path().join("mine");
        fs::rename(directory, &renamed).unwrap();
        assert_eq!(as_run(&renamed), None, "another name");
        fs::rename(&renamed, directory).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(as_run(directory), None, "another mode");
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
        assert!(as_run(directory).is_some());
        fs::remove_file(directory.join(LOCK)).unwrap();
        assert_eq!(as_run(directory), None, "no lock");
    }

    #[test]
    fn a_record_is_read_back_and_an_invalid_one_is_ignored() {
        let parent = tempfile::tempdir().unwrap();
        let run = made_in(parent.path());
        let record = Record::new(Owner::this(), Some(7), None);
        run.write_record(&record).unwrap();
        assert_eq!(read_record(run.directory()), Some(record));
        fs::write(run.directory().join(RECORD), b"{").unwrap();
        assert_eq!(read_record(run.directory()), None);
    }
}
