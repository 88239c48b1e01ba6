//! Nodes in this very process: a development peer and orderer, on the loopback. No Fabric is needed.
//!
//! Builders and chaincode servers are processes, as they are with the peers and orderers of the
//! process runtime.

mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use embedded_peer::clock::Clock;
use embedded_peer::network::{Network as Nodes, Options};
use embedded_peer::trace::Tracer;
use fabric_network::bundle::Bundle;
use fabric_network::identity::Validity;
use fabric_network::node::NodeKind;
use fabric_network::release::Release;
use fabric_network::topology::Topology;

use super::chaincode::{self, ChaincodePlacement, ChaincodeSpec, RunningChaincode};
use super::loopback::{self, Ports, Surroundings, reached};
use super::{Death, Placed, PlacedIn, RunningNode, RuntimeError, RuntimeOptions, StartError, files, log, no_such_node};
use crate::cleanup::Custody;
use crate::journal::{Journal, Message};
use crate::server::ServerSource;
use record::Record;

/// What a pass on this runtime does not prove.
pub const NOT_COVERED: &str = "Fabric itself; peers and orderers are this program's own";

/// A peer and an orderer of our own.
#[derive(Debug, Clone)]
pub struct EmbeddedRuntime {
    options: RuntimeOptions,
    release: Release,
    version: String,
    seed: Option<u64>,
}

impl EmbeddedRuntime {
    /// Nodes that behave as those of this release line. It is possible everywhere.
    pub fn new(options: RuntimeOptions, release: Release) -> Self {
        Self { options, release, version: release.to_string(), seed: None }
    }

    /// Makes what the nodes draw by lot the same in each run, and their ports as far as they are free.
    /// The same blocks need keys of a seed as well: [`RenderOptions::seed`] and [`Validity::fixed`].
    ///
    /// [`RenderOptions::seed`]: fabric_network::render::RenderOptions::seed
    /// [`Validity::fixed`]: fabric_network::identity::Validity::fixed
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// What the nodes' nonces, signatures and ports come from, if they are the same in each run.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The release line that the nodes behave as, such as `3.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The same.
    pub fn release(&self) -> Release {
        self.release
    }

    pub(super) fn place(
        &self,
        topology: &Topology,
        chaincodes: &[(&str, &ServerSource)],
    ) -> Result<Placed, RuntimeError> {
        loopback::place(&self.options, topology, chaincodes, false, self.seed, |ports| {
            PlacedIn::Embedded(Prepared { release: self.release, seed: self.seed, ports })
        })
    }
}

/// Ports that are ready for the nodes.
#[derive(Debug)]
pub(super) struct Prepared {
    release: Release,
    seed: Option<u64>,
    ports: Arc<Ports>,
}

/// Nodes in this process, and chaincode servers that run.
#[derive(Debug)]
pub(super) struct Network {
    running: Nodes,
    record: Record,
    nodes: Vec<RunningNode>,
    chaincodes: Vec<RunningChaincode>,
}

impl Prepared {
    pub(super) async fn start(
        self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
    ) -> Result<Network, StartError> {
        let logs = custody.workspace().subdirectory("logs").map_err(RuntimeError::from)?;
        let workspace = custody.workspace();
        let bring_up = async {
            let temporary = workspace.subdirectory("tmp")?;
            let surroundings = Surroundings { options, custody, logs: &logs, temporary: &temporary };
            let chaincodes = surroundings.prepare(chaincodes)?;
            let serving = loopback::start(&chaincodes, &self.ports);
            let tracer = Tracer::new();
            let record = Record::begin(&tracer);
            // The processes start while the nodes are made.
            let nodes = async { self.nodes(options, custody, bundle, &temporary, tracer) };
            let ((), network) = tokio::try_join!(serving, nodes)?;
            Ok(Network { running: network, record, nodes: bundle.nodes.iter().map(reached).collect(), chaincodes })
        };
        bring_up.await.map_err(|source| StartError { source: Box::new(source), logs: log::all_in(&logs) })
    }

    fn nodes(
        &self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        temporary: &Path,
        tracer: Tracer,
    ) -> Result<Nodes, RuntimeError> {
        let workspace = custody.workspace();
        files::link_builder(&options.builder, &workspace.directory().join("builder"))?;
        let mut listeners = Vec::new();
        for spec in &bundle.nodes {
            let directory = &spec.placement.config_dir;
            if !directory.starts_with(workspace.directory()) {
                return Err(RuntimeError::NotPlaced { name: spec.name.clone() });
            }
            // Builders read the peers' files.
            files::write_node(bundle, spec, directory)?;
            let ports = spec.placement.ports;
            let own: Vec<u16> = [Some(ports.grpc), Some(ports.operations), ports.admin].into_iter().flatten().collect();
            listeners.extend(self.ports.hand_over(&own));
        }
        let (release, seed, temporary) = (self.release, self.seed, Some(temporary.to_owned()));
        // Configuration blocks tell the time. Certificates of a seed were valid then.
        let noon = Validity::fixed().not_before + Duration::from_hours(12);
        let clock = bundle.identities.seed.map_or_else(Clock::default, |_| Clock::stopped(noon));
        let nodes = Options { release, seed, clock, tracer, temporary, listeners, ..Options::default() };
        Nodes::start(bundle, nodes).map_err(RuntimeError::Embedded)
    }
}

impl Network {
    pub(super) fn powers(&self) -> &Nodes {
        &self.running
    }

    pub(super) fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    pub(super) fn chaincodes(&self) -> &[RunningChaincode] {
        &self.chaincodes
    }

    pub(super) async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        if !self.nodes.iter().any(|node| node.name == name) {
            return Err(no_such_node(name, &self.nodes));
        }
        self.running.restart(name).await.map_err(RuntimeError::Embedded)
    }

    /// Of the chaincode servers: a node ends with this program only.
    pub(super) async fn deaths(&self) -> Vec<Death> {
        chaincode::deaths(&self.chaincodes).await
    }

    pub(super) async fn logs(&self) -> BTreeMap<String, String> {
        let mut logs = self.record.logs(self.nodes.iter().map(|node| &*node.name)).await;
        logs.extend(chaincode::logs(&self.chaincodes).await);
        logs
    }

    /// What passed between the nodes, their builders and the chaincode servers.
    pub(super) async fn messages(&self, journal: &Journal) -> Vec<Message> {
        let orderers = self.nodes.iter().filter(|node| node.kind == NodeKind::Orderer).map(|node| node.name.as_str());
        self.record.messages(orderers, journal).await
    }

    pub(super) async fn log_tail(&self, name: &str) -> String {
        if let Some(tail) = chaincode::log_tail(&self.chaincodes, name).await {
            return tail;
        }
        let logs = self.record.logs(std::iter::once(name)).await;
        logs.get(name).map(|log| log::last_lines(log)).unwrap_or_default()
    }
}
