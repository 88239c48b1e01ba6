//! Nodes as pods of a Kubernetes cluster, in a namespace that the run makes and removes.
//!
//! The objects are those that `bundle --format kubernetes` writes, made by the same code from the same
//! node specifications. Builder and chaincode are uploaded into pods that wait for them; the nodes are
//! reached through the API server, by ports that are forwarded to this machine's loopback.

mod access;
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

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fabric_network::placement::Placement;
use fabric_network::release::Release;
use fabric_network::render::operator::kubernetes::objects::{self, NODE_CONTAINER, Objects, Origin, Settings, Size};
use fabric_network::topology::Topology;
use futures::future::join_all;
use kube::{Api, Client, ResourceExt as _};

use super::chaincode::{self, ChaincodePlacement, RunningChaincode};
use super::docker::{ORDERER, PEER};
use super::ready::ready;
use super::{
    Death, Ending, Placed, PlacedIn, RESTART_GRACE, RunningNode, RuntimeError, RuntimeOptions, Taps, Unavailable,
    no_such_node,
};
use crate::cleanup::cluster::Cluster;
use crate::cleanup::{Custody, sweep};
use crate::server::ServerSource;
use forward::Forward;
use member::Member;
use places::place_chaincode;
use space::Space;
use watch::Watched;

pub(super) use server::Server;
pub(super) use start::Prepared;

/// The name under which the namespace's events are among the logs.
const EVENTS: &str = "events";

/// Where, in a cluster, a network shall run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesOptions {
    /// The context of the kubeconfig. Default: its current one.
    pub context: Option<String>,
    /// The namespace, which must not exist. Default: named after the run.
    pub namespace: Option<String>,
    /// An image of the external builder that peers take, as an operator's would, instead of
    /// [`RuntimeOptions::builder`].
    pub builder_image: Option<String>,
}

/// A cluster that answers, and lets its user do what a run does.
#[derive(Clone)]
pub struct KubernetesRuntime {
    options: RuntimeOptions,
    own: KubernetesOptions,
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
    /// Asks the cluster whether it is there, and whether its user may do what a run does. Nothing is
    /// made. The images with this tag are for the cluster to pull.
    ///
    /// # Errors
    ///
    /// No kubeconfig, no such context, a cluster that does not answer within five seconds; what the user
    /// may not do; a namespace that exists; a tag of no supported version.
    pub async fn find(options: RuntimeOptions, own: KubernetesOptions, tag: &str) -> Result<Self, Unavailable> {
        let release = tag.parse()?;
        let cluster = Cluster::find(own.context.as_deref())?;
        let (client, version) = cluster.connect().await?;
        tracing::debug!("the cluster of context {} is Kubernetes {version}", cluster.context);
        let denied = access::denied(&cluster, &client, own.namespace.as_deref()).await?;
        if !denied.is_empty() {
            return Err(Unavailable::Forbidden { context: cluster.context, denied });
        }
        if let Some(namespace) = &own.namespace {
            let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
            if cluster.ask("look for a namespace", namespaces.get_opt(namespace)).await?.is_some() {
                return Err(Unavailable::NamespaceInUse { namespace: namespace.clone() });
            }
        }
        Ok(Self { options, own, cluster, client, tag: tag.to_owned(), release })
    }

    /// The images' tag.
    pub fn version(&self) -> &str {
        &self.tag
    }

    /// The release line of that version.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The context of the cluster.
    pub fn context(&self) -> &str {
        &self.cluster.context
    }

    pub(super) async fn place(
        &self,
        topology: &Topology,
        chaincodes: &[(&str, &ServerSource)],
    ) -> Result<Placed, RuntimeError> {
        let (cluster, namespace) = (self.cluster.clone(), self.own.namespace.clone());
        let parent = self.options.parent.clone();
        let custody = Arc::new(Custody::begin_in_cluster(&parent, &self.options.reaper, cluster, namespace)?);
        let ending = Ending(Arc::clone(&custody));
        let sweep = tokio::spawn(async move { sweep(&parent, None).await });
        let name = custody.place_in_cluster().map(|place| place.namespace.clone()).unwrap_or_default();
        let nodes = topology.nodes().map(|node| {
            let mut place = objects::place_node(topology, &node, &name);
            // Where the ports are forwarded to.
            place.extra_sans.push(Ipv4Addr::LOCALHOST.to_string());
            (node.name, place)
        });
        let nodes = nodes.collect();
        let run = custody.workspace().directory().join("chaincode");
        let places = chaincodes
            .iter()
            .zip(0..)
            .map(|((name, source), number)| Ok(((*name).to_owned(), place_chaincode(name, number, source, &run)?)));
        let places: BTreeMap<String, ChaincodePlacement> = places.collect::<Result<_, RuntimeError>>()?;
        let hosts = places.values().filter_map(|place| Some(place.address.rsplit_once(':')?.0.to_owned()));
        let placement = Placement { nodes, chaincode_hosts: hosts.collect() };
        let space = Space { cluster: self.cluster.clone(), client: self.client.clone(), name };
        let settings = self.settings(&space);
        space.create(&custody, Objects::new(topology, &BTreeMap::new(), settings).namespace()).await?;
        let taps = if self.options.tap {
            Taps::Impossible("peers and chaincode servers are in a cluster, where no tap can be put".to_owned())
        } else {
            Taps::Unwanted
        };
        Ok(Placed {
            placement,
            chaincodes: places,
            options: self.options.clone(),
            taps,
            inner: PlacedIn::Kubernetes(Box::new(Prepared {
                runtime: self.clone(),
                topology: topology.clone(),
                space,
            })),
            sweep,
            ending,
        })
    }

