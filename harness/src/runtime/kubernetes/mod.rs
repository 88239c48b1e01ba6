//! Nodes as pods of a Kubernetes cluster, in a namespace that the run creates and removes.
//!
//! The objects are those that `bundle --format kubernetes` writes, made by the same code from the same
//! node specifications. Builder and chaincode are uploaded into pods that wait for them. The API server
//! forwards the nodes' ports to this machine's loopback.

mod access;
pub mod cluster;
mod diagnosis;
mod error;
mod forward;
mod member;
mod places;
mod reach;
mod server;
mod space;
mod start;
mod state;
mod upload;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fabric_network::placement::Placement;
use fabric_network::release::Release;
use fabric_network::render::operator::kubernetes::objects::{self, NODE_CONTAINER, Objects, Origin, Settings, Size};
use fabric_network::topology::Topology;
use futures::future::join_all;
use kube::{Api, Client, ResourceExt as _};

use super::node::no_such_node;
use super::placed::{OwnedRun, Taps};
use super::ready::ready;
use super::{
    Capabilities, ChaincodePlacement, ChaincodeServer, ClusterOptions, Descriptor, FindRequest, ORDERER_IMAGE,
    PEER_IMAGE, Placed, RESTART_GRACE, RunningNetwork, RunningNode, Runtime, RuntimeError, RuntimeOptions,
    ServerRequest, Unavailable, UnexpectedExit, chaincode,
};
use crate::cleanup::RunGuard;
use crate::console::error_text;
use cluster::{Cluster, NAMESPACE, Place, namespace_of};
use forward::Forward;
use member::Member;
use places::{CHAINCODE_PORT, package_addresses, place_chaincode};
use space::Space;
use start::Reserved;
use watch::Watched;

pub use error::Error;

/// The name of the namespace's events among the logs.
const EVENTS: &str = "events";

/// The official images, in a Kubernetes cluster.
pub static KUBERNETES: Descriptor = Descriptor {
    name: "kubernetes",
    summary: "The official images, in a Kubernetes cluster. Never taken by auto",
    auto: false,
    capabilities: Capabilities { takes_images: true, takes_programs: false, in_cluster: true, not_covered: None },
    tests: Some("needs_kubernetes"),
    find: |request| Box::pin(find(request)),
    probe: |_| Box::pin(probe()),
    diagnose: |_| Box::pin(diagnosis::look()),
    resources: Some(&NAMESPACE),
};

async fn find(request: &FindRequest) -> Result<Box<dyn Runtime>, Unavailable> {
    let (options, cluster) = (request.options.clone(), request.cluster.clone());
    Ok(Box::new(KubernetesRuntime::find(options, cluster, request.image_tag()).await?))
}

/// The variable with the context of the cluster for tests.
const TEST_CONTEXT: &str = "FABRIC_HARNESS_KUBE_CONTEXT";

/// Asks only the cluster for tests, not the one that happens to be current.
async fn probe() -> Result<String, String> {
    let context = std::env::var(TEST_CONTEXT).map_err(|_| format!("{TEST_CONTEXT} names no context"))?;
    let failed = |error| format!("{TEST_CONTEXT}: {}", error_text(&error));
    let (_, version) = Cluster::find(Some(&context)).map_err(failed)?.connect().await.map_err(failed)?;
    Ok(format!("context {context}, Kubernetes {version}"))
}

/// A cluster that answers, and in which the user has the rights that a run needs.
#[derive(Clone)]
pub struct KubernetesRuntime {
    options: RuntimeOptions,
    own: ClusterOptions,
    cluster: Cluster,
    client: Client,
    tag: String,
    release: Release,
}

