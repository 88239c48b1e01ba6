//! Nodes as containers of the official images, by testcontainers, in any engine that answers.
//!
//! All containers of a run share one network namespace, that of an idle container, as the containers
//! of a Kubernetes pod do. To set up a network costs an engine 250 ms and can't be done for two
//! containers at once; so it is done once, while the files are being rendered, and publishes all
//! ports. Every node still has its own name, which the shared hosts file knows, and its own ports.

mod container;
mod images;
mod listening;
mod places;
mod pod;
mod taps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::{Placement, Ports};
use fabric_network::release::Release;
use fabric_network::topology::Topology;
use futures::future::{join_all, try_join_all};

use super::chaincode::{self, ChaincodePlacement, ChaincodeSpec, RunningChaincode};
use super::loopback::{self, Ports as FreePorts, Surroundings};
use super::ready::ready;
use super::{
    Death, Ending, Placed, PlacedIn, RESTART_GRACE, RunningNode, RuntimeError, RuntimeOptions, StartError, Taps,
    Unavailable, files, log, no_such_node, running_node,
};
use crate::cleanup::containers::Engine;
use crate::cleanup::{Custody, sweep};
use crate::server::ServerSource;
use crate::wait::TimedOut;
use container::{Container, Image, Request};
use images::Reach;
use listening::Listening;
use places::{Servers, host_of};
use pod::Pod;

pub use images::is_obtainable;

/// The image of a peer.
pub(crate) const PEER: &str = "hyperledger/fabric-peer";
/// The image of an orderer.
pub(crate) const ORDERER: &str = "hyperledger/fabric-orderer";

/// Where the run's directory has the logs of what runs on this machine.
const LOGS: &str = "logs";

const LOOPBACK: &str = "127.0.0.1";
const EVERYWHERE: &str = "0.0.0.0";

/// What containers call this machine, as they do in Docker Desktop.
const HERE: &str = "host.docker.internal";

/// A Docker engine that has the images.
#[derive(Debug, Clone)]
pub struct DockerRuntime {
    options: RuntimeOptions,
    engine: Engine,
    docker: Docker,
    reach: Reach,
    tag: String,
    release: Release,
}

impl DockerRuntime {
    /// Asks the engine of the environment (`DOCKER_HOST`, or the usual sockets) for both images with
    /// this tag. An image that is not there is pulled.
    ///
    /// # Errors
    ///
    /// An engine that does not answer within three seconds; an image that can't be had; a tag of no
    /// supported version.
    pub async fn find(options: RuntimeOptions, tag: &str) -> Result<Self, Unavailable> {
        let release = tag.parse()?;
        let engine = Engine::from_environment();
        let docker = engine.connect().await?;
        let images = [PEER, ORDERER].map(|name| images::ensure(&docker, format!("{name}:{tag}")));
        let (reach, _) = tokio::try_join!(Reach::of(&engine, &docker), try_join_all(images))?;
        Ok(Self { options, engine, docker, reach, tag: tag.to_owned(), release })
    }

    /// The images' tag.
    pub fn version(&self) -> &str {
        &self.tag
    }

    /// The release line of that version.
    pub fn release(&self) -> Release {
        self.release
    }

    pub(super) async fn place(
        &self,
        topology: &Topology,
        chaincodes: &[(&str, &ServerSource)],
    ) -> Result<Placed, RuntimeError> {
        let engine = Some(self.engine.clone());
        let custody = Arc::new(Custody::begin(&self.options.parent, &self.options.reaper, engine)?);
        let ending = Ending(Arc::clone(&custody));
        let sweep = {
            let (parent, engine) = (self.options.parent.clone(), self.engine.clone());
            tokio::spawn(async move { sweep(&parent, Some(&engine)).await })
        };
        let nodes = self.place_nodes(topology)?;
        let Servers { mut places, ports, hosts } =
            self.place_chaincodes(chaincodes, custody.workspace().directory()).await?;
        let chaincode_hosts: BTreeSet<String> = places.values().filter_map(host_of).collect();
        let mut chaincode_hosts: Vec<String> = chaincode_hosts.into_iter().collect();
        let names = nodes.keys().map(|name| (name.clone(), LOOPBACK.to_owned())).chain(hosts).collect();
        let of_nodes = nodes.values().flat_map(|node| [Some(node.ports.grpc), node.ports.admin]).flatten();
        let of_servers = places.values().filter(|place| self.options.tap && place.dial.is_none());
        let published = of_nodes.chain(of_servers.map(chaincode::port_of)).collect();
        let mut pod = Pod::begin(self, &custody, names, published).await?;
        let taps = if self.options.tap {
            taps::place(self, &mut pod, &mut places, &mut chaincode_hosts).await?
        } else {
            Taps::Unwanted
        };
        Ok(Placed {
            placement: Placement { nodes, chaincode_hosts },
            chaincodes: places,
            options: self.options.clone(),
            taps,
            inner: PlacedIn::Docker(Box::new(Prepared { runtime: self.clone(), pod, ports })),
            sweep,
            ending,
        })
    }
}

