//! A child process with a log: it is started in the run's process group, watched and signalled.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::cleanup::RunGuard;
use crate::runtime::{RuntimeError, UnexpectedExit, log};

/// Between SIGTERM and SIGKILL of a process that is not started again.
pub(in crate::runtime) const GRACE: Duration = Duration::from_secs(2);

/// Between SIGKILL and giving up.
const KILL_BOUND: Duration = Duration::from_secs(3);

/// Prefixes of variables that a child does not inherit, since they would override its configuration.
const OVERRIDING: [&str; 5] = ["CORE_", "ORDERER_", "CHAINCODE_", "FABRIC_", "GRPC_"];

/// A program, and how to start it.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Program {
    pub(in crate::runtime) name: String,
    pub(in crate::runtime) path: PathBuf,
    pub(in crate::runtime) arguments: Vec<String>,
    pub(in crate::runtime) environment: BTreeMap<String, String>,
    pub(in crate::runtime) directory: PathBuf,
    /// Both output streams are appended to this file.
    pub(in crate::runtime) log: PathBuf,
    /// Directory for its temporary files.
    pub(in crate::runtime) temporary: PathBuf,
}

/// A child process, which can be started again.
#[derive(Debug)]
pub(in crate::runtime) struct Child {
    program: Program,
    process: Mutex<Option<tokio::process::Child>>,
    /// The unexpected exits of its former processes.
    past: std::sync::Mutex<Vec<UnexpectedExit>>,
    /// Bounds its log; ends with this value.
    bounding: std::sync::Mutex<JoinSet<()>>,
}

impl Child {
    pub(in crate::runtime) fn new(program: Program) -> Self {
        Self {
            program,
            process: Mutex::new(None),
            past: std::sync::Mutex::default(),
            bounding: std::sync::Mutex::default(),
        }
    }

    pub(in crate::runtime) fn name(&self) -> &str {
        &self.program.name
    }

    pub(in crate::runtime) fn log_path(&self) -> &Path {
        &self.program.log
    }

    pub(in crate::runtime) fn log_tail(&self) -> String {
        log::tail(&self.program.log)
    }

    /// Starts it, unless it is running.
    pub(in crate::runtime) async fn start(&self, guard: &RunGuard) -> Result<(), RuntimeError> {
        let mut process = self.process.lock().await;
        if let Some(child) = process.as_mut()
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(());
        }
        if guard.has_ended() {
            return Err(RuntimeError::Ended);
        }
        self.remember(process.as_mut());
        *process = Some(self.spawn(guard)?);
        Ok(())
    }

    fn spawn(&self, guard: &RunGuard) -> Result<tokio::process::Child, RuntimeError> {
        let program = &self.program;
        let log_failed = |source| RuntimeError::File { path: program.log.clone(), source };
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&program.log).map_err(log_failed)?;
        let bounded = log.try_clone().map_err(log_failed)?;
        let mut command = guard.command(&program.path, &program.directory);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_overriding(name)) {
            command.env_remove(name);
        }
        command
            .args(&program.arguments)
            .env("TMPDIR", &program.temporary)
            .envs(&program.environment)
            .env(crate::cleanup::processes::RUN_VARIABLE, guard.workspace().directory())
            .stdout(log.try_clone().map_err(log_failed)?)
            .stderr(log);
        let child = tokio::process::Command::from(command).spawn().map_err(|source| RuntimeError::Spawn {
            name: program.name.clone(),
            program: program.path.clone(),
            source,
        })?;
        if let Some(id) = child.id() {
            guard.adopt(id);
        }
        let mut bounding = self.bounding.lock().unwrap_or_else(PoisonError::into_inner);
        if bounding.is_empty() {
            bounding.spawn(log::bound(bounded));
        }
        Ok(child)
    }

    /// The ID of its process, while it runs.
    pub(in crate::runtime) async fn id(&self) -> Option<u32> {
        self.process.lock().await.as_ref().and_then(tokio::process::Child::id)
    }

    /// Waits for its unexpected exit. Never returns if it was not started.
    pub(in crate::runtime) async fn exit(&self) -> UnexpectedExit {
        let mut process = self.process.lock().await;
        let how = match process.as_mut() {
            Some(child) => child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string()),
            None => std::future::pending().await,
        };
        UnexpectedExit::new(&self.program.name, how, self.log_tail())
    }

    /// Every unexpected exit.
    pub(in crate::runtime) async fn exits(&self) -> Vec<UnexpectedExit> {
        let mut process = self.process.lock().await;
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        past.into_iter().chain(self.exit_of(process.as_mut())).collect()
    }

    fn exit_of(&self, process: Option<&mut tokio::process::Child>) -> Option<UnexpectedExit> {
        let status = process?.try_wait().ok()??;
        Some(UnexpectedExit::new(&self.program.name, status.to_string(), self.log_tail()))
    }

    /// Keeps the exit of a process that is about to be dropped, if it was unexpected.
    fn remember(&self, process: Option<&mut tokio::process::Child>) {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).extend(self.exit_of(process));
    }

    /// Stops it: SIGTERM and, after the grace, SIGKILL; without a grace, SIGKILL.
    pub(in crate::runtime) async fn end(&self, grace: Option<Duration>) {
        let mut process = self.process.lock().await;
        self.remember(process.as_mut());
        let Some(mut child) = process.take() else { return };
        if let Some(grace) = grace
            && signal(&child, Signal::TERM)
            && tokio::time::timeout(grace, child.wait()).await.is_ok()
        {
            return;
        }
        let _ = child.start_kill();
        let _ = tokio::time::timeout(KILL_BOUND, child.wait()).await;
    }
}

/// Sends nothing to a child that has been waited for, since its ID may be reused.
fn signal(child: &tokio::process::Child, signal: Signal) -> bool {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    id.is_some_and(|id| kill_process(id, signal).is_ok())
}

fn is_overriding(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| OVERRIDING.iter().any(|prefix| name.starts_with(prefix)))
}