impl std::fmt::Debug for KubernetesRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("KubernetesRuntime");
        text.field("cluster", &self.cluster).field("own", &self.own).field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl KubernetesRuntime {
    /// Asks the cluster for its version, and whether the user has the rights that a run needs. Creates nothing.
    /// The cluster will pull the images of this tag.
    ///
    /// # Errors
    ///
    /// No kubeconfig; an unknown context; a cluster that does not answer within five seconds; missing rights; a
    /// namespace that exists; a tag of no supported version.
    pub async fn find(options: RuntimeOptions, own: ClusterOptions, tag: &str) -> Result<Self, Error> {
        let release = tag.parse()?;
        let cluster = Cluster::find(own.context.as_deref())?;
        let (client, version) = cluster.connect().await?;
        tracing::debug!("the cluster of context {} is Kubernetes {version}", cluster.context);
        let denied = access::denied(&cluster, &client, own.namespace.as_deref()).await?;
        if !denied.is_empty() {
            return Err(Error::Forbidden { context: cluster.context, denied });
        }
        if let Some(namespace) = &own.namespace {
            let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
            if cluster.ask("look for a namespace", namespaces.get_opt(namespace)).await?.is_some() {
                return Err(Error::NamespaceInUse { namespace: namespace.clone() });
            }
        }
        Ok(Self { options, own, cluster, client, tag: tag.to_owned(), release })
    }

    /// The context of the cluster.
    pub fn context(&self) -> &str {
        &self.cluster.context
    }

    fn settings(&self, space: &Space) -> Settings {
        let image = self.own.builder_image.clone();
        Settings {
            namespace: space.name.clone(),
            peer: format!("{PEER_IMAGE}:{}", self.tag),
            orderer: format!("{ORDERER_IMAGE}:{}", self.tag),
            builder: image.map_or(Origin::Uploaded, Origin::Image),
            harness: None,
            size: Size::Development,
        }
    }
}

#[async_trait]
impl Runtime for KubernetesRuntime {
    fn descriptor(&self) -> &'static Descriptor {
        &KUBERNETES
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
        let (cluster, given) = (self.cluster.clone(), self.own.namespace.clone());
        let place = |id: &str| Place { cluster, namespace: given.unwrap_or_else(|| namespace_of(id)) };
        let guard = RunGuard::begin_with(&self.options.parent, &self.options.reaper, |id| Arc::new(place(id)))?;
        let name = self.own.namespace.clone().unwrap_or_else(|| namespace_of(guard.workspace().id()));
        let run = OwnedRun::new(guard, &self.options, Vec::new());
        let guard = run.guard();
        let nodes = topology.nodes().map(|node| {
            let mut place = objects::place_node(topology, &node, &name);
            // The ports are forwarded to it.
            place.extra_sans.push(Ipv4Addr::LOCALHOST.to_string());
            (node.name, place)
        });
        let nodes = nodes.collect();
        let directory = guard.workspace().directory().join("chaincode");
        let fixed =
            chaincodes.iter().filter_map(|request| Some((request.name.to_owned(), package_addresses(request)?)));
        let fixed: BTreeMap<_, _> = fixed.collect();
        let places = chaincodes.iter().zip(0..).map(|(ServerRequest { name, source, .. }, number)| {
            let port = fixed.get(*name).map_or(CHAINCODE_PORT, |found| found.port);
            Ok(((*name).to_owned(), place_chaincode(name, number, source, &directory, port)?))
        });
        let places: BTreeMap<String, ChaincodePlacement> = places.collect::<Result<_, RuntimeError>>()?;
        let hosts = places.values().filter_map(|place| Some(place.address.rsplit_once(':')?.0.to_owned()));
        let names = fixed.values().flat_map(|found| found.names.iter().cloned());
        let hosts: BTreeSet<String> = hosts.chain(names).collect();
        let placement = Placement { nodes, chaincode_hosts: hosts.into_iter().collect() };
        let space = Space { cluster: self.cluster.clone(), client: self.client.clone(), name };
        let settings = self.settings(&space);
        space.create(guard, Objects::new(topology, &BTreeMap::new(), settings).namespace()).await?;
        let taps = if self.options.tap {
            Taps::Impossible("peers and chaincode servers are in a cluster, where a tap cannot be placed".to_owned())
        } else {
            Taps::Unwanted
        };
        Ok(Placed {
            placement,
            chaincodes: places,
            at_package_addresses: fixed.keys().cloned().collect(),
            options: self.options.clone(),
            taps,
            prepared: Box::new(Reserved {
                runtime: self.clone(),
                topology: topology.clone(),
                space,
                package_hosts: fixed.into_iter().map(|(name, found)| (name, found.hosts)).collect(),
            }),
            run,
        })
    }
}