/// A network namespace that is coming up, ready for the nodes.
#[derive(Debug)]
pub(super) struct Prepared {
    runtime: DockerRuntime,
    pod: Pod,
    /// Those of this machine, for chaincode servers.
    ports: FreePorts,
}

/// Containers that run.
#[derive(Debug)]
pub(super) struct Network {
    nodes: Vec<RunningNode>,
    containers: Vec<Container>,
    chaincodes: Vec<RunningChaincode>,
    options: RuntimeOptions,
    custody: Arc<Custody>,
}

impl Prepared {
    pub(super) async fn start(
        self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
    ) -> Result<Network, StartError> {
        let runtime = self.runtime.clone();
        match self.bring_up(options, custody, bundle, chaincodes).await {
            Ok(network) => Ok(network),
            Err(source) => {
                let mut logs = container::logs_of(&runtime, custody).await;
                logs.extend(log::all_in(&custody.workspace().directory().join(LOGS)));
                Err(StartError { source: Box::new(source), logs })
            }
        }
    }

    async fn bring_up(
        mut self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
    ) -> Result<Network, RuntimeError> {
        let trees = custody.workspace().subdirectory("trees")?;
        let mut requests = Vec::new();
        for spec in &bundle.nodes {
            requests.push(self.node_request(bundle, spec, options, &trees)?);
        }
        let workspace = custody.workspace();
        let (logs, temporary) = (workspace.subdirectory(LOGS)?, workspace.subdirectory("tmp")?);
        let surroundings = Surroundings { options, custody, logs: &logs, temporary: &temporary };
        let mut servers = Vec::new();
        for (spec, place) in chaincodes {
            servers.push(match &spec.source {
                ServerSource::Program(_) | ServerSource::Image(_) => {
                    let bound = chaincode::bound(options, &spec.source);
                    Starting::Container(self.server_request(spec, place, &trees)?, chaincode::port_of(place), bound)
                }
                ServerSource::Command { .. } | ServerSource::Address { .. } => {
                    Starting::Here(RunningChaincode(surroundings.prepare_one(spec, place)?))
                }
            });
        }
        let published = self.pod.ready().await?;
        let start = |request: Request| Container::start(&self.runtime, custody, self.pod.id(), request);
        let nodes = bundle.nodes.iter().zip(requests).map(|(spec, request)| {
            let started = start(request);
            let node = self.reached(spec, &published);
            async move {
                let container = started.await?;
                ready(options, &node, container.death(), || container.log_tail()).await?;
                Ok::<_, RuntimeError>((node, container))
            }
        });
        let servers = servers.into_iter().map(|server| async {
            match server {
                Starting::Container(request, port, bound) => self.start_server(custody, request, port, bound).await,
                Starting::Here(server) => {
                    loopback::start(std::slice::from_ref(&server), &self.ports).await?;
                    Ok(server)
                }
            }
        });
        let (nodes, chaincodes) = tokio::try_join!(try_join_all(nodes), try_join_all(servers))?;
        let (nodes, containers) = nodes.into_iter().unzip();
        Ok(Network { nodes, containers, chaincodes, options: options.clone(), custody: Arc::clone(custody) })
    }

