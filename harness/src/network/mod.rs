//! A running network with a deployed chaincode, as `e2e`, `up` and the library use it.

pub(crate) mod builder;
pub mod choice;
pub mod error;
pub mod nodes;
mod preparation;

pub use builder::NetworkBuilder;

use crate::check::cases::IdentityName;
use crate::check::{Difference, Target};
use crate::client::{ClientError, Invocation, Submitted};
use crate::console::timeline::Timeline;
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::plan::{NetworkPlan, OptionErrors};
use crate::runtime::Runtime;
use choice::ChoiceError;
use embedded_peer::network::Network as EmbeddedNodes;
use error::{RunError, warn_of};
use fabric_network::topology::Topology;
use nodes::{Ended, Nodes};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A running network with a chaincode that is committed on every channel.
///
/// Dropping it stops and removes everything, as [`Network::stop`] does, but blocks meanwhile, and leaves
/// the peers' databases in a CouchDB for the next run to remove. Each network has its own directory,
/// ports and identities, so any number of networks can run at the same time.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fabric_harness::Network;
///
/// let network = Network::builder("target/release/my-chaincode").start().await?;
/// network.call(["CreateAsset", "a1", "blue"]).submit().await?;
/// let asset = network.call(["ReadAsset", "a1"]).evaluate().await?;
/// assert!(asset.starts_with(b"{"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Network {
    runtime: &'static str,
    nodes: Nodes,
    target: Target,
}

/// The topology of [`NetworkBuilder::topology`]: a preset's name, a file's path, or a value.
///
/// ```
/// use fabric_harness::{Topology, TopologySource};
///
/// let name: TopologySource = "duo".into();
/// let value: TopologySource = Topology::preset("solo").expect("a preset").into();
/// # let _ = (name, value);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TopologySource {
    /// `solo`, `duo`, `bft`, or the path of a YAML file.
    Name(String),
    /// A topology.
    Value(Box<Topology>),
}

impl From<&str> for TopologySource {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for TopologySource {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<Topology> for TopologySource {
    fn from(topology: Topology) -> Self {
        Self::Value(Box::new(topology))
    }
}

/// Leftovers that [`Network::stop`] could not remove.
#[derive(thiserror::Error)]
#[error("cannot remove everything: {}", leftovers.join("; "))]
#[non_exhaustive]
pub struct StopError {
    /// Each leftover, with what to do.
    pub leftovers: Vec<String>,
}

crate::console::debug_as_text!(StopError);

/// The network has no embedded nodes, and so no snapshots, clock or faults.
#[derive(thiserror::Error)]
#[error("the runtime {runtime} has no embedded nodes; start the network with the runtime embedded")]
#[non_exhaustive]
pub struct NotEmbedded {
    /// The network's runtime.
    pub runtime: &'static str,
}

crate::console::debug_as_text!(NotEmbedded);

/// A network that cannot be started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Invalid options.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// No external builder was given or found.
    #[error(
        "ccaas-builder program not found: give its path with NetworkBuilder::external_builder or the variable \
         CCAAS_BUILDER, or put it on PATH"
    )]
    NoBuilder,
    /// The runtime is unavailable.
    #[error(transparent)]
    Runtime(#[from] ChoiceError),
    /// The start failed.
    #[error("cannot start the network; the last lines of the nodes' logs:\n{logs}")]
    Run {
        /// The last lines of each log; empty if no node ran.
        logs: String,
        /// The cause.
        #[source]
        source: Box<RunError>,
    },
}

crate::console::debug_as_text!(NetworkError);

impl Network {
    /// A network for a chaincode: a chaincode file (`.toml`, its cases are not used); a server program,
    /// statically linked for the docker runtime; or `HOST:PORT` of a server that you start.
    pub fn builder(chaincode: impl Into<PathBuf>) -> NetworkBuilder {
        NetworkBuilder::new(chaincode.into())
    }

    /// Starts the plan's nodes and deploys the chaincode to every channel. Adds configuration, packages
    /// and, after a failure, logs to `evidence`. Dropping the future stops everything that was started.
    ///
    /// # Errors
    ///
    /// Why the start failed. Everything that was started is removed by then.
    pub async fn start(
        plan: &NetworkPlan,
        runtime: &dyn Runtime,
        timeline: &Timeline,
        evidence: &mut Evidence,
        interrupt: &Interrupt,
    ) -> Result<Self, RunError> {
        let nodes = Box::pin(Nodes::start(plan, runtime, timeline, evidence, interrupt)).await?;
        let deploy = Box::pin(nodes.deploy(timeline));
        match error::unless(interrupt, deploy).await.and_then(|deployed| deployed) {
            Ok(target) => Ok(Self { runtime: runtime.name(), nodes, target }),
            Err(error) => {
                let Ended { exits, logs, left } = nodes.stop(timeline).await;
                evidence.add_logs(logs);
                warn_of(&left);
                Err(error.after(exits))
            }
        }
    }

    /// The nodes and the chaincode server.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The channels and clients.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The ID of the installed package; with a server per organization, that of the first organization.
    pub fn package_id(&self) -> &str {
        self.nodes.packages().next().map_or("", |(_, package)| &package.id)
    }

