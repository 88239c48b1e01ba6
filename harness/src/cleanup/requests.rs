//! The requests of a run to an engine that are not answered yet: one empty file each, in the run's directory.
//!
//! An engine carries out a request even if its sender is killed meanwhile. Whoever removes the run's containers
//! then knows which are still to come.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::workspace::{Workspace, WorkspaceError};

const DIRECTORY: &str = "requests";

/// Notes that a container of this name is requested, unless the run has ended.
pub(super) fn begin(workspace: &Workspace, name: &str, has_ended: bool) -> Result<(), WorkspaceError> {
    let directory = workspace.directory().join(DIRECTORY);
    let path = directory.join(name);
    // Without its parents: those of a run that has ended must not come back.
    let write = || match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::create(&path).map(drop),
    };
    let made = if has_ended { Err(io::Error::other("the run has ended")) } else { write() };
    made.map_err(|source| WorkspaceError { what: "the note of a request", path, source })
}

/// Notes that it was created, or refused.
pub(super) fn end(workspace: &Workspace, name: &str) {
    // Gone with the run, if it has ended meanwhile.
    let _ = fs::remove_file(workspace.directory().join(DIRECTORY).join(name));
}

/// The names of which no answer is known.
pub(super) fn unanswered(run: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.join(DIRECTORY)) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::made_in;

    #[test]
    fn a_request_is_unanswered_until_its_end() {
        let parent = tempfile::tempdir().unwrap();
        let workspace = made_in(parent.path());
        assert_eq!(unanswered(workspace.directory()), Vec::<String>::new());
        begin(&workspace, "one", false).unwrap();
        begin(&workspace, "two", false).unwrap();
        end(&workspace, "one");
        assert_eq!(unanswered(workspace.directory()), ["two"]);
        begin(&workspace, "late", true).unwrap_err();
        assert_eq!(unanswered(workspace.directory()), ["two"]);
        fs::remove_dir_all(workspace.directory()).unwrap();
        begin(&workspace, "three", false).unwrap_err();
        end(&workspace, "two");
        assert!(!workspace.directory().exists());
    }
}
