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

pub mod cluster;
pub mod containers;
mod custody;
pub mod processes;
pub mod reaper;
pub mod sweep;
mod workspace;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use custody::{Custody, CustodyError};
pub use reaper::Reaper;
pub use sweep::{Swept, sweep};
pub(crate) use workspace::Owner;
pub use workspace::{Workspace, WorkspaceError};

use cluster::ClusterError;
use containers::{Engine, EngineError};
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
    /// Containers that the engine did not remove.
    #[error(
        "containers with the label {label} are left; remove them with `docker rm -f -v $(docker ps -aq --filter label={label})`"
    )]
    Containers {
        /// The label that they carry, `NAME=VALUE`.
        label: String,
        /// What the engine said.
        #[source]
        source: EngineError,
    },
    /// The namespace that the cluster did not remove.
    #[error(
        "the namespace {namespace} is left; remove it with `kubectl --context {context} delete namespace {namespace}`"
    )]
    Namespace {
        /// Its name.
        namespace: String,
        /// The context of its cluster.
        context: String,
        /// What the cluster said.
        #[source]
        source: ClusterError,
    },
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
    /// The run's name, which its containers carry.
    pub(crate) id: String,
    /// The engine that has containers of this run, if one may have.
    pub(crate) engine: Option<Engine>,
    /// The namespace of this run, if it has one.
    pub(crate) cluster: Option<cluster::Place>,
    /// The engine or cluster may still be carrying out a request whose sender is gone.
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
    // Side by side: each waits for something else.
    std::thread::scope(|scope| {
        let containers = run
            .engine
            .as_ref()
            .map(|engine| scope.spawn(|| containers::remove_run_blocking(engine, &run.id, run.aftermath)));
        let namespace = run
            .cluster
            .as_ref()
            .map(|place| (place, scope.spawn(|| cluster::remove_run_blocking(place, &run.id, run.aftermath))));
        if let Err(numbers) = processes::end(&run.mark, grace) {
            left.push(Leftover::Processes { numbers });
        }
        tell(run, "its processes have ended", begin);
        if let Some(containers) = containers
            && let Err(source) = containers.join().unwrap_or_else(|_| Err(EngineError::Panicked))
        {
            left.push(Leftover::Containers { label: containers::run_label(&run.id), source });
        }
        if run.engine.is_some() {
            tell(run, "its containers are removed", begin);
        }
        if let Some((place, removal)) = namespace {
            if let Err(source) = removal.join().unwrap_or_else(|_| Err(ClusterError::Panicked)) {
                let (namespace, context) = (place.namespace.clone(), place.cluster.context.clone());
                left.push(Leftover::Namespace { namespace, context, source });
            }
            tell(run, "its namespace is removed", begin);
        }
    });
    if left.iter().any(|left| matches!(left, Leftover::Containers { .. } | Leftover::Namespace { .. })) {
        return Err(left);
    }
    if let Err(source) = workspace::remove_directory(&run.mark.directory) {
        left.push(Leftover::Directory { path: run.mark.directory.clone(), source });
    }
    tell(run, "its directory is removed", begin);
    if left.is_empty() { Ok(()) } else { Err(left) }
}

fn tell(run: &Run, what: &str, begin: Instant) {
    tracing::debug!("end of run {}: {what} after {} ms", run.id, begin.elapsed().as_millis());
}
