//! A container: created and started with testcontainers, watched and read with the engine's API.
//!
//! It is not removed here: all containers of a run are removed together, by their label.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerState, HostConfig, HostConfigLogConfig, Mount};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::StreamExt as _;
use futures::future::join_all;
use testcontainers::core::WaitFor;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _};

use super::engine::{Engine, EngineError};
use super::pod::Started;
use super::removal::find_run;
use super::{DockerRuntime, mounts};
use crate::cleanup::RunGuard;
use crate::console::error_text;
use crate::runtime::{RuntimeError, UnexpectedExit, log};

/// Between SIGTERM and SIGKILL of a container that is not started again.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The files of a container's log. The engine removes the older one when the newer one is full.
const LOG_FILES: usize = 2;
const LOG_FILE_MIB: usize = 16;

/// About how many bytes an engine stores with each line: its time and stream.
const STORED_WITH_LINE: usize = 80;

/// How long the engine may take to return a log.
const LOG_BOUND: Duration = Duration::from_secs(10);

/// An image.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) tag: String,
}

impl Image {
    /// Parses NAME, NAME:TAG or NAME@DIGEST into the two parts that testcontainers joins with a colon.
    pub(super) fn parse(reference: &str) -> Self {
        // A colon before a slash belongs to a registry's port.
        let split = reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        let (name, tag) = split.unwrap_or((reference, "latest"));
        Self { name: name.to_owned(), tag: tag.to_owned() }
    }
}

/// A container to create.
#[derive(Debug)]
pub(super) struct Request {
    /// The node's or server's name.
    pub(super) name: String,
    pub(super) image: Image,
    /// The program and its arguments, or only arguments if the image has an entry point. Default: the image's.
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// The directory of this machine whose files are mounted in `directory`, or copied there, in one request: each
    /// copy takes the engine 65 ms, however small.
    pub(super) tree: PathBuf,
    /// The container's user can read what that of the pod can.
    pub(super) may_be_mounted: bool,
    pub(super) directory: String,
    /// The working directory. Default: the image's.
    pub(super) working: Option<String>,
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    id: String,
    engine: Engine,
    docker: Docker,
    /// It was asked to stop, so its exit is expected.
    asked_to_stop: AtomicBool,
    /// Its unexpected exits before it was stopped or started again.
    past: Mutex<Vec<UnexpectedExit>>,
}

