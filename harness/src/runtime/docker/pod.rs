//! The idle container whose network namespace the others join. It publishes their ports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions, StartContainerOptions};
use tokio::task::JoinHandle;

use super::DockerRuntime;
use crate::cleanup::RunGuard;
use crate::runtime::{PEER_IMAGE, RuntimeError};

/// Its name in errors.
const NAME: &str = "the shared network";

type Published = BTreeMap<u16, u16>;

/// A container that is starting.
#[derive(Debug)]
pub(super) struct Pod {
    id: String,
    starting: JoinHandle<Result<Published, RuntimeError>>,
    /// The published ports, once it runs.
    published: Option<Published>,
}

impl Pod {
    /// Creates the container, and starts it in the background. Its hosts file has an address for each of
    /// `names`; the engine chooses an outside port for each of `published`.
    pub(super) async fn begin(
        runtime: &DockerRuntime,
        guard: &Arc<RunGuard>,
        names: Vec<(String, String)>,
        published: Vec<u16>,
    ) -> Result<Self, RuntimeError> {
        let id = create(runtime, guard, names, &published).await?;
        let starting = tokio::spawn(start(runtime.clone(), id.clone(), published));
        Ok(Self { id, starting, published: None })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Waits until it runs. Returns the outside port of each published port.
    pub(super) async fn ready(&mut self) -> Result<Published, RuntimeError> {
        if let Some(published) = &self.published {
            return Ok(published.clone());
        }
        let published = (&mut self.starting).await.map_err(|error| failed(error.to_string()))??;
        Ok(self.published.insert(published).clone())
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

async fn create(
    runtime: &DockerRuntime,
    guard: &RunGuard,
    names: Vec<(String, String)>,
    published: &[u16],
) -> Result<String, RuntimeError> {
    let binding = PortBinding { host_ip: Some(runtime.reach.publish.to_owned()), host_port: Some("0".to_owned()) };
    let bindings: HashMap<_, _> =
        published.iter().map(|port| (format!("{port}/tcp"), Some(vec![binding.clone()]))).collect();
    let body = ContainerCreateBody {
        image: Some(format!("{PEER_IMAGE}:{}", runtime.tag)),
        entrypoint: Some(Vec::new()),
        // Needs no signal handler, since it is removed by force.
        cmd: Some(vec!["sleep".to_owned(), "2147483647".to_owned()]),
        labels: Some(guard.labels().into_iter().collect()),
        exposed_ports: Some(bindings.keys().cloned().collect()),
        host_config: Some(HostConfig {
            port_bindings: Some(bindings),
            extra_hosts: Some(names.into_iter().map(|(name, address)| format!("{name}:{address}")).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("fabric-harness-{}", guard.workspace().id());
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    guard.requesting(&name)?;
    let create = runtime.engine.ask("create a container", runtime.docker.create_container(Some(options), body)).await;
    guard.answered(&name);
    Ok(create?.id)
}

async fn start(runtime: DockerRuntime, id: String, wanted: Vec<u16>) -> Result<Published, RuntimeError> {
    let start = runtime.docker.start_container(&id, None::<StartContainerOptions>);
    runtime.engine.ask("start a container", start).await?;
    let inspect = runtime.docker.inspect_container(&id, None::<InspectContainerOptions>);
    let found = runtime.engine.ask("inspect a container", inspect).await?;
    let ports = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let outside = |port: u16| {
        let bindings = ports.get(&format!("{port}/tcp"))?.as_ref()?;
        bindings.iter().find_map(|binding| binding.host_port.as_ref()?.parse().ok())
    };
    wanted
        .into_iter()
        .map(|port| {
            let published = outside(port).ok_or_else(|| failed(format!("the engine did not publish port {port}")))?;
            Ok((port, published))
        })
        .collect()
}
