//! Nodes as containers of the official images, in any Docker engine, by testcontainers.
//!
//! All containers of a run share the network namespace of an idle container, as the containers of a
//! Kubernetes pod do. An engine needs 250 ms to set up a network, and does it for one container at a time; so
//! it is set up once, with all published ports, while the files are rendered. Every node still has its own
//! name, in the shared hosts file, and its own ports.

mod container;
mod diagnosis;
pub mod engine;
mod error;
mod images;
mod listening;
mod mounts;
mod places;
mod pod;
mod reach;
mod removal;
mod server;
mod taps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::{Placement, Ports};
use fabric_network::release::Release;
use fabric_network::topology::Topology;
use futures::future::{join_all, try_join_all};

use super::loopback::{Ports as FreePorts, Surroundings};
use super::node::no_such_node;
use super::placed::{OwnedRun, Taps};
use super::ready::ready;
use super::{
    Capabilities, ChaincodePlacement, ChaincodeServer, ChaincodeSpec, Descriptor, FindRequest, ORDERER_IMAGE,
    PEER_IMAGE, Placed, Prepared, RESTART_GRACE, RunningNetwork, RunningNode, Runtime, RuntimeError, RuntimeOptions,
    ServerRequest, StartError, StartRequest, Unavailable, UnexpectedExit, chaincode, files, log,
};
use crate::cleanup::{Resources, RunGuard};
use crate::console::error_text;
use crate::server::ServerSource;
use container::{Container, Image, Request};
use engine::{CONTAINERS, Engine};
use images::is_obtainable;
use places::{Servers, host_of};
use pod::{Pod, Started};
use reach::Reach;
use server::Server;

pub use error::Error;

/// The directory, in that of the run, of the logs of what runs on this machine.
const LOGS: &str = "logs";

const LOOPBACK: &str = "127.0.0.1";
const EVERYWHERE: &str = "0.0.0.0";

/// The name of this machine in containers, the same as in Docker Desktop.
const HERE: &str = "host.docker.internal";

/// The official images, in a Docker engine.
pub static DOCKER: Descriptor = Descriptor {
    name: "docker",
    summary: "The official images, by a Docker engine",
    auto: true,
    capabilities: Capabilities { takes_images: true, takes_programs: false, in_cluster: false, not_covered: None },
    tests: Some("needs_docker"),
    find: |request| Box::pin(find(request)),
    probe: |request| Box::pin(async { is_obtainable(request.image_tag()).await.map_err(|error| error_text(&error)) }),
    diagnose: |request| Box::pin(diagnosis::look(request.image_tag())),
    resources: Some(&CONTAINERS),
};

async fn find(request: &FindRequest) -> Result<Box<dyn Runtime>, Unavailable> {
    Ok(Box::new(DockerRuntime::find(request.options.clone(), request.image_tag()).await?))
}

/// A Docker engine that has the images.
#[derive(Debug, Clone)]
pub struct DockerRuntime {
    options: RuntimeOptions,
    engine: Engine,
    docker: Docker,
    reach: Reach,
    /// How it is reached if the engine's loopback is another one.
    gateway: Option<Reach>,
    /// Whether the images of peers and orderers have the same user.
    has_one_user: bool,
    tag: String,
    release: Release,
}

impl DockerRuntime {
    /// Looks for both images of this tag in the engine of the environment (`DOCKER_HOST`, or the usual
    /// sockets). Pulls a missing image.
    ///
    /// # Errors
    ///
    /// An engine that does not answer within three seconds; an image that is unavailable; a tag of no
    /// supported version.
    pub async fn find(options: RuntimeOptions, tag: &str) -> Result<Self, Error> {
        let release = tag.parse()?;
        let engine = Engine::from_environment();
        let docker = engine.connect().await?;
        let images = [PEER_IMAGE, ORDERER_IMAGE].map(async |name| {
            let image = format!("{name}:{tag}");
            images::ensure(&docker, image.clone()).await?;
            Ok::<_, Error>(images::user_of(&engine, &docker, &image).await?)
        });
        let gateway = async { Ok(Reach::by_gateway(&engine, &docker).await?) };
        let (gateway, users) = tokio::try_join!(gateway, try_join_all(images))?;
        let has_one_user = users.windows(2).all(|users| users[0] == users[1]);
        let reach = Reach::of(&engine);
        Ok(Self { options, engine, docker, reach, gateway, has_one_user, tag: tag.to_owned(), release })
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn descriptor(&self) -> &'static Descriptor {
        &DOCKER
    }

    fn version(&self) -> &str {
        &self.tag
    }

    fn release(&self) -> Release {
        self.release
    }

    fn check_couchdb(&self, address: IpAddr) -> Result<(), RuntimeError> {
        if address.is_loopback() { Err(Error::Loopback { address }.into()) } else { Ok(()) }
    }