impl Container {
    /// Creates a container in the pod's network with the files of its tree, and starts it.
    pub(super) async fn start(
        runtime: &DockerRuntime,
        guard: &Arc<RunGuard>,
        pod: &Started,
        request: Request,
    ) -> Result<Self, RuntimeError> {
        let container_name = format!("{}{}", prefix(guard), request.name);
        let mounts = if pod.sees_files && request.may_be_mounted {
            let mounts = mounts::of_tree(&request.tree, Path::new(&request.directory));
            Some(mounts.map_err(|source| RuntimeError::File { path: request.tree.clone(), source })?)
        } else {
            None
        };
        let is_mounted = mounts.is_some();
        let mut container = GenericImage::new(&request.image.name, &request.image.tag)
            .with_wait_for(WaitFor::Nothing)
            .with_container_name(&container_name)
            .with_host_config_modifier(in_network_of(&pod.id, mounts))
            .with_labels(guard.labels())
            .with_cmd(&request.command);
        if !is_mounted {
            container = container.with_copy_to(&request.directory, request.tree.as_path());
        }
        if let Some(directory) = &request.working {
            container = container.with_working_dir(directory);
        }
        for (name, value) in &request.environment {
            container = container.with_env_var(name, value);
        }
        guard.requesting(&container_name)?;
        let started = Box::pin(container.start()).await;
        guard.answered(&container_name);
        let started = started
            .map_err(|error| RuntimeError::Container { name: request.name.clone(), reason: error_text(&error) })?;
        let id = started.id().to_owned();
        // Its destructor would remove the container, and panic without an asynchronous runtime. It is removed
        // with the run instead.
        std::mem::forget(started);
        let (engine, docker) = (runtime.engine.clone(), runtime.docker.clone());
        Ok(Self {
            name: request.name,
            id,
            engine,
            docker,
            asked_to_stop: AtomicBool::new(false),
            past: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    async fn state(&self) -> Result<ContainerState, EngineError> {
        let inspect = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>);
        let found = self.engine.ask("inspect a container", inspect).await?;
        Ok(found.state.unwrap_or_default())
    }

    /// Waits for its unexpected exit.
    pub(super) async fn exit(&self) -> UnexpectedExit {
        let mut end = self.docker.wait_container(&self.id, None::<WaitContainerOptions>);
        // The client returns an exit status other than 0 as an error; both mean that it has exited.
        let _ = end.next().await;
        match self.exited().await {
            Some(exit) => exit,
            // Only the request has ended.
            None => std::future::pending().await,
        }
    }

    /// Its unexpected exit, if it is not running.
    pub(super) async fn exited(&self) -> Option<UnexpectedExit> {
        match self.unexpected_exit().await {
            Ok(exit) => exit,
            Err(error) => Some(UnexpectedExit::new(&self.name, error.to_string(), String::new())),
        }
    }

    /// Every unexpected exit.
    pub(super) async fn exits(&self) -> Vec<UnexpectedExit> {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        past.into_iter().chain(self.exited().await).collect()
    }

    /// Keeps its unexpected exit before it is stopped or started again.
    async fn remember(&self) -> Result<(), EngineError> {
        let exit = self.unexpected_exit().await?;
        self.past.lock().unwrap_or_else(PoisonError::into_inner).extend(exit);
        Ok(())
    }

    async fn unexpected_exit(&self) -> Result<Option<UnexpectedExit>, EngineError> {
        let state = self.state().await?;
        if state.running.unwrap_or_default() || self.asked_to_stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut how = format!("exit status: {}", state.exit_code.unwrap_or_default());
        if state.oom_killed.unwrap_or_default() {
            how.push_str(" (out of memory)");
        }
        if let Some(error) = state.error.filter(|error| !error.is_empty()) {
            how = format!("{how} ({error})");
        }
        Ok(Some(UnexpectedExit::new(&self.name, how, self.log_tail().await)))
    }

    pub(super) async fn log_tail(&self) -> String {
        log::last_lines(&self.log(Some(10 * log::LINES)).await)
    }

    /// Both output streams: the last lines, or all.
    pub(super) async fn log(&self, lines: Option<usize>) -> String {
        read_log(&self.docker, &self.id, lines).await
    }

    /// Stops it: SIGTERM and, after the grace in whole seconds, SIGKILL.
    pub(super) async fn stop(&self, grace: Duration) -> Result<(), RuntimeError> {
        self.remember().await?;
        self.asked_to_stop.store(true, Ordering::Relaxed);
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let stop = self.docker.stop_container(&self.id, Some(options));
        Ok(unless_ended(self.engine.ask("stop a container", stop).await)?)
    }

    pub(super) async fn kill(&self) -> Result<(), RuntimeError> {
        self.remember().await?;
        self.asked_to_stop.store(true, Ordering::Relaxed);
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let kill = self.docker.kill_container(&self.id, Some(options));
        unless_ended(self.engine.ask("kill a container", kill).await)?;
        // It exits a little after the signal.
        let mut end = self.docker.wait_container(&self.id, None::<WaitContainerOptions>);
        let end = async { Ok(end.next().await) };
        self.engine.ask("wait for a container to end", end).await?;
        Ok(())
    }

    pub(super) async fn start_again(&self) -> Result<(), RuntimeError> {
        self.remember().await?;
        self.asked_to_stop.store(false, Ordering::Relaxed);
        let start = self.docker.start_container(&self.id, None::<StartContainerOptions>);
        Ok(unless_ended(self.engine.ask("start a container", start).await)?)
    }
}

/// The prefix of the names of a run's containers, before the name of the node or server.
fn prefix(guard: &RunGuard) -> String {
    format!("fabric-harness-{}-", guard.workspace().id())
}

/// The whole logs of a run's containers, found by their label: while a network starts, there is no list of them.
pub(super) async fn logs_of(runtime: &DockerRuntime, guard: &RunGuard) -> BTreeMap<String, String> {
    let containers = match find_run(&runtime.engine, &runtime.docker, guard.workspace().id()).await {
        Ok(containers) => containers,
        Err(error) => {
            tracing::warn!("cannot read the logs: {}", error_text(&error));
            return BTreeMap::new();
        }
    };
    let prefix = prefix(guard);
    let logs = containers.into_iter().filter_map(|(id, name)| {
        let name = name.strip_prefix(&prefix)?.to_owned();
        Some(async move { (name, read_log(&runtime.docker, &id, None).await) })
    });
    join_all(logs).await.into_iter().collect()
}

async fn read_log(docker: &Docker, id: &str, lines: Option<usize>) -> String {
    let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
    let mut stream = docker.logs(id, Some(options));
    let mut received = log::Received::default();
    let mut stored = 0;
    let read = async {
        while let Some(part) = stream.next().await {
            match part {
                Ok(part) => {
                    let part = part.into_bytes();
                    stored += part.len() + STORED_WITH_LINE * part.split(|byte| *byte == b'\n').count();
                    received.add(&part);
                }
                Err(error) => return format!("\n(cannot read the log: {})\n", error_text(&error)),
            }
        }
        String::new()
    };
    let end = tokio::time::timeout(LOG_BOUND, read).await;
    let end = end.unwrap_or_else(|_| "\n(the engine timed out; the rest of the log is missing)\n".to_owned());
    let limit = LOG_FILES * LOG_FILE_MIB;
    let start = if stored >= LOG_FILE_MIB * 1024 * 1024 {
        format!("(the engine keeps the last {limit} MiB of a log; the start may be missing)\n")
    } else {
        String::new()
    };
    format!("{start}{}{end}", received.text())
}

/// Limits the log of a container on the engine's disk, whatever the engine's default is.
pub(super) fn limited_log() -> HostConfigLogConfig {
    let config = [("max-size", format!("{LOG_FILE_MIB}m")), ("max-file", LOG_FILES.to_string())];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(config) }
}

/// Joins the network of another container, and publishes nothing; with these mounts.
///
/// The setting of testcontainers would first create a network of that name.
fn in_network_of(pod: &str, mounts: Option<Vec<Mount>>) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    let mode = format!("container:{pod}");
    move |host| {
        host.network_mode = Some(mode.clone());
        host.mounts.clone_from(&mounts);
        host.log_config = Some(limited_log());
        host.publish_all_ports = None;
        host.port_bindings = None;
    }
}

/// 304 and 409: it is already in that state.
fn unless_ended(answer: Result<(), EngineError>) -> Result<(), EngineError> {
    match answer {
        Err(EngineError::Refused {
            source: DockerError::DockerResponseServerError { status_code: 304 | 409, .. },
            ..
        }) => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_reference_is_split_where_testcontainers_joins_it() {
        for (reference, name, tag) in [
            ("my/chaincode:1.0", "my/chaincode", "1.0"),
            ("my/chaincode", "my/chaincode", "latest"),
            ("localhost:5000/chaincode", "localhost:5000/chaincode", "latest"),
            ("localhost:5000/chaincode:2", "localhost:5000/chaincode", "2"),
            ("chaincode@sha256:ab12", "chaincode@sha256", "ab12"),
        ] {
            let image = Image::parse(reference);
            assert_eq!((image.name.as_str(), image.tag.as_str()), (name, tag), "{reference}");
        }
    }
}
