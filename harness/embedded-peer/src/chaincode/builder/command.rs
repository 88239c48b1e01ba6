//! One program of an external builder, run as a child process: its environment, its logged standard
//! error, and its exit status.
//!
//! Follows Fabric's core/container/externalbuilder/session.go.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

use crate::chaincode::go;
use crate::trace::{BuilderStep, EventKind, Tracer};

/// The longest line, including its end, that Fabric's scanner accepts. A longer line stops the
/// scanner.
const SCANNER_BUFFER: usize = 64 * 1024;

/// How often to retry a program that another process still has open for writing.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Environment variables that every builder program inherits, if they are set.
const DEFAULT_VARIABLES: [&str; 4] = ["LD_LIBRARY_PATH", "LIBPATH", "PATH", "TMPDIR"];

/// Runs the programs of one builder for one peer.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The peer's name.
    pub(super) node: Arc<str>,
    /// The builder's name.
    pub(super) builder: Arc<str>,
    /// The builder's directory.
    pub(super) location: PathBuf,
    /// The complete environment of the builder's programs.
    pub(super) environment: Vec<(String, OsString)>,
    /// The peer's working directory.
    pub(super) working_directory: PathBuf,
    pub(super) tracer: Tracer,
}

impl Programs {
    /// The environment of a builder's programs: its own and the default variables that the peer
    /// has.
    pub(super) fn environment(
        propagated: &[String],
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(String, OsString)> {
        let further = DEFAULT_VARIABLES.into_iter().filter(|name| !propagated.iter().any(|other| other == name));
        let names = propagated.iter().map(String::as_str).chain(further);
        names.filter_map(|name| Some((name.to_owned(), variable(name)?))).collect()
    }

    pub(super) fn path(&self, command: &str) -> PathBuf {
        self.working_directory.join(&self.location).join("bin").join(command)
    }

    /// Runs a program until it exits. The error is Fabric's text.
    pub(super) async fn run(&self, command: &'static str, arguments: &[&Path]) -> Result<(), String> {
        self.start(command, arguments).await?.wait().await
    }

    /// Starts a program. Dropping the session kills it.
    pub(super) async fn start(&self, command: &'static str, arguments: &[&Path]) -> Result<Session, String> {
        self.trace(command, || BuilderStep::Started(arguments.iter().map(|path| path.display().to_string()).collect()));
        let began = Instant::now();
        let path = self.path(command);
        let spawned = self.spawn(&path, arguments).await;
        let mut child = spawned.map_err(|error| {
            let reason = format!("fork/exec {}: {}", path.display(), go::os_error(&error));
            self.trace(command, || BuilderStep::Failed(reason.clone()));
            reason
        })?;
        let stderr = child.stderr.take();
        Ok(Session { programs: self.clone(), command, began, child, stderr })
    }

    async fn spawn(&self, path: &Path, arguments: &[&Path]) -> io::Result<Child> {
        let mut tries = 0;
        loop {
            let mut command = Command::new(path);
            command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
            command.current_dir(&self.working_directory).kill_on_drop(true);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            match command.spawn() {
                // Another thread forked while the program was being written, and the child has not
                // called exec yet, so the file is still open for writing.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    fn trace(&self, command: &'static str, step: impl FnOnce() -> BuilderStep) {
        self.tracer.emit(&self.node, || EventKind::BuilderStep {
            builder: self.builder.clone(),
            command,
            step: step(),
        });
    }

    /// Records that an optional program is missing.
    pub(super) fn skipped(&self, command: &'static str) {
        self.trace(command, || BuilderStep::Skipped);
    }

    fn log(&self, command: &'static str, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        tracing::info!(target: "chaincode.externalbuilder", builder = %self.builder, command, "{line}");
        self.trace(command, || BuilderStep::Line(line.into_owned()));
    }
}

/// A running program.
#[derive(Debug)]
pub(super) struct Session {
    programs: Programs,
    command: &'static str,
    began: Instant,
    child: Child,
    stderr: Option<ChildStderr>,
}

impl Session {
    /// Logs standard error until the program and all children that inherited it have closed it. The
    /// error describes the exit status.
    pub(super) async fn wait(mut self) -> Result<(), String> {
        // Keep the pipe open: a program that writes after an overlong line must block on a full
        // pipe instead of getting EPIPE.
        let mut stderr = self.stderr.take();
        if let Some(stderr) = &mut stderr
            && let Err(reason) = self.scan(stderr).await
        {
            let builder = &self.programs.builder;
            tracing::error!(target: "chaincode.externalbuilder", %builder, command = self.command,
                "command output scanning failed: {reason}");
            self.programs
                .trace(self.command, || BuilderStep::Line(format!("command output scanning failed: {reason}")));
        }
        let ended = match self.child.wait().await {
            Ok(status) => go::exit_error(status),
            Err(error) => Some(go::os_error(&error)),
        };
        drop(stderr);
        match ended {
            None => {
                self.programs.trace(self.command, || BuilderStep::Succeeded(self.began.elapsed()));
                Ok(())
            }
            Some(reason) => {
                self.programs.trace(self.command, || BuilderStep::Failed(reason.clone()));
                Err(reason)
            }
        }
    }

    /// The process ID while the program runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    async fn scan(&self, stderr: &mut ChildStderr) -> Result<(), String> {
        let mut buffer = vec![0; 4096];
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                if filled >= SCANNER_BUFFER {
                    return Err("bufio.Scanner: token too long".to_owned());
                }
                buffer.resize((filled * 2).min(SCANNER_BUFFER), 0);
            }
            let read = stderr.read(&mut buffer[filled..]).await.map_err(|error| go::os_error(&error))?;
            if read == 0 {
                if filled > 0 {
                    self.programs.log(self.command, without_return(&buffer[..filled]));
                }
                return Ok(());
            }
            filled += read;
            let mut done = 0;
            while let Some(length) = buffer[done..filled].iter().position(|byte| *byte == b'\n') {
                self.programs.log(self.command, without_return(&buffer[done..done + length]));
                done += length + 1;
            }
            buffer.copy_within(done..filled, 0);
            filled -= done;
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
