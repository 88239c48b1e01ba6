//! The guard of a run: dropping it ends the run.
//!
//! It owns the workspace and the reaper, and defines the order of the clean-up. It starts no nodes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::control_group::ControlGroup;
use super::processes::{GRACE, Mark, RUN_VARIABLE};
use super::reaper::{self, Reaper};
use super::record::{Owner, Record};
use super::workspace::{Workspace, WorkspaceError, id_of};
use super::{Aftermath, Leftover, Resources, Run, end_run, requests};
use crate::console::error_text;

/// How long a container that was requested is waited for, after a start that was broken off. The user waits.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Why a run cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunGuardError {
    /// The run's directory cannot be created.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The reaper cannot be started.
    #[error("cannot start the reaper, the process that cleans up after the harness")]
    Reaper {
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The guard of a run. Dropping it ends everything that belongs to the run, and blocks for a bounded time.
/// [`RunGuard::end`] does the same and returns the leftovers.
#[derive(Debug)]
pub struct RunGuard {
    workspace: Workspace,
    /// Where its containers or its namespace are.
    resources: Option<Arc<dyn Resources>>,
    owner: Owner,
    /// `None` once the run has ended.
    reaper: Mutex<Option<reaper::Running>>,
    group: u32,
    control_group: Option<ControlGroup>,
    settled: AtomicBool,
}

impl RunGuard {
    /// Creates the run's directory in `parent` and starts the reaper.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or the reaper cannot be started.
    pub fn begin(parent: &Path, reaper: &Reaper) -> Result<Self, RunGuardError> {
        Self::begin_in(parent, reaper, |_| None)
    }

    /// [`RunGuard::begin`] for a run that has more than processes and files: `resources` returns them for the
    /// run's ID.
    ///
    /// # Errors
    ///
    /// As [`RunGuard::begin`].
    pub fn begin_with(
        parent: &Path,
        reaper: &Reaper,
        resources: impl FnOnce(&str) -> Arc<dyn Resources>,
    ) -> Result<Self, RunGuardError> {
        Self::begin_in(parent, reaper, |id| Some(resources(id)))
    }

    fn begin_in(
        parent: &Path,
        reaper: &Reaper,
        resources: impl FnOnce(&str) -> Option<Arc<dyn Resources>>,
    ) -> Result<Self, RunGuardError> {
        let directory = Workspace::choose(parent)?;
        let id = id_of(&directory);
        let resources = resources(&id);
        let removal = resources.as_ref().map(|resources| resources.shell_removal(&id));
        // First, so that everything that is created later is removed if the harness dies.
        let reaper = reaper::Running::start(reaper, &directory, removal.as_ref());
        let reaper = reaper.map_err(|source| RunGuardError::Reaper { source })?;
        let workspace = match Workspace::create(directory) {
            Ok(workspace) => workspace,
            Err(error) => {
                reaper.dismiss();
                return Err(error.into());
            }
        };
        let mut guard = Self {
            group: reaper.group(),
            control_group: ControlGroup::of_run(&id),
            reaper: Mutex::new(Some(reaper)),
            owner: Owner::this(),
            settled: AtomicBool::new(false),
            workspace,
            resources,
        };
        let mut record = Record::new(guard.owner.clone(), Some(guard.group), guard.resources.as_deref());
        record.control_group.clone_from(&guard.control_group);
        // First, so that the reaper removes the control group if the harness dies.
        guard.workspace.write_record(&record)?;
        guard.control_group = guard.control_group.take().filter(|group| group.create().is_ok());
        Ok(guard)
    }

    /// The run's directory.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// What every container or namespace of the run carries, so that it is found again.
    pub fn labels(&self) -> Vec<(String, String)> {
        super::labels::labels(&self.workspace, &self.owner)
    }

    /// A command that starts a process of the run: in its group, marked, without standard input, in
    /// `directory`, which must be in the run's directory.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, directory: &Path) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(program);
        command
            .env(RUN_VARIABLE, self.workspace.directory())
            .current_dir(directory)
            .stdin(std::process::Stdio::null())
            .process_group(i32::try_from(self.group).unwrap_or(0));
        command
    }

    /// Makes a process that [`RunGuard::command`] has started recognizable even if it hides, where that is possible.
    pub(crate) fn adopt(&self, process: u32) {
        if let Some(group) = &self.control_group
            && let Err(error) = group.add(process)
        {
            tracing::debug!("process {process} is in no control group: {error}");
        }
    }

    /// Notes that a container of this name is requested. Whatever ends the run waits for it, unless
    /// [`RunGuard::answered`] notes that the engine has answered.
    ///
    /// # Errors
    ///
    /// The run has ended, or the note cannot be written. Nothing must be requested then.
    pub fn requesting(&self, name: &str) -> Result<(), WorkspaceError> {
        // Locked until it is noted, so that an end at the same time reads the note.
        let reaper = self.reaper.lock().unwrap_or_else(PoisonError::into_inner);
        requests::begin(&self.workspace, name, reaper.is_none())
    }

    /// Notes that the engine has answered.
    pub fn answered(&self, name: &str) {
        requests::end(&self.workspace, name);
    }

    /// Declares that the engine or cluster has no unfinished requests.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Whether the run has been ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.reaper.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Ends the run: its processes, its containers or namespace, its directory, its reaper. It blocks. A second
    /// call does nothing.
    ///
    /// # Errors
    ///
    /// The leftovers.
    pub fn end(&self) -> Result<(), Vec<Leftover>> {
        self.end_within(GRACE)
    }

    fn end_within(&self, grace: Duration) -> Result<(), Vec<Leftover>> {
        let Some(reaper) = self.reaper.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let run = Run {
            mark: Mark {
                directory: self.workspace.directory().to_owned(),
                group: Some(self.group),
                spare: Some(self.group),
                control_group: self.control_group.clone(),
            },
            id: self.workspace.id().to_owned(),
            resources: self.resources.clone(),
            aftermath: if self.settled.load(Ordering::Relaxed) {
                Aftermath::default()
            } else {
                Aftermath::of(self.workspace.directory(), AFTERMATH)
            },
        };
        if !cfg!(target_os = "linux") {
            // Processes cannot be found here, but the reaper leads their group.
            reaper.finish();
            return end_run(&run, grace);
        }
        let result = end_run(&run, grace);
        reaper.dismiss();
        result
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        for leftover in self.end().err().unwrap_or_default() {
            tracing::warn!("{}", error_text(&leftover));
        }
    }
}