    async fn place(&self, topology: &Topology, chaincodes: &[ServerRequest<'_>]) -> Result<Placed, RuntimeError> {
        let engine: Arc<dyn Resources> = Arc::new(self.engine.clone());
        let guard = RunGuard::begin_with(&self.options.parent, &self.options.reaper, |_| Arc::clone(&engine))?;
        let run = OwnedRun::new(guard, &self.options, vec![engine]);
        let guard = run.guard();
        let directory = guard.workspace().directory();
        let Servers { mut places, ports, hosts, fixed } = self.place_chaincodes(chaincodes, directory).await?;
        let nodes = self.place_nodes(topology, &fixed.values().map(|fixed| fixed.port).collect())?;
        let package_names = fixed.values().flat_map(|fixed| fixed.names.iter().cloned());
        let chaincode_hosts: BTreeSet<String> = places.values().filter_map(host_of).chain(package_names).collect();
        let mut chaincode_hosts: Vec<String> = chaincode_hosts.into_iter().collect();
        let names = nodes.keys().map(|name| (name.clone(), LOOPBACK.to_owned())).chain(hosts).collect();
        let of_nodes = nodes.values().flat_map(|node| [Some(node.ports.grpc), node.ports.admin]).flatten();
        let of_servers = places.values().filter(|place| self.options.tap && place.dial.is_none());
        let published = of_nodes.chain(of_servers.map(chaincode::port_of)).collect();
        let programs = chaincodes.iter().filter_map(|request| match request.source {
            ServerSource::Program(program) => Some(program.clone()),
            _ => None,
        });
        let programs: Vec<_> = programs.chain([self.options.builder.clone()]).collect();
        let mut pod = Pod::begin(self, guard, names, published, &programs)?;
        let taps = if self.options.tap {
            taps::place(self, &mut pod, &mut places, &mut chaincode_hosts).await?
        } else {
            Taps::Unwanted
        };
        Ok(Placed {
            placement: Placement { nodes, chaincode_hosts },
            chaincodes: places,
            at_package_addresses: fixed.into_keys().collect(),
            options: self.options.clone(),
            taps,
            prepared: Box::new(Reserved { runtime: self.clone(), pod, ports: Arc::new(ports) }),
            run,
        })
    }
}

/// A network namespace that is starting, for the nodes.
#[derive(Debug)]
struct Reserved {
    runtime: DockerRuntime,
    pod: Pod,
    /// Ports of this machine, for chaincode servers.
    ports: Arc<FreePorts>,
}

/// Containers that run.
#[derive(Debug)]
struct Network {
    nodes: Vec<RunningNode>,
    containers: Vec<Container>,
    pod: Started,
    has_one_user: bool,
    chaincodes: Vec<Box<dyn ChaincodeServer>>,
    options: RuntimeOptions,
    guard: Arc<RunGuard>,
}

#[async_trait]
impl Prepared for Reserved {
    async fn start(self: Box<Self>, request: StartRequest<'_>) -> Result<Box<dyn RunningNetwork>, StartError> {
        let runtime = self.runtime.clone();
        match self.start_all(request).await {
            Ok(network) => Ok(Box::new(network)),
            Err(source) => {
                let mut logs = container::logs_of(&runtime, request.guard).await;
                logs.extend(log::all_in(&request.guard.workspace().directory().join(LOGS)));
                Err(StartError { source: Box::new(source), logs })
            }
        }
    }
}

impl Reserved {
    async fn start_all(mut self, request: StartRequest<'_>) -> Result<Network, RuntimeError> {
        let StartRequest { options, guard, bundle, chaincodes } = request;
        let trees = guard.workspace().subdirectory("trees")?;
        let mut requests = Vec::new();
        for spec in &bundle.nodes {
            requests.push(self.node_request(bundle, spec, options, &trees)?);
        }
        let workspace = guard.workspace();
        let (logs, temporary) = (workspace.subdirectory(LOGS)?, workspace.subdirectory("tmp")?);
        let surroundings = Surroundings { options, guard, ports: &self.ports, logs: &logs, temporary: &temporary };
        let mut servers = Vec::new();
        for (spec, place) in chaincodes {
            servers.push(match &spec.source {
                ServerSource::Program(_) | ServerSource::Image(_) => {
                    let bound = chaincode::bound(options, &spec.source);
                    Starting::Container(
                        Box::new(self.server_request(spec, place, &trees)?),
                        chaincode::port_of(place),
                        bound,
                    )
                }
                ServerSource::Command { .. } | ServerSource::Address { .. } => {
                    Starting::Here(surroundings.prepare_one(spec, place)?)
                }
            });
        }
        let pod = self.pod.ready().await?;
        let start = |request: Request| Container::start(&self.runtime, guard, &pod, request);
        let nodes = bundle.nodes.iter().zip(requests).map(|(spec, request)| {
            let started = start(request);
            let node = reached(spec, &pod);
            async move {
                let container = started.await?;
                ready(options, &node, container.exit(), || container.log_tail()).await?;
                Ok::<_, RuntimeError>((node, container))
            }
        });
        let servers = servers.into_iter().map(|server| async {
            match server {
                Starting::Container(request, port, bound) => {
                    let started = Server::start_new(&self.runtime, guard, &pod, *request, port, bound);
                    Ok(Box::new(started.await?) as Box<dyn ChaincodeServer>)
                }
                Starting::Here(server) => server.start().await.map(|()| server),
            }
        });
        let (nodes, chaincodes) = tokio::try_join!(try_join_all(nodes), try_join_all(servers))?;
        let (nodes, containers) = nodes.into_iter().unzip();
        let (options, guard, has_one_user) = (options.clone(), Arc::clone(guard), self.runtime.has_one_user);
        Ok(Network { nodes, containers, pod, has_one_user, chaincodes, options, guard })
    }

