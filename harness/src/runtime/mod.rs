//! What runs a network's nodes: containers, pods of a cluster, local programs, or this very program.
//!
//! The way through is `place`, then `start`, then `stop`. [`Runtime::place`] decides names, ports and
//! paths before anything is rendered; [`Placed::start`] starts every node and chaincode server of a
//! rendered bundle at once, and waits until each answers; [`Running::stop`] leaves nothing behind, and
//! so does dropping any of them half-way.
//!
//! Outside of this room nobody asks which runtime it is. What is in the nodes' files, and what is
//! done with a network that runs, is not known here.

mod chaincode;
mod death;
pub mod docker;
mod elsewhere;
pub mod embedded;
mod error;
mod files;
pub mod kubernetes;
mod log;
mod loopback;
mod options;
pub mod process;
mod ready;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::Placement;
use fabric_network::release::Release;
use fabric_network::topology::Topology;

pub use chaincode::{ChaincodePlacement, ChaincodeSpec, RunningChaincode};
pub use death::{Cause, Death};
pub use elsewhere::VARIABLES_FILE;
pub(crate) use error::REACHED;
pub use error::{RuntimeError, StartError, Unavailable};
pub(crate) use log::last_lines;
pub use options::{ReadinessCheck, RuntimeOptions};

use crate::cleanup::{Custody, Leftover, Swept};
use crate::client::Endpoint;
use crate::console::error_text;
use crate::journal::{self, Journal};
use crate::server::ServerSource;
use crate::tap::{self, Tap};
use docker::DockerRuntime;
use embedded::EmbeddedRuntime;
use kubernetes::KubernetesRuntime;
use process::ProcessRuntime;

/// How long a run that has ended waits for its sweep of dead runs.
const SWEEP_BOUND: Duration = Duration::from_secs(1);

/// Between SIGTERM and SIGKILL of a node that goes on afterwards: its data must survive.
const RESTART_GRACE: Duration = Duration::from_secs(10);

/// A node that answers.
#[derive(Debug, Clone)]
pub struct RunningNode {
    /// Its full name, such as `peer0.org1.example.com`.
    pub name: String,
    /// Peer or orderer.
    pub kind: NodeKind,
    /// The MSP ID of its organization.
    pub msp_id: String,
    /// Its gRPC services.
    pub grpc: Endpoint,
    /// Orderers: the channel participation API, which demands a client certificate.
    pub admin: Option<Endpoint>,
}

/// A runtime that is possible here.
#[derive(Debug, Clone)]
pub enum Runtime {
    /// The official images, by a Docker engine.
    Docker(DockerRuntime),
    /// The official images, in a Kubernetes cluster.
    Kubernetes(KubernetesRuntime),
    /// The `peer` and `orderer` programs of this machine.
    Process(ProcessRuntime),
    /// A peer and an orderer of our own, in this process.
    Embedded(EmbeddedRuntime),
}

impl Runtime {
    /// `docker`, `kubernetes`, `process` or `embedded`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Docker(_) => "docker",
            Self::Kubernetes(_) => "kubernetes",
            Self::Process(_) => "process",
            Self::Embedded(_) => "embedded",
        }
    }

    /// The version of Fabric: an image tag, what `peer version` says, or the release line that the
    /// embedded nodes behave as.
    pub fn version(&self) -> &str {
        match self {
            Self::Docker(runtime) => runtime.version(),
            Self::Kubernetes(runtime) => runtime.version(),
            Self::Process(runtime) => runtime.version(),
            Self::Embedded(runtime) => runtime.version(),
        }
    }

    /// What a pass on it does not prove; nothing when the nodes are Fabric's own.
    pub fn not_covered(&self) -> Option<&'static str> {
        match self {
            Self::Docker(_) | Self::Kubernetes(_) | Self::Process(_) => None,
            Self::Embedded(_) => Some(embedded::NOT_COVERED),
        }
    }

    /// The release line of [`Runtime::version`].
    pub fn release(&self) -> Release {
        match self {
            Self::Docker(runtime) => runtime.release(),
            Self::Kubernetes(runtime) => runtime.release(),
            Self::Process(runtime) => runtime.release(),
            Self::Embedded(runtime) => runtime.release(),
        }
    }

    /// What everything that is drawn by lot comes from, if it is to be the same in each run.
    pub fn seed(&self) -> Option<u64> {
        match self {
            Self::Docker(_) | Self::Kubernetes(_) | Self::Process(_) => None,
            Self::Embedded(runtime) => runtime.seed(),
        }
    }

    /// Whether the peers use a CouchDB that this program reaches at this address.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Loopback`], [`RuntimeError::LoopbackOfPods`] and [`RuntimeError::InMemory`], when
    /// they don't.
    pub fn reaches(&self, address: IpAddr) -> Result<(), RuntimeError> {
        match self {
            Self::Docker(_) if address.is_loopback() => Err(RuntimeError::Loopback { address }),
            Self::Kubernetes(_) if address.is_loopback() => Err(RuntimeError::LoopbackOfPods { address }),
            Self::Embedded(_) => Err(RuntimeError::InMemory),
            Self::Docker(_) | Self::Kubernetes(_) | Self::Process(_) => Ok(()),
        }
    }

    /// Decides where every node, and every chaincode server of these names, is, and takes the places:
    /// ports, the run's directory. It also begins to sweep up what dead runs left behind.
    ///
    /// # Errors
    ///
    /// When there is no place for the run's directory, no free port, or the engine or cluster refuses;
    /// when a server's image can't be had, or the nodes can't reach the server.
    pub async fn place(
        &self,
        topology: &Topology,
        chaincodes: &[(&str, &ServerSource)],
    ) -> Result<Placed, RuntimeError> {
        match self {
            Self::Docker(runtime) => runtime.place(topology, chaincodes).await,
            Self::Kubernetes(runtime) => runtime.place(topology, chaincodes).await,
            Self::Process(runtime) => runtime.place(topology, chaincodes),
            Self::Embedded(runtime) => runtime.place(topology, chaincodes),
        }
    }
}

