//! A network with a chaincode on it: what `e2e` checks, what `up` leaves running, and what a test of
//! its own starts and calls.

pub(crate) mod builder;
pub mod choice;
pub mod error;
pub mod nodes;

pub use builder::NetworkBuilder;

use crate::check::cases::{Case, IdentityName};
use crate::check::{Difference, Target};
use crate::client::{ClientError, Invocation, Submitted};
use crate::console::timeline::Timeline;
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::plan::{NetworkPlan, OptionErrors};
use crate::runtime::Runtime;
use error::{RunError, warn_of};
use nodes::{Ended, Nodes};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Nodes that run, with a chaincode that is committed on every channel.
///
/// Dropping it ends everything and removes all of it, as [`Network::stop`] does, but blocks meanwhile,
/// and leaves what peers put into a CouchDB to the next run. Each network has a directory, ports and
/// identities of its own, so any number of them run side by side.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fabric_harness::network::Network;
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
    nodes: Nodes,
    target: Target,
}

/// A network that does not come up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// What is asked for can't be.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// No external builder was given, and none is found.
    #[error(
        "no ccaas-builder program: give its path by NetworkBuilder::external_builder or the variable CCAAS_BUILDER, \
             or put it on PATH"
    )]
    NoBuilder,
    /// The runtime is not possible here.
    #[error("{0}")]
    Runtime(String),
    /// It could not be brought up.
    #[error("the network can't be brought up; the last of its nodes' logs:\n{logs}")]
    Run {
        /// The last lines of each log; empty when none ran.
        logs: String,
        /// What kept it from it.
        #[source]
        source: Box<RunError>,
    },
}

impl Network {
    /// A network for a chaincode: a chaincode file (`.toml`, its cases do not matter here); or the server
    /// program at this path, which must be linked statically to run on the docker runtime; or
    /// `HOST:PORT` of a server that is started otherwise.
    pub fn builder(chaincode: impl Into<PathBuf>) -> NetworkBuilder {
        NetworkBuilder::new(chaincode.into())
    }

    /// Starts the plan's nodes and brings the chaincode to every channel. Dropping the future ends
    /// whatever was started. What is worth keeping is put into `evidence`, if it fails the logs too.
    ///
    /// # Errors
    ///
    /// What kept it from coming up; by then everything that was started is gone.
    pub async fn start(
        plan: &NetworkPlan,
        runtime: &Runtime,
        timeline: &Timeline,
        evidence: &mut Evidence,
        interrupt: &Interrupt,
    ) -> Result<Self, RunError> {
        let nodes = Box::pin(Nodes::start(plan, runtime, timeline, evidence, interrupt)).await?;
        let probe = Case::probe(&plan.chaincode);
        let deploy = Box::pin(nodes.deploy(&probe, timeline));
        match error::unless(interrupt, deploy).await.and_then(|deployed| deployed) {
            Ok(target) => Ok(Self { nodes, target }),
            Err(error) => {
                let Ended { deaths, logs, left } = nodes.stop(timeline).await;
                evidence.add_logs(logs);
                warn_of(&left);
                Err(error.after(deaths))
            }
        }
    }

    /// The nodes and the chaincode server.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Channels and clients.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The ID that every peer gave to the package.
    pub fn package_id(&self) -> &str {
        self.nodes.packages().next().map_or("", |package| &package.id)
    }

    /// A call of the chaincode: function and arguments.
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

    /// Ends everything and removes all of it.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub async fn stop(self) -> Result<(), Vec<String>> {
        let left = self.nodes.stop(&Timeline::begin(true)).await.left;
        if left.is_empty() { Ok(()) } else { Err(left) }
    }
}

/// A call of the chaincode that is not made yet.
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

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A channel, identity or organization that the network does not have.
    #[error(transparent)]
    Unknown(#[from] Difference),
    /// The peer, the orderer or the chaincode refused; [`ClientError::chaincode_error`] tells whether
    /// it was the chaincode.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Call<'_> {
    /// Who calls, such as `Admin@Org1` or `User1@org1.example.com`. Default: the first user of the
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

    /// Adds transient data, which no ledger keeps.
    pub fn transient(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.transient.insert(name.to_owned(), value.as_ref().to_vec());
        self
    }

    /// Adds an organization, by name or MSP ID, whose peer must endorse. Default: the gateway chooses.
    pub fn endorsed_by(mut self, organization: &str) -> Self {
        self.organizations.push(organization.to_owned());
        self
    }

    /// Makes it the chaincode's initialization, which a definition with `init_required` asks for.
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// Runs it on one peer. Nothing is ordered.
    ///
    /// # Errors
    ///
    /// [`CallError`]; also when the network's time-out is over.
    pub async fn evaluate(self) -> Result<Vec<u8>, CallError> {
        let (channel, client, organizations) = self.whom()?;
        let invocation = self.invocation(channel);
        Ok(client.gateway.evaluate(&invocation, &organizations, self.target.deadline()).await?)
    }

    /// Has it endorsed and ordered, and waits until every peer of the channel has committed it.
    ///
    /// # Errors
    ///
    /// [`CallError`]; also when the network's time-out is over.
    pub async fn submit(self) -> Result<Submitted, CallError> {
        let (channel, client, organizations) = self.whom()?;
        let invocation = self.invocation(channel);
        let submitted =
            client.gateway.submit_transaction_to(&invocation, &organizations, &channel.peers, self.target.deadline());
        Ok(submitted.await?)
    }

    fn whom(&self) -> Result<(&crate::check::Channel, &crate::check::Client, Vec<String>), Difference> {
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

/// A failed start, with the last lines of each log.
fn not_up(error: RunError, evidence: &Evidence) -> NetworkError {
    let tail = |text: &[u8]| crate::runtime::last_lines(&String::from_utf8_lossy(text));
    let logs: Vec<String> =
        evidence.logs().map(|(path, text)| format!("==> {}\n{}", path.display(), tail(text))).collect();
    NetworkError::Run { logs: logs.join("\n"), source: Box::new(error) }
}