    fn settings(&self, space: &Space) -> Settings {
        let image = self.own.builder_image.clone();
        Settings {
            namespace: space.name.clone(),
            peer: format!("{PEER}:{}", self.tag),
            orderer: format!("{ORDERER}:{}", self.tag),
            builder: image.map_or(Origin::Uploaded, Origin::Image),
            harness: None,
            size: Size::Development,
        }
    }
}

/// Pods that run.
#[derive(Debug)]
pub(super) struct Network {
    nodes: Vec<RunningNode>,
    members: Vec<Arc<Member>>,
    chaincodes: Vec<RunningChaincode>,
    watched: Arc<Watched>,
    options: RuntimeOptions,
    custody: Arc<Custody>,
    /// The ways to each of the nodes, in their order.
    forwards: Vec<Vec<Forward>>,
}

/// All logs, and the namespace's events.
async fn logs(members: &[Arc<Member>], servers: &[RunningChaincode], watched: &Watched) -> BTreeMap<String, String> {
    let nodes = join_all(members.iter().map(|member| async { (member.name.clone(), member.log().await) })).await;
    let mut logs: BTreeMap<String, String> = nodes.into_iter().chain(chaincode::logs(servers).await).collect();
    let mut events: Vec<String> = watched.now().events().map(state::line).collect();
    events.sort();
    logs.insert(EVENTS.to_owned(), events.join("\n") + "\n");
    logs
}

impl Network {
    pub(super) fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    pub(super) fn chaincodes(&self) -> &[RunningChaincode] {
        &self.chaincodes
    }

    /// Ends the node's container, which the cluster starts again in the same pod, with the same data.
    pub(super) async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.members).zip(&self.forwards);
        let ((node, member), forwards) =
            nodes.find(|((node, _), _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))?;
        if self.custody.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let ends = member.count_of_ends();
        let former = self.end(member).await?;
        forwards.iter().for_each(Forward::cut);
        let what = format!("{name} runs again in its pod");
        let bound = self.options.timeout;
        let runs = |pod: &_| {
            let id = state::id_of(pod, NODE_CONTAINER);
            (state::runs(pod, NODE_CONTAINER) && id.is_some() && id != former).then_some(())
        };
        member.wait(&what, bound, ends, runs).await?;
        member.keep_former_log().await;
        ready(&self.options, node, member.death(ends), || member.log_tail()).await
    }

    /// Ends the container that runs, if one does; its identifier.
    async fn end(&self, member: &Member) -> Result<Option<String>, RuntimeError> {
        let Some(pod) = member.pod().filter(|pod| state::runs(pod, NODE_CONTAINER)) else { return Ok(None) };
        let Some(id) = member.tell_to_end() else { return Ok(None) };
        // It may end before it has said that it was told.
        let told = member.execute(&pod.name_any(), &["sh", "-c", "kill -TERM 1"]).await;
        let mut changes = member.watched.subscribe();
        match tokio::time::timeout(RESTART_GRACE, changes.wait_for(|seen| seen.has_ended(&id))).await {
            Ok(Ok(_)) => Ok(Some(id)),
            Ok(Err(_)) => Err(RuntimeError::Ended),
            Err(_) => {
                let said = told.err().unwrap_or_default();
                let seconds = Duration::as_secs(&RESTART_GRACE);
                let reason = format!("it has not ended on SIGTERM within {seconds} s {said}");
                Err(RuntimeError::Container { name: member.name.clone(), reason: reason.trim_end().to_owned() })
            }
        }
    }

    pub(super) async fn deaths(&self) -> Vec<Death> {
        let nodes = join_all(self.members.iter().map(|member| member.deaths())).await;
        nodes.into_iter().flatten().chain(chaincode::deaths(&self.chaincodes).await).collect()
    }

    pub(super) async fn logs(&self) -> BTreeMap<String, String> {
        logs(&self.members, &self.chaincodes, &self.watched).await
    }

    pub(super) async fn log_tail(&self, name: &str) -> String {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => member.log_tail().await,
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}