/// Ends the run when it is dropped.
#[derive(Debug)]
pub(crate) struct Ending(Arc<Custody>);

impl Drop for Ending {
    fn drop(&mut self) {
        for leftover in self.0.end().err().unwrap_or_default() {
            tracing::warn!("{}", error_text(&leftover));
        }
    }
}

/// Places that are taken, and nothing started yet. Dropping it gives them up.
#[derive(Debug)]
pub struct Placed {
    /// Where the nodes will be.
    pub placement: Placement,
    /// Where the chaincode servers will be, by name.
    pub chaincodes: BTreeMap<String, ChaincodePlacement>,
    options: RuntimeOptions,
    taps: Taps,
    inner: PlacedIn,
    sweep: tokio::task::JoinHandle<Swept>,
    // The last, so that it is dropped when everything else is.
    ending: Ending,
}

/// The places for taps, or why there are none.
#[derive(Debug)]
enum Taps {
    /// Nobody has asked for them.
    Unwanted,
    /// The nodes tell by themselves.
    Needless,
    /// It can't be done here.
    Impossible(String),
    Placed(Vec<tap::Place>),
}

impl Taps {
    /// Taps in the place of these, and how that is told in a report.
    fn begin(self, bundle: &Bundle) -> Result<(Vec<Tap>, String), RuntimeError> {
        Ok(match self {
            Self::Unwanted => (Vec::new(), "not shown; -vvv places a tap between them".to_owned()),
            Self::Needless => (Vec::new(), "told by the embedded peers".to_owned()),
            Self::Impossible(reason) => (Vec::new(), format!("not shown: {reason}")),
            Self::Placed(places) => {
                let taps = places.into_iter().map(|place| Tap::begin(place, bundle));
                let told = "seen by a tap that stood between them and ended their TLS on both sides";
                (taps.collect::<Result<_, _>>()?, told.to_owned())
            }
        })
    }
}

#[derive(Debug)]
enum PlacedIn {
    Docker(Box<docker::Prepared>),
    Kubernetes(Box<kubernetes::Prepared>),
    Process(process::Prepared),
    Embedded(embedded::Prepared),
}

impl Placed {
    fn custody(&self) -> &Arc<Custody> {
        &self.ending.0
    }

    /// The run's directory; it goes with the run.
    pub fn directory(&self) -> &Path {
        self.custody().workspace().directory()
    }

    /// Writes what those of these servers need that somebody else starts: their files, and their
    /// environment as [`VARIABLES_FILE`], in the directories of their places. The others get theirs when
    /// they are started.
    ///
    /// # Errors
    ///
    /// A file that can't be written, or would replace one of the user's own.
    pub fn hand_over(&self, chaincodes: &[ChaincodeSpec]) -> Result<(), RuntimeError> {
        let places = chaincode::placed(&self.chaincodes, chaincodes)?;
        places.into_iter().try_for_each(|(spec, place)| elsewhere::hand_over(spec, place))
    }