/// Pods that run.
#[derive(Debug)]
struct Network {
    nodes: Vec<RunningNode>,
    members: Vec<Arc<Member>>,
    chaincodes: Vec<Box<dyn ChaincodeServer>>,
    watched: Arc<Watched>,
    options: RuntimeOptions,
    guard: Arc<RunGuard>,
    /// The forwarded ports of each node, in the order of the nodes.
    forwards: Vec<Vec<Forward>>,
}

/// All logs, and the namespace's events.
async fn logs(
    members: &[Arc<Member>],
    servers: &[Box<dyn ChaincodeServer>],
    watched: &Watched,
) -> BTreeMap<String, String> {
    let nodes = join_all(members.iter().map(|member| async { (member.name.clone(), member.log().await) })).await;
    let mut logs: BTreeMap<String, String> = nodes.into_iter().chain(chaincode::logs(servers).await).collect();
    let mut events: Vec<String> = watched.now().events().map(state::line).collect();
    events.sort();
    logs.insert(EVENTS.to_owned(), events.join("\n") + "\n");
    logs
}

#[async_trait]
impl RunningNetwork for Network {
    fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    fn chaincodes(&self) -> &[Box<dyn ChaincodeServer>] {
        &self.chaincodes
    }

    async fn stop(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name)?;
        Err(Error::StartsAgain { name: name.to_owned() }.into())
    }

    async fn kill(&self, name: &str) -> Result<(), RuntimeError> {
        self.stop(name).await
    }

    /// It runs already.
    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name).map(drop)
    }

    /// Stops the node's container, which the cluster starts again in the same pod, with the same data.
    async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        let (node, member, forwards) = self.find(name)?;
        if self.guard.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let exits = member.exit_count();
        let former = self.stop_container(member).await?;
        forwards.iter().for_each(Forward::cut);
        let what = format!("{name} runs again in its pod");
        let bound = self.options.timeout;
        let runs = |pod: &_| {
            let id = state::id_of(pod, NODE_CONTAINER);
            (state::runs(pod, NODE_CONTAINER) && id.is_some() && id != former).then_some(())
        };
        member.wait(&what, bound, exits, runs).await?;
        member.keep_former_log().await;
        ready(&self.options, node, member.exit(exits), || member.log_tail()).await
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        let nodes = join_all(self.members.iter().map(|member| member.exits())).await;
        nodes.into_iter().flatten().chain(chaincode::exits(&self.chaincodes).await).collect()
    }

    async fn logs(&self) -> BTreeMap<String, String> {
        logs(&self.members, &self.chaincodes, &self.watched).await
    }

    async fn log_tail(&self, name: &str) -> String {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => member.log_tail().await,
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}

impl Network {
    fn find(&self, name: &str) -> Result<(&RunningNode, &Member, &[Forward]), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.members).zip(&self.forwards);
        let found = nodes.find(|((node, _), _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))?;
        let ((node, member), forwards) = found;
        Ok((node, member, forwards))
    }

    /// Stops the running container, if there is one. Returns its ID.
    async fn stop_container(&self, member: &Member) -> Result<Option<String>, RuntimeError> {
        let Some(pod) = member.pod().filter(|pod| state::runs(pod, NODE_CONTAINER)) else { return Ok(None) };
        let Some(id) = member.expect_exit() else { return Ok(None) };
        // The container may exit before the command has returned.
        let executed = member.execute(&pod.name_any(), &["sh", "-c", "kill -TERM 1"]).await;
        let mut changes = member.watched.subscribe();
        match tokio::time::timeout(RESTART_GRACE, changes.wait_for(|seen| seen.has_ended(&id))).await {
            Ok(Ok(_)) => Ok(Some(id)),
            Ok(Err(_)) => Err(RuntimeError::Ended),
            Err(_) => {
                let error = executed.err().unwrap_or_default();
                let seconds = Duration::as_secs(&RESTART_GRACE);
                let reason = format!("timed out after {seconds} s waiting for its exit on SIGTERM {error}");
                Err(RuntimeError::Container { name: member.name.clone(), reason: reason.trim_end().to_owned() })
            }
        }
    }
}
