//! Clean-up: however a run ends, it leaves nothing behind.
//!
//! A run owns a [`Workspace`]: a directory with a lock that is held while the harness runs. Everything the
//! run starts is marked with the directory's name: processes in their environment, containers and
//! namespaces in a label. Three things can end a run, and all of them do the same:
//!
//! - the [`RunGuard`] of the harness, when it is ended or dropped, as on Ctrl-C; a second Ctrl-C meanwhile
//!   changes nothing;
//! - the [`reaper`], a child process that waits on a pipe, if the harness dies without doing so (SIGKILL,
//!   abort);
//! - the [`sweep()`] at the start of another run, if the reaper was killed as well or the machine stopped.

pub(crate) mod control_group;
pub mod labels;
pub mod processes;
pub mod reaper;
mod record;
pub(crate) mod removal;
mod requests;
mod resources;
mod run_guard;
pub mod sweep;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use reaper::Reaper;
pub(crate) use record::Owner;
pub use resources::{ResourceKind, Resources, ShellRemoval};
pub use run_guard::{RunGuard, RunGuardError};
pub use sweep::{Swept, sweep};
#[cfg(test)]
pub(crate) use workspace::made_in;
pub use workspace::{PREFIX as DIRECTORY_PREFIX, Workspace, WorkspaceError};

use processes::Mark;

/// A leftover: something that could not be removed. The text names it and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// Processes that did not end after SIGKILL.
    #[error(
        "processes {numbers:?} of the run did not end after SIGKILL; they hang in the kernel (see `ps -o pid,stat,wchan`)"
    )]
    Processes {
        /// Their process IDs.
        numbers: Vec<u32>,
    },
    /// Containers, or a namespace.
    #[error("{text}")]
    Resources {
        /// What is left, and how to remove it.
        text: String,
        /// The error of the engine or cluster.
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
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The directories of dead runs in `parent`. Nothing is changed.
pub(crate) fn dead_runs(parent: &std::path::Path) -> Vec<PathBuf> {
    workspace::dead_runs(parent).into_iter().map(|dead| dead.directory).collect()
}

/// What may still come of a run that is ended: an engine or cluster carries out a request even if its sender is
/// gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// A request may be unanswered.
    pub possible: bool,
    /// The names of the containers whose requests are unanswered.
    pub requested: Vec<String>,
    /// How long these are waited for.
    pub bound: Duration,
}

impl Aftermath {
    /// Of the run in this directory, whose harness did not finish its requests.
    fn of(directory: &std::path::Path, bound: Duration) -> Self {
        Self { possible: true, requested: requests::unanswered(directory), bound }
    }
}

/// A run that is ended.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) mark: Mark,
    /// The run's ID, which its containers or its namespace carry.
    pub(crate) id: String,
    /// Where containers or a namespace of this run may be.
    pub(crate) resources: Option<Arc<dyn Resources>>,
    /// What may still come.
    pub(crate) aftermath: Aftermath,
}

/// Ends a run's processes, then removes its containers or namespace, then its directory. It blocks.
///
/// It ignores what is already removed, so it can be repeated, also by two processes at the same time.
///
/// # Errors
///
/// All leftovers. If containers or a namespace are left, the directory remains, so that a later sweep finds
/// them.
pub(crate) fn end_run(run: &Run, grace: Duration) -> Result<(), Vec<Leftover>> {
    let mut left = Vec::new();
    let begin = Instant::now();
    let mut has_resources = false;
    // In parallel, because each waits for something else.
    std::thread::scope(|scope| {
        let remove = |resources: &Arc<dyn Resources>| resources.remove(&run.id, &run.aftermath);
        let removal = run.resources.as_ref().map(|resources| scope.spawn(move || remove(resources)));
        if let Err(numbers) = processes::end(&run.mark, grace) {
            left.push(Leftover::Processes { numbers });
        }
        if let Some(group) = &run.mark.control_group
            && let Err((path, source)) = group.remove()
        {
            left.push(Leftover::Directory { path, source });
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
    if let Err((path, source)) = workspace::remove_directory(&run.mark.directory) {
        left.push(Leftover::Directory { path, source });
    }
    log(run, "its directory is removed", begin);
    if left.is_empty() { Ok(()) } else { Err(left) }
}

fn log(run: &Run, what: &str, begin: Instant) {
    tracing::debug!("end of run {}: {what} after {} ms", run.id, begin.elapsed().as_millis());
}
