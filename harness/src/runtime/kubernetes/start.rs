//! Starts the pods of a run: the objects in the namespace for each node and chaincode server, and the waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::render::operator::kubernetes::objects::{
    self, CHAINCODE_CONTAINER, NODE_CONTAINER, Objects, Origin, Program,
};
use fabric_network::topology::Topology;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::HostAlias;
use kube::ResourceExt as _;

use super::forward::Forward;
use super::member::Member;
use super::places::instance_of;
use super::reach::wait_until_reached;
use super::server::{self, Server};
use super::space::{Applied, Space};
use super::state;
use super::upload::Archive;
use super::watch::Watched;
use super::{KubernetesRuntime, Network, logs};
use crate::cleanup::RunGuard;
use crate::runtime::external_server::ExternalServer;
use crate::runtime::ready::ready;
use crate::runtime::{
    ChaincodePlacement, ChaincodeServer, ChaincodeSpec, Prepared, RunningNetwork, RunningNode, RuntimeError,
    RuntimeOptions, StartError, StartRequest, chaincode,
};
use crate::server::ServerSource;

/// A namespace for the nodes.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) runtime: KubernetesRuntime,
    pub(super) topology: Topology,
    pub(super) space: Space,
    /// The hosts in the addresses of the packages whose servers are there, by the servers' names.
    pub(super) package_hosts: BTreeMap<String, BTreeSet<String>>,
}

/// A start that is under way.
struct Start<'a> {
    reserved: &'a Reserved,
    options: &'a RuntimeOptions,
    guard: &'a Arc<RunGuard>,
    objects: Objects<'a>,
    watched: Arc<Watched>,
    /// The external builder, unless it is in an image.
    builder: Option<Archive>,
}

