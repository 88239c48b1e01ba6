//! The harness's hold on a run: whoever drops it ends the run.
//!
//! It joins the workspace, the reaper and the engine, and knows the order in which they go. It starts
//! no node.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::processes::{GRACE, Mark, RUN_VARIABLE};
use super::reaper::{self, Reaper};
use super::workspace::{Owner, Record, Workspace, WorkspaceError, id_of};
use super::{Leftover, Resources, Run, end_run};
use crate::console::error_text;

/// Why a run can't be taken into custody.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// No directory.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// No reaper.
    #[error("cannot start the reaper, the process that cleans up after the harness")]
    Reaper {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A run that lives. Dropping it ends everything that belongs to it, blocking for a bounded time;
/// [`Custody::end`] does the same and tells what is left.
#[derive(Debug)]
pub struct Custody {
    workspace: Workspace,
    /// Where its containers or its namespace are.
    resources: Option<Arc<dyn Resources>>,
    owner: Owner,
    /// Taken when the run has ended.
    reaper: Mutex<Option<reaper::Running>>,
    group: u32,
    settled: AtomicBool,
}

impl Custody {
    /// Makes the run's directory in `parent` and starts its reaper.
    ///
    /// # Errors
    ///
    /// When there is no place for the directory, or the reaper can't be started.
    pub fn begin(parent: &Path, reaper: &Reaper) -> Result<Self, CustodyError> {
        Self::begin_in(parent, reaper, |_| None)
    }

    /// [`Custody::begin`] for a run that has more than processes and files: `resources` tells where, given the
    /// run's ID.
    ///
    /// # Errors
    ///
    /// As [`Custody::begin`].
    pub fn begin_with(
        parent: &Path,
        reaper: &Reaper,
        resources: impl FnOnce(&str) -> Arc<dyn Resources>,
    ) -> Result<Self, CustodyError> {
        Self::begin_in(parent, reaper, |id| Some(resources(id)))
    }

    fn begin_in(
        parent: &Path,
        reaper: &Reaper,
        resources: impl FnOnce(&str) -> Option<Arc<dyn Resources>>,
    ) -> Result<Self, CustodyError> {
        let directory = Workspace::choose(parent)?;
        let id = id_of(&directory);
        let resources = resources(&id);
        let removal = resources.as_ref().map(|resources| resources.shell_removal(&id));
        // Before there is anything to reap, so that there is no moment at which nobody would.
        let reaper = reaper::Running::start(reaper, &directory, removal.as_ref());
        let reaper = reaper.map_err(|source| CustodyError::Reaper { source })?;
        let workspace = match Workspace::create(directory) {
            Ok(workspace) => workspace,
            Err(error) => {
                reaper.dismiss();
                return Err(error.into());
            }
        };
        let custody = Self {
            group: reaper.group(),
            reaper: Mutex::new(Some(reaper)),
            owner: Owner::this(),
            settled: AtomicBool::new(false),
            workspace,
            resources,
        };
        let record = Record::new(custody.owner.clone(), Some(custody.group), custody.resources.as_deref());
        custody.workspace.write_record(&record)?;
        Ok(custody)
    }

    /// The run's directory.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// What every container or namespace of the run carries, so that it is found again.
    pub fn labels(&self) -> Vec<(String, String)> {
        super::labels::labels(&self.workspace, &self.owner)
    }

    /// A command that starts a process of the run: in its group and with its mark, without standard
    /// input, in `directory`, which must be below the run's.
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

    /// Says that no request to the engine or cluster is under way any more, so nothing can still come of one.
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
    /// What could not be removed.
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
            },
            id: self.workspace.id().to_owned(),
            resources: self.resources.clone(),
            aftermath: !self.settled.load(Ordering::Relaxed),
        };
        if !cfg!(target_os = "linux") {
            // Processes can't be looked for here, but the reaper leads their group.
            reaper.leave_the_rest();
            return end_run(&run, grace);
        }
        let result = end_run(&run, grace);
        reaper.dismiss();
        result
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        for leftover in self.end().err().unwrap_or_default() {
            tracing::warn!("{}", error_text(&leftover));
        }
    }
}
