//! The options of a network that a test starts.

use super::choice::choose;
use super::{Network, NetworkError, TopologySource, start_error};
use crate::check::definition::ChaincodeSection;
use crate::cleanup::Reaper;
use crate::console::timeline::Timeline;
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::options::NetworkOptions;
use crate::plan::{NetworkPlan, builder_on_this_machine};
use crate::runtime::RuntimeChoice;
use crate::server::TlsMode;
use fabric_network::couchdb::Secret;
use fabric_network::topology::Topology;
use std::path::PathBuf;
use std::time::Duration;

/// The options of a network. The defaults are those of `e2e`, with runtime `auto`.
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `start`"]
pub struct NetworkBuilder {
    options: NetworkOptions,
    topology: Option<Topology>,
    chaincode: ChaincodeSection,
}

impl NetworkBuilder {
    pub(super) fn new(chaincode: PathBuf) -> Self {
        Self { options: NetworkOptions::new(chaincode), topology: None, chaincode: ChaincodeSection::default() }
    }

    /// The runtime, such as [`EMBEDDED`](crate::runtime::embedded::EMBEDDED). Default: the first available
    /// one of docker, process and embedded.
    pub fn runtime(mut self, runtime: impl Into<RuntimeChoice>) -> Self {
        self.options.runtime = runtime.into();
        self
    }

    /// `solo`, `duo`, `bft`, the path of a topology's YAML file, or a [`Topology`]. Default: `solo`.
    pub fn topology(mut self, topology: impl Into<TopologySource>) -> Self {
        match topology.into() {
            TopologySource::Name(name) => (self.options.topology, self.topology) = (name, None),
            TopologySource::Value(topology) => self.topology = Some(*topology),
        }
        self
    }

    /// The CouchDB of the next peer, in the order of the topology's peers: `http://USER:PASSWORD@HOST:PORT`.
    /// Call it once per peer. Default: peers keep their world state in their own directories.
    pub fn couchdb(mut self, url: impl Into<String>) -> Self {
        self.options.couchdb.push(Secret::new(url));
        self
    }

    /// The Fabric version: `2.5`, `3.1`, or an image tag. Default: that of the programs, or 3.1.
    pub fn fabric(mut self, version: &str) -> Self {
        self.options.fabric.fabric = Some(version.to_owned());
        self
    }

    /// The directory of Fabric's `peer` and `orderer`. Default: PATH.
    pub fn fabric_bin(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.fabric.fabric_bin = Some(directory.into());
        self
    }

    /// TLS between the peers and the chaincode server. Default: that of the chaincode file, or mutual TLS.
    pub fn tls(mut self, tls: TlsMode) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// Timeout of each wait, in whole seconds. Default: 60 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout.as_secs().max(1);
        self
    }

    /// Seed for embedded nodes: the same sequence of transactions gives the same blocks in each run.
    /// Default: random keys, nonces and ports.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// What Fabric's nodes log, such as `info:grpc=warn`; embedded nodes ignore it. Default: the variable
    /// `FABRIC_LOGGING_SPEC`, or one that shows why TLS connections fail.
    pub fn logging_spec(mut self, spec: impl Into<String>) -> Self {
        self.options.logging_spec = Some(spec.into());
        self
    }

    /// The definition: name, version, policies, collections. A chaincode file overrides it. Default:
    /// `asset-transfer` 1.0.
    pub fn definition(mut self, chaincode: ChaincodeSection) -> Self {
        self.chaincode = chaincode;
        self
    }

    /// The `ccaas-builder` program. Default: the variable `CCAAS_BUILDER`, or PATH.
    pub fn external_builder(mut self, program: impl Into<PathBuf>) -> Self {
        self.options.builder = Some(program.into());
        self
    }

    /// Starts the network, commits the chaincode, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`NetworkError`]. Everything that was started is removed by then.
    pub async fn start(mut self) -> Result<Network, NetworkError> {
        self.options.builder =
            Some(self.options.builder.or_else(builder_on_this_machine).ok_or(NetworkError::NoBuilder)?);
        let plan = NetworkPlan::resolve(&self.options, self.topology, self.chaincode)?;
        let choice = choose(&plan, Reaper::default()).await?;
        let (timeline, mut evidence) = (Timeline::begin(true), Evidence::default());
        let never = Interrupt::never();
        let started = Network::start(&plan, &*choice.runtime, &timeline, &mut evidence, &never);
        Box::pin(started).await.map_err(|error| start_error(error, &evidence))
    }
}