    /// Starts every node of the bundle and these chaincode servers, all at once, and waits until each
    /// answers. Dropping the future ends whatever was started.
    ///
    /// # Errors
    ///
    /// The first node or server that can't be started, ends, or does not answer in time, with its
    /// last log lines and, where it is known, the cause and what to do; and the whole logs, since the
    /// run has ended by then. After [`RuntimeError::is_port_in_use`], placing and starting once more
    /// takes other ports.
    pub async fn start(self, bundle: &Bundle, chaincodes: &[ChaincodeSpec]) -> Result<Running, StartError> {
        let custody = Arc::clone(self.custody());
        let places = chaincode::placed(&self.chaincodes, chaincodes)?;
        let (taps, told) = self.taps.begin(bundle)?;
        let started = match self.inner {
            PlacedIn::Docker(prepared) => {
                prepared.start(&self.options, &custody, bundle, &places).await.map(RunningIn::Docker)
            }
            PlacedIn::Kubernetes(prepared) => {
                let started = Box::pin(prepared.start(&self.options, &custody, bundle, &places)).await;
                started.map(|network| RunningIn::Kubernetes(Box::new(network)))
            }
            PlacedIn::Process(prepared) => {
                prepared.start(&self.options, &custody, bundle, &places).await.map(RunningIn::Process)
            }
            PlacedIn::Embedded(prepared) => {
                let started = prepared.start(&self.options, &custody, bundle, &places).await;
                started.map(|network| RunningIn::Embedded(Box::new(network)))
            }
        };
        match started {
            Ok(inner) => Ok(Running { inner, taps, told, sweep: self.sweep, ending: self.ending }),
            Err(error) => {
                // Not in a destructor, where it would block everything else of this thread.
                end(self.ending).await.into_iter().for_each(|left| tracing::warn!("{}", error_text(&left)));
                Err(error)
            }
        }
    }
}

async fn end(ending: Ending) -> Vec<Leftover> {
    tokio::task::spawn_blocking(move || ending.0.end().err().unwrap_or_default()).await.unwrap_or_default()
}

/// A network that runs. Dropping it ends it as [`Running::stop`] does, but blocks meanwhile.
#[derive(Debug)]
pub struct Running {
    inner: RunningIn,
    taps: Vec<Tap>,
    /// How the messages between peers and chaincode are seen.
    told: String,
    sweep: tokio::task::JoinHandle<Swept>,
    ending: Ending,
}

#[derive(Debug)]
enum RunningIn {
    Docker(docker::Network),
    Kubernetes(Box<kubernetes::Network>),
    Process(process::Network),
    Embedded(Box<embedded::Network>),
}

impl Running {
    /// Every node, orderers first.
    pub fn nodes(&self) -> &[RunningNode] {
        match &self.inner {
            RunningIn::Docker(network) => network.nodes(),
            RunningIn::Kubernetes(network) => network.nodes(),
            RunningIn::Process(network) => network.nodes(),
            RunningIn::Embedded(network) => network.nodes(),
        }
    }

    /// The chaincode servers, in the order in which they were given.
    pub fn chaincodes(&self) -> &[RunningChaincode] {
        match &self.inner {
            RunningIn::Docker(network) => network.chaincodes(),
            RunningIn::Kubernetes(network) => network.chaincodes(),
            RunningIn::Process(network) => network.chaincodes(),
            RunningIn::Embedded(network) => network.chaincodes(),
        }
    }

    /// The run's directory; it goes with the run.
    pub fn directory(&self) -> &Path {
        self.ending.0.workspace().directory()
    }