#[async_trait]
impl Prepared for Reserved {
    async fn start(self: Box<Self>, request: StartRequest<'_>) -> Result<Box<dyn RunningNetwork>, StartError> {
        let StartRequest { options, guard, bundle, chaincodes } = request;
        let settings = self.runtime.settings(&self.space);
        let builder = (settings.builder == Origin::Uploaded).then(|| Archive::of_builder(&options.builder));
        let builder = builder.transpose().map_err(unreadable(&options.builder))?;
        let mut files = bundle.files.clone();
        for (spec, _) in chaincodes {
            files.extend(spec.files.iter().map(|(path, file)| (files_of(&spec.name).join(path), file.clone())));
        }
        let objects = Objects::new(&self.topology, &files, settings);
        let watched = Arc::new(Watched::begin(&self.space));
        let start = Start { reserved: &self, options, guard, objects, watched, builder };
        let members: Vec<_> = bundle.nodes.iter().map(|spec| start.member(spec)).collect();
        let peers: Vec<_> = bundle.nodes.iter().zip(&members).filter(|(spec, _)| spec.kind == NodeKind::Peer).collect();
        let peers: Vec<_> = peers.into_iter().map(|(_, member)| Arc::clone(member)).collect();
        let servers = chaincodes.iter().zip(0..);
        let servers = servers.map(|((spec, place), number)| start.server(spec, place, number, &peers));
        let servers = servers.collect::<Result<Vec<_>, RuntimeError>>()?;
        let started = async {
            let aliases = servers.iter().map(|server| server.add_service(&self.package_hosts));
            let aliases: Vec<_> = try_join_all(aliases).await?.into_iter().flatten().collect();
            let nodes = bundle.nodes.iter().zip(&members).map(|(spec, member)| start.node(spec, member, &aliases));
            let servers = servers.iter().map(Starting::start);
            let (nodes, targets) = tokio::try_join!(try_join_all(nodes), try_join_all(servers))?;
            let orderers = bundle.nodes.iter().filter(|spec| spec.kind == NodeKind::Orderer);
            let orderers = orderers.map(|spec| spec.placement.endpoint(spec.placement.ports.grpc));
            let targets: Vec<_> = orderers.chain(targets.into_iter().flatten()).collect();
            wait_until_reached(peers.iter().map(Arc::as_ref), &targets, options.timeout).await?;
            Ok(nodes)
        };
        let started: Result<Vec<_>, RuntimeError> = started.await;
        match started {
            Ok(nodes) => {
                let (nodes, forwards): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
                Ok(Box::new(Network {
                    nodes,
                    members,
                    chaincodes: servers.into_iter().map(Starting::into_server).collect(),
                    watched: start.watched,
                    options: options.clone(),
                    guard: Arc::clone(guard),
                    forwards,
                }))
            }
            Err(source) => {
                let servers: Vec<_> = servers.into_iter().map(Starting::into_server).collect();
                let logs = logs(&members, &servers, &start.watched).await;
                Err(StartError { source: Box::new(source), logs })
            }
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> RuntimeError {
    let path = path.to_owned();
    move |source| RuntimeError::File { path: path.clone(), source }
}

/// The directory of a chaincode server's files among those of the network.
fn files_of(name: &str) -> PathBuf {
    Path::new("chaincode-server").join(name)
}

/// A chaincode server that is about to be started.
enum Starting {
    /// In the cluster, with its objects.
    InCluster(Server, Box<Applied<Deployment>>),
    /// Its user starts it.
    External(ExternalServer),
}

impl Starting {
    /// Creates its service. Returns what makes its package's hosts resolve to it, if it is there.
    async fn add_service(
        &self,
        package_hosts: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Option<HostAlias>, RuntimeError> {
        let Self::InCluster(server, objects) = self else { return Ok(None) };
        let ip = server.member.space.add_service(&objects.service).await?;
        let hosts = package_hosts.get(&server.member.name);
        Ok(ip.zip(hosts).map(|(ip, hosts)| HostAlias { ip, hostnames: Some(hosts.iter().cloned().collect()) }))
    }

    /// Starts it, after its service. Returns the address that the peers must reach.
    async fn start(&self) -> Result<Option<String>, RuntimeError> {
        match self {
            Self::InCluster(server, objects) => {
                server.member.space.add_server(objects).await?;
                server.wait_until_ready(0).await?;
                Ok(Some(server.target()))
            }
            Self::External(server) => server.start().await.map(|()| None),
        }
    }

    fn into_server(self) -> Box<dyn ChaincodeServer> {
        match self {
            Self::InCluster(server, _) => Box::new(server),
            Self::External(server) => Box::new(server),
        }
    }
}

impl Start<'_> {
    fn member(&self, spec: &NodeSpec) -> Arc<Member> {
        let instance = self.objects.name_of(spec);
        Arc::new(Member::new(&spec.name, instance, NODE_CONTAINER, &self.reserved.space, &self.watched))
    }

    /// Starts a node, and waits until it answers.
    async fn node(
        &self,
        spec: &NodeSpec,
        member: &Member,
        aliases: &[HostAlias],
    ) -> Result<(RunningNode, Vec<Forward>), RuntimeError> {
        let mut objects = self.objects.node(spec);
        let pod = objects.stateful_set.spec.as_mut().and_then(|set| set.template.spec.as_mut());
        if let Some(pod) = pod.filter(|_| spec.kind == NodeKind::Peer && !aliases.is_empty()) {
            pod.host_aliases = Some(aliases.to_vec());
        }
        let applied = Applied {
            configuration: objects.configuration,
            secrets: objects.secrets,
            service: objects.service,
            workload: objects.stateful_set,
        };
        self.reserved.space.add_node(&applied).await?;
        let bound = self.options.timeout;
        if let (Some(archive), Some(to)) = (&self.builder, objects.upload) {
            server::upload(member, bound, 0, archive, to).await?;
        }
        let what = format!("{} runs in its pod", spec.name);
        let runs = |pod: &_| state::runs(pod, NODE_CONTAINER).then(|| pod.name_any());
        let pod = member.wait(&what, bound, 0, runs).await?;
        let mut forwards = Vec::new();
        let ports = spec.placement.ports;
        for port in [Some(ports.grpc), ports.admin].into_iter().flatten() {
            let begun = Forward::begin(&self.reserved.space, &pod, port).await;
            forwards.push(begun.map_err(|source| RuntimeError::Ports { count: 1, source })?);
        }
        let mut addresses = forwards.iter().map(|forward| forward.address.to_string());
        let (grpc, admin) = (addresses.next().unwrap_or_default(), addresses.next());
        let node = RunningNode::new(spec, &grpc, admin.as_deref());
        ready(self.options, &node, member.exit(0), || member.log_tail()).await?;
        Ok((node, forwards))
    }

    fn server(
        &self,
        spec: &ChaincodeSpec,
        place: &ChaincodePlacement,
        number: usize,
        peers: &[Arc<Member>],
    ) -> Result<Starting, RuntimeError> {
        let (image, program) = match &spec.source {
            ServerSource::Image(image) => (image.clone(), None),
            ServerSource::Program(program) => {
                let archive = Archive::of_server(program).map_err(unreadable(program))?;
                (self.objects.settings().peer.clone(), Some(archive))
            }
            ServerSource::Command { .. } | ServerSource::Address { .. } => {
                let bound = chaincode::bound(self.options, &spec.source);
                return Ok(Starting::External(ExternalServer::new(spec, place, bound)));
            }
        };
        let name = instance_of(&spec.name, number);
        let objects = self.objects.server(&objects::Server {
            name: name.clone(),
            image,
            program: if program.is_some() { Program::Uploaded } else { Program::OfImage },
            arguments: spec.arguments.clone(),
            environment: spec.environment.clone(),
            port: chaincode::port_of(place),
            directory: files_of(&spec.name),
        });
        let member = Member::new(&spec.name, name, CHAINCODE_CONTAINER, &self.reserved.space, &self.watched);
        let server = Server {
            member: Arc::new(member),
            port: chaincode::port_of(place),
            bound: self.options.timeout,
            program: program.zip(objects.upload),
            peers: peers.to_vec(),
            guard: Arc::clone(self.guard),
        };
        let applied = Applied {
            configuration: objects.configuration,
            secrets: objects.secrets,
            service: objects.service,
            workload: objects.deployment,
        };
        Ok(Starting::InCluster(server, Box::new(applied)))
    }
}