    fn reached(&self, spec: &NodeSpec, published: &BTreeMap<u16, u16>) -> RunningNode {
        let address =
            |port: u16| format!("{}:{}", self.runtime.reach.host, published.get(&port).copied().unwrap_or_default());
        let Ports { grpc, admin, .. } = spec.placement.ports;
        running_node(spec, &address(grpc), admin.map(address).as_deref())
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
            working: Some(directory.clone()),
            directory,
        })
    }

    /// A program in an image of its own, or a static one in the peer's.
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
                let image = Image { name: PEER.to_owned(), tag: self.runtime.tag.clone() };
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
            directory,
            working,
        })
    }

    async fn start_server(
        &self,
        custody: &Arc<Custody>,
        request: Request,
        port: u16,
        bound: Duration,
    ) -> Result<RunningChaincode, RuntimeError> {
        let pod = self.pod.id();
        let listening = Listening::begin(&self.runtime, pod, port);
        let container = Container::start(&self.runtime, custody, pod, request).await?;
        let (runtime, pod, custody) = (self.runtime.clone(), pod.to_owned(), Arc::clone(custody));
        let server = Server { runtime, pod, port, bound, container, custody };
        server.listens(listening).await?;
        Ok(RunningChaincode(chaincode::Server::Docker(Box::new(server))))
    }
}

/// A chaincode server that is about to be started.
enum Starting {
    /// In the pod: its port there, and how long it may take to listen.
    Container(Request, u16, Duration),
    /// On this machine, or elsewhere.
    Here(RunningChaincode),
}

impl Network {
    pub(super) fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    pub(super) fn chaincodes(&self) -> &[RunningChaincode] {
        &self.chaincodes
    }

    /// Ends the node and starts it again: the container stays, and with it its volumes.
    pub(super) async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.containers);
        let (node, container) =
            nodes.find(|(node, _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))?;
        container.stop(RESTART_GRACE).await?;
        if self.custody.has_ended() {
            return Err(RuntimeError::Ended);
        }
        container.start_again().await?;
        ready(&self.options, node, container.death(), || container.log_tail()).await
    }

    pub(super) async fn deaths(&self) -> Vec<Death> {
        let nodes = join_all(self.containers.iter().map(Container::deaths)).await;
        nodes.into_iter().flatten().chain(chaincode::deaths(&self.chaincodes).await).collect()
    }

    pub(super) async fn logs(&self) -> BTreeMap<String, String> {
        let nodes = join_all(self.containers.iter().map(|container| async {
            let text = container.log(None).await;
            (container.name().to_owned(), log::without_escapes(&text))
        }));
        nodes.await.into_iter().chain(chaincode::logs(&self.chaincodes).await).collect()
    }

    pub(super) async fn log_tail(&self, name: &str) -> String {
        match self.containers.iter().find(|container| container.name() == name) {
            Some(container) => container.log_tail().await,
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}

/// A chaincode server as a container.
#[derive(Debug)]
pub(super) struct Server {
    runtime: DockerRuntime,
    pod: String,
    port: u16,
    bound: Duration,
    container: Container,
    custody: Arc<Custody>,
}

impl Server {
    pub(super) fn name(&self) -> &str {
        self.container.name()
    }

    pub(super) async fn stop(&self) -> Result<(), RuntimeError> {
        self.container.stop(container::GRACE).await
    }

    pub(super) async fn kill(&self) -> Result<(), RuntimeError> {
        self.container.kill().await
    }

    pub(super) async fn start(&self) -> Result<(), RuntimeError> {
        if self.custody.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let listening = Listening::begin(&self.runtime, &self.pod, self.port);
        self.container.start_again().await?;
        self.listens(listening).await
    }

    /// Waits until it listens, or has ended.
    async fn listens(&self, mut listening: Listening) -> Result<(), RuntimeError> {
        let name = self.name().to_owned();
        tokio::select! {
            death = self.container.death() => Err(RuntimeError::Died(death)),
            seen = tokio::time::timeout(self.bound, listening.seen()) => match seen {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reason)) => Err(RuntimeError::Container { name, reason }),
                Err(_) => Err(RuntimeError::Silent(TimedOut {
                    what: format!("{name} listens on port {}", self.port),
                    after: self.bound,
                    last: "nothing listens there".to_owned(),
                    log: self.log_tail().await,
                })),
            },
        }
    }

    pub(super) async fn log_tail(&self) -> String {
        self.container.log_tail().await
    }

    pub(super) async fn log(&self) -> String {
        log::without_escapes(&self.container.log(None).await)
    }

    pub(super) async fn deaths(&self) -> Vec<Death> {
        self.container.deaths().await
    }
}