    /// Ends one node, by its full name, and starts it again with the same data, ports and environment;
    /// then waits until it answers. It ends by SIGTERM; SIGKILL follows if that took 10 s, or, in a cluster, an error. That is no
    /// death: [`Running::deaths`] says nothing of it. A node that has ended already is only started.
    /// Connections to it come back by themselves. Not for the same node twice at once.
    ///
    /// # Errors
    ///
    /// When no node has this name; when it can't be started, ends, or does not answer in time; when
    /// the engine or cluster refuses, or the network has been stopped.
    pub async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        match &self.inner {
            RunningIn::Docker(network) => network.restart(name).await,
            RunningIn::Kubernetes(network) => Box::pin(network.restart(name)).await,
            RunningIn::Process(network) => network.restart(name).await,
            RunningIn::Embedded(network) => network.restart(name).await,
        }
    }

    /// The nodes and chaincode servers that have ended by themselves since they answered, each time
    /// that they did: that one was stopped or started again since is no excuse.
    pub async fn deaths(&self) -> Vec<Death> {
        match &self.inner {
            RunningIn::Docker(network) => network.deaths().await,
            RunningIn::Kubernetes(network) => Box::pin(network.deaths()).await,
            RunningIn::Process(network) => network.deaths().await,
            RunningIn::Embedded(network) => network.deaths().await,
        }
    }

    /// The whole logs by node and chaincode server, and of a cluster its events. A log that can't be read holds the reason.
    pub async fn logs(&self) -> BTreeMap<String, String> {
        match &self.inner {
            RunningIn::Docker(network) => network.logs().await,
            RunningIn::Kubernetes(network) => Box::pin(network.logs()).await,
            RunningIn::Process(network) => network.logs().await,
            RunningIn::Embedded(network) => network.logs().await,
        }
    }

    /// Adds to a journal what the nodes tell about their messages: in their `logs`, or, when they are in
    /// this process, by themselves; and what the taps have seen.
    pub async fn tell_messages(&self, logs: &BTreeMap<String, String>, journal: &Journal) {
        let told = match &self.inner {
            RunningIn::Docker(_) | RunningIn::Kubernetes(_) | RunningIn::Process(_) => {
                journal::from_logs(logs, journal)
            }
            RunningIn::Embedded(network) => network.messages(journal).await,
        };
        journal.extend(told);
        self.taps.iter().for_each(|tap| journal.append(tap.journal()));
        journal.chaincode_is(&self.told);
    }

    /// The last lines of the log of one node or chaincode server; empty when there is none.
    pub async fn log_tail(&self, name: &str) -> String {
        match &self.inner {
            RunningIn::Docker(network) => network.log_tail(name).await,
            RunningIn::Kubernetes(network) => Box::pin(network.log_tail(name)).await,
            RunningIn::Process(network) => network.log_tail(name).await,
            RunningIn::Embedded(network) => network.log_tail(name).await,
        }
    }

    /// The nodes themselves, when they are in this process: what no real network can do, such as going
    /// back to an earlier state.
    pub fn embedded(&self) -> Option<&embedded_peer::network::Network> {
        match &self.inner {
            RunningIn::Docker(_) | RunningIn::Kubernetes(_) | RunningIn::Process(_) => None,
            RunningIn::Embedded(network) => Some(network.powers()),
        }
    }

    /// Ends everything and removes all of it. What dead runs left, and the sweep found, is in the
    /// answer, if the sweep is done a second later; what it could not remove is also warned of.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub async fn stop(self) -> Result<Swept, Vec<Leftover>> {
        self.ending.0.settle();
        let left = end(self.ending).await;
        let swept = finished(self.sweep).await;
        for left in &swept.left {
            tracing::warn!("of a dead run, {}", error_text(left));
        }
        if left.is_empty() { Ok(swept) } else { Err(left) }
    }
}

/// What came of a sweep; nothing, if it is still under way. The next one takes up the rest.
async fn finished(mut sweep: tokio::task::JoinHandle<Swept>) -> Swept {
    let begin = std::time::Instant::now();
    let swept = tokio::time::timeout(SWEEP_BOUND, &mut sweep).await;
    tracing::debug!("waited {} ms for the sweep of dead runs", begin.elapsed().as_millis());
    if let Ok(swept) = swept {
        return swept.unwrap_or_default();
    }
    tracing::debug!("the sweep of dead runs is not done; the next run's sweep takes up the rest");
    sweep.abort();
    Swept::default()
}

/// Whether so many ports of the loopback can be had at once.
///
/// # Errors
///
/// What the system says when they can't.
pub(crate) fn can_take_ports(count: usize) -> std::io::Result<()> {
    loopback::Ports::take(count, None).map(drop)
}

fn no_such_node(name: &str, nodes: &[RunningNode]) -> RuntimeError {
    RuntimeError::NoSuchNode { name: name.to_owned(), nodes: nodes.iter().map(|node| node.name.clone()).collect() }
}

/// A node as it will be reached: `grpc` and `admin` are `HOST:PORT`.
fn running_node(spec: &NodeSpec, grpc: &str, admin: Option<&str>) -> RunningNode {
    let endpoint = |address: &str| Endpoint {
        uri: format!("https://{address}"),
        server_name: spec.readiness.server_name.clone(),
        tls_ca_pem: spec.readiness.tls_ca_pem.clone(),
    };
    RunningNode {
        name: spec.name.clone(),
        kind: spec.kind,
        msp_id: spec.msp_id.clone(),
        grpc: endpoint(grpc),
        admin: admin.map(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_is_not_done_is_left_to_the_next_run() {
        let begin = tokio::time::Instant::now();
        let swept = finished(tokio::spawn(std::future::pending())).await;
        assert_eq!(begin.elapsed(), SWEEP_BOUND);
        assert_eq!(swept.runs, 0);
        let done = tokio::spawn(async { Swept { runs: 3, ..Swept::default() } });
        assert_eq!(finished(done).await.runs, 3);
    }
}
