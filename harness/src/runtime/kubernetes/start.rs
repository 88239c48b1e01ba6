//! How the pods of a run come up: what is put into the namespace for each node and chaincode server, and
//! what is waited for. What runs is others' matter.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::render::operator::kubernetes::objects::{
    self, CHAINCODE_CONTAINER, NODE_CONTAINER, Objects, Origin, Program,
};
use fabric_network::topology::Topology;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::forward::Forward;
use super::member::Member;
use super::places::instance_of;
use super::reach::reached;
use super::server::{self, Server};
use super::space::{Applied, Space};
use super::state;
use super::upload::Archive;
use super::watch::Watched;
use super::{KubernetesRuntime, Network, logs};
use crate::cleanup::Custody;
use crate::runtime::chaincode::{self, ChaincodePlacement, ChaincodeSpec, RunningChaincode};
use crate::runtime::elsewhere::Elsewhere;
use crate::runtime::ready::ready;
use crate::runtime::{RunningNode, RuntimeError, RuntimeOptions, StartError, running_node};
use crate::server::ServerSource;

/// A namespace, ready for the nodes.
#[derive(Debug)]
pub(in crate::runtime) struct Prepared {
    pub(super) runtime: KubernetesRuntime,
    pub(super) topology: Topology,
    pub(super) space: Space,
}

/// What one start is made with.
struct Start<'a> {
    prepared: &'a Prepared,
    options: &'a RuntimeOptions,
    custody: &'a Arc<Custody>,
    objects: Objects<'a>,
    watched: Arc<Watched>,
    /// The external builder, unless an image has it.
    builder: Option<Archive>,
}

impl Prepared {
    pub(in crate::runtime) async fn start(
        self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
    ) -> Result<Network, StartError> {
        let settings = self.runtime.settings(&self.space);
        let builder = (settings.builder == Origin::Uploaded).then(|| Archive::of_builder(&options.builder));
        let builder = builder.transpose().map_err(unreadable(&options.builder))?;
        let mut files = bundle.files.clone();
        for (spec, _) in chaincodes {
            files.extend(spec.files.iter().map(|(path, file)| (files_of(&spec.name).join(path), file.clone())));
        }
        let objects = Objects::new(&self.topology, &files, settings);
        let watched = Arc::new(Watched::begin(&self.space));
        let start = Start { prepared: &self, options, custody, objects, watched, builder };
        let members: Vec<_> = bundle.nodes.iter().map(|spec| start.member(spec)).collect();
        let peers: Vec<_> = bundle.nodes.iter().zip(&members).filter(|(spec, _)| spec.kind == NodeKind::Peer).collect();
        let peers: Vec<_> = peers.into_iter().map(|(_, member)| Arc::clone(member)).collect();
        let servers = chaincodes.iter().zip(0..);
        let servers = servers.map(|((spec, place), number)| start.server(spec, place, number, &peers));
        let servers = servers.collect::<Result<Vec<_>, RuntimeError>>()?;
        let nodes = bundle.nodes.iter().zip(&members).map(|(spec, member)| start.node(spec, member));
        let started = async {
            let servers = servers.iter().map(Starting::begin);
            let (nodes, targets) = tokio::try_join!(try_join_all(nodes), try_join_all(servers))?;
            let orderers = bundle.nodes.iter().filter(|spec| spec.kind == NodeKind::Orderer);
            let orderers = orderers.map(|spec| spec.placement.endpoint(spec.placement.ports.grpc));
            let targets: Vec<_> = orderers.chain(targets.into_iter().flatten()).collect();
            reached(peers.iter().map(Arc::as_ref), &targets, options.timeout).await?;
            Ok(nodes)
        };
        let started: Result<Vec<_>, RuntimeError> = started.await;
        match started {
            Ok(nodes) => {
                let (nodes, forwards): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
                Ok(Network {
                    nodes,
                    members,
                    chaincodes: servers.into_iter().map(|starting| starting.server).collect(),
                    watched: start.watched,
                    options: options.clone(),
                    custody: Arc::clone(custody),
                    forwards,
                })
            }
            Err(source) => {
                let servers: Vec<_> = servers.into_iter().map(|starting| starting.server).collect();
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

/// Where the files of a chaincode server are among those of the network.
fn files_of(name: &str) -> PathBuf {
    Path::new("chaincode-server").join(name)
}

/// A chaincode server, and the objects that make it.
struct Starting {
    server: RunningChaincode,
    objects: Option<Applied<Deployment>>,
}

impl Starting {
    /// Starts it: what its peers must reach.
    async fn begin(&self) -> Result<Option<String>, RuntimeError> {
        match (&self.server.0, &self.objects) {
            (chaincode::Server::Kubernetes(server), Some(objects)) => {
                server.member.space.add_server(objects).await?;
                server.comes_up(0).await?;
                Ok(Some(server.target()))
            }
            _ => self.server.start().await.map(|()| None),
        }
    }
}

impl Start<'_> {
    fn member(&self, spec: &NodeSpec) -> Arc<Member> {
        let instance = self.objects.name_of(spec);
        Arc::new(Member::new(&spec.name, instance, NODE_CONTAINER, &self.prepared.space, &self.watched))
    }

    /// Starts a node, and waits until it answers.
    async fn node(&self, spec: &NodeSpec, member: &Member) -> Result<(RunningNode, Vec<Forward>), RuntimeError> {
        let objects = self.objects.node(spec);
        let applied = Applied {
            configuration: objects.configuration,
            secrets: objects.secrets,
            service: objects.service,
            workload: objects.stateful_set,
        };
        self.prepared.space.add_node(&applied).await?;
        let bound = self.options.timeout;
        if let (Some(archive), Some(to)) = (&self.builder, objects.upload) {
            server::receive(member, bound, 0, archive, to).await?;
        }
        let what = format!("{} runs in its pod", spec.name);
        let runs = |pod: &_| state::runs(pod, NODE_CONTAINER).then(|| pod.name_any());
        let pod = member.wait(&what, bound, 0, runs).await?;
        let mut forwards = Vec::new();
        let ports = spec.placement.ports;
        for port in [Some(ports.grpc), ports.admin].into_iter().flatten() {
            let begun = Forward::begin(&self.prepared.space, &pod, port).await;
            forwards.push(begun.map_err(|source| RuntimeError::Ports { count: 1, source })?);
        }
        let mut addresses = forwards.iter().map(|forward| forward.address.to_string());
        let (grpc, admin) = (addresses.next().unwrap_or_default(), addresses.next());
        let node = running_node(spec, &grpc, admin.as_deref());
        ready(self.options, &node, member.death(0), || member.log_tail()).await?;
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
                let server = RunningChaincode(chaincode::Server::Elsewhere(Elsewhere::new(spec, place, bound)));
                return Ok(Starting { server, objects: None });
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
        let member = Member::new(&spec.name, name, CHAINCODE_CONTAINER, &self.prepared.space, &self.watched);
        let server = Server {
            member: Arc::new(member),
            bound: self.options.timeout,
            program: program.zip(objects.upload),
            peers: peers.to_vec(),
            custody: Arc::clone(self.custody),
        };
        let applied = Applied {
            configuration: objects.configuration,
            secrets: objects.secrets,
            service: objects.service,
            workload: objects.deployment,
        };
        let server = RunningChaincode(chaincode::Server::Kubernetes(Box::new(server)));
        Ok(Starting { server, objects: Some(applied) })
    }
}