    /// Prepares a call of the chaincode with a function and arguments.
    pub fn call<A: AsRef<[u8]>>(&self, arguments: impl IntoIterator<Item = A>) -> Call<'_> {
        Call {
            target: &self.target,
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_vec()).collect(),
            transient: BTreeMap::new(),
            identity: None,
            channel: None,
            organizations: Vec::new(),
            init: false,
        }
    }

    /// The embedded nodes: snapshots, the clock, faults.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let network = fabric_harness::Network::builder("my-chaincode").start().await?;
    /// let snapshot = network.embedded()?.snapshot().await;
    /// network.call(["DeleteAsset", "a1"]).submit().await?;
    /// network.embedded()?.restore(&snapshot).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotEmbedded`] on every other runtime.
    pub fn embedded(&self) -> Result<&EmbeddedNodes, NotEmbedded> {
        self.nodes.running.embedded().ok_or(NotEmbedded { runtime: self.runtime })
    }

    /// Stops everything and removes it.
    ///
    /// # Errors
    ///
    /// [`StopError`] with what could not be removed.
    pub async fn stop(self) -> Result<(), StopError> {
        let leftovers = self.nodes.stop(&Timeline::begin(true)).await.left;
        if leftovers.is_empty() { Ok(()) } else { Err(StopError { leftovers }) }
    }
}

/// A prepared call of the chaincode.
#[derive(Debug, Clone)]
#[must_use = "nothing is called before `submit` or `evaluate`"]
pub struct Call<'a> {
    target: &'a Target,
    arguments: Vec<Vec<u8>>,
    transient: BTreeMap<String, Vec<u8>>,
    identity: Option<String>,
    channel: Option<String>,
    organizations: Vec<String>,
    init: bool,
}

/// A failed call.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// An unknown channel, identity or organization.
    #[error(transparent)]
    Unknown(#[from] Difference),
    /// An error of a peer, an orderer or the chaincode; [`ClientError::chaincode_error`] is that of the
    /// chaincode.
    #[error(transparent)]
    Client(#[from] ClientError),
}

crate::console::debug_as_text!(CallError);

impl Call<'_> {
    /// The caller, such as `Admin@Org1` or `User1@org1.example.com`. Default: the first user of the
    /// channel's first organization.
    pub fn identity(mut self, identity: &str) -> Self {
        self.identity = Some(identity.to_owned());
        self
    }

    /// The channel. Default: the topology's first.
    pub fn channel(mut self, name: &str) -> Self {
        self.channel = Some(name.to_owned());
        self
    }

    /// Adds transient data, which is not stored on the ledger.
    pub fn transient(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.transient.insert(name.to_owned(), value.as_ref().to_vec());
        self
    }

    /// Adds an organization, by name or MSP ID, whose peer must endorse. Default: the gateway chooses.
    pub fn endorsed_by(mut self, organization: &str) -> Self {
        self.organizations.push(organization.to_owned());
        self
    }

    /// Marks the call as the chaincode's initialization, which a definition with `init_required` needs.
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// Evaluates the call on one peer. Nothing is ordered.
    ///
    /// # Errors
    ///
    /// [`CallError`]; also when the network's timeout is reached.
    pub async fn evaluate(self) -> Result<Vec<u8>, CallError> {
        let (channel, client, organizations) = self.route()?;
        let invocation = self.invocation(channel);
        Ok(client.gateway.evaluate(&invocation, &organizations, self.target.deadline()).await?)
    }

    /// Submits the call as a transaction and waits until every peer of the channel has committed it.
    ///
    /// # Errors
    ///
    /// [`CallError`]; also when the network's timeout is reached.
    pub async fn submit(self) -> Result<Submitted, CallError> {
        let (channel, client, organizations) = self.route()?;
        let invocation = self.invocation(channel);
        let submitted =
            client.gateway.submit_transaction_to(&invocation, &organizations, &channel.peers, self.target.deadline());
        Ok(submitted.await?)
    }

    fn route(&self) -> Result<(&crate::check::Channel, &crate::check::Client, Vec<String>), Difference> {
        let channel = self.target.channel(self.channel.as_deref())?;
        let identity = self.identity.as_deref().map(|text| {
            let difference = |expected| Difference { expected, seen: text.to_owned() };
            text.parse::<IdentityName>().map_err(difference)
        });
        let client = channel.client(identity.transpose()?.as_ref())?;
        Ok((channel, client, channel.msp_ids(&self.organizations)?))
    }

    fn invocation(&self, channel: &crate::check::Channel) -> Invocation {
        Invocation {
            channel: channel.name.clone(),
            chaincode: self.target.chaincode.clone(),
            arguments: self.arguments.clone(),
            transient: self.transient.clone().into_iter().collect(),
            init: self.init,
        }
    }
}

/// The error of a failed start, with the last lines of each log.
fn start_error(error: RunError, evidence: &Evidence) -> NetworkError {
    let tail = |text: &[u8]| crate::runtime::last_lines(&String::from_utf8_lossy(text));
    let logs: Vec<String> =
        evidence.logs().map(|(path, text)| format!("==> {}\n{}", path.display(), tail(text))).collect();
    NetworkError::Run { logs: logs.join("\n"), source: Box::new(error) }
}