    fn node_request(
        &self,
        bundle: &Bundle,
        spec: &NodeSpec,
        options: &RuntimeOptions,
        trees: &Path,
    ) -> Result<Request, RuntimeError> {
        let tree = trees.join(&spec.name);
        files::write_node(bundle, spec, &tree)?;
        if spec.kind == NodeKind::Peer {
            files::link_builder(&options.builder, &tree.join("builder"))?;
        }
        let directory = spec.placement.config_dir.display().to_string();
        let mut environment = spec.full_environment();
        environment.entry("FABRIC_CFG_PATH".to_owned()).or_insert_with(|| directory.clone());
        Ok(Request {
            name: spec.name.clone(),
            image: Image { name: spec.image.clone(), tag: self.runtime.tag.clone() },
            command: std::iter::once(&spec.program).chain(&spec.arguments).cloned().collect(),
            environment,
            tree,
            may_be_mounted: spec.kind == NodeKind::Peer || self.runtime.has_one_user,
            working: Some(directory.clone()),
            directory,
        })
    }

    /// A program in its own image, or a static program in the peer's.
    fn server_request(
        &self,
        spec: &ChaincodeSpec,
        place: &ChaincodePlacement,
        trees: &Path,
    ) -> Result<Request, RuntimeError> {
        const PROGRAM: &str = "chaincode-server";
        let tree = trees.join(&spec.name);
        let directory = place.directory.display().to_string();
        let (image, program, working) = match &spec.source {
            ServerSource::Image(image) => {
                files::write_for_everybody(&spec.files, &tree)?;
                (Image::parse(image), None, None)
            }
            source => {
                files::write_chaincode(&spec.files, &tree)?;
                if let ServerSource::Program(program) = source {
                    files::link_program(program, &tree.join(PROGRAM))?;
                }
                let image = Image { name: PEER_IMAGE.to_owned(), tag: self.runtime.tag.clone() };
                let program = place.directory.join(PROGRAM).display().to_string();
                (image, Some(program), Some(directory.clone()))
            }
        };
        Ok(Request {
            name: spec.name.clone(),
            image,
            command: program.into_iter().chain(spec.arguments.iter().cloned()).collect(),
            environment: spec.environment.clone(),
            tree,
            may_be_mounted: true,
            directory,
            working,
        })
    }
}

fn reached(spec: &NodeSpec, pod: &Started) -> RunningNode {
    let address = |port: u16| format!("{}:{}", pod.reach.host, pod.published.get(&port).copied().unwrap_or_default());
    let Ports { grpc, admin, .. } = spec.placement.ports;
    RunningNode::new(spec, &address(grpc), admin.map(address).as_deref())
}

/// A chaincode server that is about to be started.
enum Starting {
    /// In the pod: its port there, and how long it may take to listen.
    Container(Box<Request>, u16, Duration),
    /// On this machine, or started by its user.
    Here(Box<dyn ChaincodeServer>),
}

impl Network {
    fn find(&self, name: &str) -> Result<(&RunningNode, &Container), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.containers);
        nodes.find(|(node, _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))
    }
}

#[async_trait]
impl RunningNetwork for Network {
    fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    fn chaincodes(&self) -> &[Box<dyn ChaincodeServer>] {
        &self.chaincodes
    }

    fn description(&self) -> Option<String> {
        let files = match (self.pod.sees_files, self.has_one_user) {
            (true, true) => "files mounted read-only",
            (true, false) => "files mounted read-only, and copied to orderers, whose image has another user",
            (false, _) => "files copied, because the containers do not see those of this machine",
        };
        Some(format!("{files}; ports published on {}", self.pod.reach.publish))
    }

    /// The container stays, and with it its volumes.
    async fn stop(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name)?.1.stop(RESTART_GRACE).await
    }

    async fn kill(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name)?.1.kill().await
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let (node, container) = self.find(name)?;
        if self.guard.has_ended() {
            return Err(RuntimeError::Ended);
        }
        container.start_again().await?;
        ready(&self.options, node, container.exit(), || container.log_tail()).await
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        let nodes = join_all(self.containers.iter().map(Container::exits)).await;
        nodes.into_iter().flatten().chain(chaincode::exits(&self.chaincodes).await).collect()
    }

    async fn logs(&self) -> BTreeMap<String, String> {
        let nodes = join_all(
            self.containers.iter().map(|container| async { (container.name().to_owned(), container.log(None).await) }),
        );
        nodes.await.into_iter().chain(chaincode::logs(&self.chaincodes).await).collect()
    }

    async fn log_tail(&self, name: &str) -> String {
        match self.containers.iter().find(|container| container.name() == name) {
            Some(container) => container.log_tail().await,
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}
