//! Nothing is left behind, however a run ends.
//!
//! A run owns a [`Workspace`]: a directory with a lock that is held for as long as the harness lives.
//! Everything the run starts carries the directory's name: processes in their environment, containers
//! or namespaces in a label. Three things end a run, and all of them do the same:
//!
//! - the [`Custody`] that the harness holds, when it is told to or dropped, as it is on Ctrl-C; a
//!   second Ctrl-C meanwhile changes nothing;
//! - the [`reaper`], a child process that waits on a pipe, when the harness ends without having done
//!   so: SIGKILL, abort;
//! - the [`sweep()`] at the start of another run, when even the reaper was killed or the machine
//!   stopped.
//!
//! What is a run's evidence, and whether it is kept, is decided elsewhere, before the end.

mod custody;
pub mod labels;
pub mod processes;
pub mod reaper;
mod resources;
pub mod sweep;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use custody::{Custody, CustodyError};
pub use reaper::Reaper;
pub use resources::{ResourceKind, Resources, ShellRemoval};
pub use sweep::{Swept, sweep};
pub(crate) use workspace::Owner;
#[cfg(test)]
pub(crate) use workspace::made_in;
pub use workspace::{PREFIX as DIRECTORY_PREFIX, Workspace, WorkspaceError};

use processes::Mark;

/// What could not be removed. The text says what is left, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// Processes that even SIGKILL did not end within its bound.
    #[error(
        "processes {numbers:?} of the run did not end on SIGKILL; they hang in the kernel (see `ps -o pid,stat,wchan`)"
    )]
    Processes {
        /// Their numbers.
        numbers: Vec<u32>,
    },
    /// Containers, or a namespace.
    #[error("{text}")]
    Resources {
        /// What is left, and how to remove it.
        text: String,
        /// What the engine or cluster said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thread that removed containers or a namespace panicked.
    #[error("the removal of the run's containers or namespace panicked")]
    Panicked,
    /// The run's directory.
    #[error("the directory {} is left; remove it by hand", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why it could not be removed.
        #[source]
        source: std::io::Error,
    },
}

/// The directories of dead runs in `parent`, of which nothing is touched.
pub(crate) fn dead_runs(parent: &std::path::Path) -> Vec<PathBuf> {
    workspace::dead_runs(parent).into_iter().map(|dead| dead.directory).collect()
}

/// One run to be ended.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) mark: Mark,
    /// The run's ID, which its containers or its namespace carry.
    pub(crate) id: String,
    /// Where containers or a namespace of this run may be.
    pub(crate) resources: Option<Arc<dyn Resources>>,
    /// An engine or cluster may still be carrying out a request whose sender is gone.
    pub(crate) aftermath: bool,
}

/// Ends what runs of a run, and removes its containers or namespace and its directory, in this order. It
/// blocks.
///
/// What is gone already is no error, so it can be repeated, and two processes can do it at once.
///
/// # Errors
///
/// All that is left. The directory stays when containers or a namespace are left, for a later sweep to find them.
pub(crate) fn end_run(run: &Run, grace: Duration) -> Result<(), Vec<Leftover>> {
    let mut left = Vec::new();
    let begin = Instant::now();
    let mut has_resources = false;
    // Side by side: each waits for something else.
    std::thread::scope(|scope| {
        let remove = |resources: &Arc<dyn Resources>| resources.remove(&run.id, run.aftermath);
        let removal = run.resources.as_ref().map(|resources| scope.spawn(move || remove(resources)));
        if let Err(numbers) = processes::end(&run.mark, grace) {
            left.push(Leftover::Processes { numbers });
        }
        log(run, "its processes have ended", begin);
        if let Some(removal) = removal {
            let removed = removal.join().unwrap_or(Err(Leftover::Panicked));
            has_resources = removed.is_err();
            left.extend(removed.err());
            log(run, "its containers or its namespace are removed", begin);
        }
    });
    if has_resources {
        return Err(left);
    }
    if let Err(source) = workspace::remove_directory(&run.mark.directory) {
        left.push(Leftover::Directory { path: run.mark.directory.clone(), source });
    }
    log(run, "its directory is removed", begin);
    if left.is_empty() { Ok(()) } else { Err(left) }
}

fn log(run: &Run, what: &str, begin: Instant) {
    tracing::debug!("end of run {}: {what} after {} ms", run.id, begin.elapsed().as_millis());
}
