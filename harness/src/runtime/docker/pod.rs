//! The idle container whose network namespace the others join. It publishes their ports, and shows whether they see
//! files of this machine.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use tokio::task::JoinHandle;

use super::DockerRuntime;
use super::engine::EngineError;
use super::mounts::Probe;
use super::reach::{Reach, is_loopback_shared};
use crate::cleanup::RunGuard;
use crate::console::error_text;
use crate::runtime::{PEER_IMAGE, RuntimeError};

/// Its name in errors.
const NAME: &str = "the shared network";

/// A container that is starting.
#[derive(Debug)]
pub(super) struct Pod {
    starting: JoinHandle<Result<Started, RuntimeError>>,
    started: Option<Started>,
}

/// A container that runs.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) id: String,
    pub(super) reach: Reach,
    /// The outside port of each published port.
    pub(super) published: BTreeMap<u16, u16>,
    /// Whether its user sees the files of this machine that are mounted.
    pub(super) sees_files: bool,
}

impl Pod {
    /// Creates the container, and starts it in the background. Its hosts file has an address for each of
    /// `names`; the engine chooses an outside port for each of `ports`. `programs` are those of this machine that
    /// containers will run.
    pub(super) fn begin(
        runtime: &DockerRuntime,
        guard: &Arc<RunGuard>,
        names: Vec<(String, String)>,
        ports: Vec<u16>,
        programs: &[PathBuf],
    ) -> Result<Self, RuntimeError> {
        let probe = Probe::prepare(guard.workspace(), programs)?;
        let hosts = names.into_iter().map(|(name, address)| format!("{name}:{address}")).collect();
        let name = format!("fabric-harness-{}", guard.workspace().id());
        let start = Start { runtime: runtime.clone(), guard: Arc::clone(guard), name, hosts, ports, probe };
        Ok(Self { starting: tokio::spawn(async move { start.begin().await }), started: None })
    }

    /// Waits until it runs.
    pub(super) async fn ready(&mut self) -> Result<Started, RuntimeError> {
        if let Some(started) = &self.started {
            return Ok(started.clone());
        }
        let started = (&mut self.starting).await.map_err(|error| failed(error.to_string()))??;
        Ok(self.started.insert(started).clone())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.starting.abort();
    }
}

fn failed(reason: String) -> RuntimeError {
    RuntimeError::Container { name: NAME.to_owned(), reason }
}

/// What the container is started with.
struct Start {
    runtime: DockerRuntime,
    guard: Arc<RunGuard>,
    name: String,
    hosts: Vec<String>,
    ports: Vec<u16>,
    probe: Probe,
}

impl Start {
    async fn begin(self) -> Result<Started, RuntimeError> {
        let reach = &self.runtime.reach;
        let started = match self.attempt(reach, true).await {
            Ok(started) => started,
            // An engine refuses to mount what it does not see.
            Err(error) => {
                tracing::debug!("with mounts: {}", error_text(&error));
                self.discard().await?;
                self.attempt(reach, false).await?
            }
        };
        let Some(gateway) = &self.runtime.gateway else { return Ok(started) };
        if is_loopback_shared(started.published.values().copied()).await {
            return Ok(started);
        }
        tracing::warn!(
            "this program runs in a container, and does not share the loopback of the Docker engine: ports are \
             published on {}, which other containers reach",
            gateway.publish
        );
        self.discard().await?;
        self.attempt(gateway, started.sees_files).await
    }

    async fn attempt(&self, reach: &Reach, has_mounts: bool) -> Result<Started, RuntimeError> {
        let id = self.create(reach, has_mounts).await?;
        let Self { runtime, ports, .. } = self;
        let start = runtime.docker.start_container(&id, None::<StartContainerOptions>);
        runtime.engine.ask("start a container", start).await?;
        let inspect = runtime.docker.inspect_container(&id, None::<InspectContainerOptions>);
        let found = runtime.engine.ask("inspect a container", inspect).await?;
        let bindings = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let outside = |port: u16| {
            let bindings = bindings.get(&format!("{port}/tcp"))?.as_ref()?;
            bindings.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())
        };
        let mut published = BTreeMap::new();
        for port in ports {
            let outside = outside(*port).ok_or_else(|| failed(format!("the engine did not publish port {port}")))?;
            published.insert(*port, outside);
        }
        let sees_files = has_mounts && self.probe.is_seen(runtime, &id).await;
        Ok(Started { id, reach: reach.clone(), published, sees_files })
    }

    async fn create(&self, reach: &Reach, has_mounts: bool) -> Result<String, RuntimeError> {
        let Self { runtime, guard, name, hosts, ports, probe } = self;
        let binding = PortBinding { host_ip: Some(reach.publish.clone()), host_port: Some("0".to_owned()) };
        let bindings: HashMap<_, _> =
            ports.iter().map(|port| (format!("{port}/tcp"), Some(vec![binding.clone()]))).collect();
        // It needs no signal handler, since it is removed by force.
        let idle = ["sleep", "2147483647"].map(str::to_owned).to_vec();
        let body = ContainerCreateBody {
            image: Some(format!("{PEER_IMAGE}:{}", runtime.tag)),
            entrypoint: Some(Vec::new()),
            cmd: Some(if has_mounts { probe.command.clone() } else { idle }),
            labels: Some(guard.labels().into_iter().collect()),
            exposed_ports: Some(bindings.keys().cloned().collect()),
            host_config: Some(HostConfig {
                port_bindings: Some(bindings),
                extra_hosts: Some(hosts.clone()),
                mounts: has_mounts.then(|| probe.mounts.clone()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        guard.requesting(name)?;
        let create = runtime.docker.create_container(Some(options), body);
        let created = runtime.engine.ask("create a container", create).await;
        guard.answered(name);
        Ok(created?.id)
    }

    /// Removes the container of an attempt, if it was created.
    async fn discard(&self) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove = self.runtime.docker.remove_container(&self.name, Some(options));
        match self.runtime.engine.ask("remove a container", remove).await {
            Err(EngineError::Refused {
                source: DockerError::DockerResponseServerError { status_code: 404, .. },
                ..
            }) => Ok(()),
            result => result,
        }
    }
}
