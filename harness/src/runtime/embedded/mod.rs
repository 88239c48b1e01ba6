//! Nodes in this process: a development peer and orderer, on the loopback. Needs no Fabric.
//!
//! Builders and chaincode servers are processes, as on the process runtime.

mod error;
mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use embedded_peer::clock::Clock;
use embedded_peer::network::{Network as Nodes, Options};
use embedded_peer::trace::Tracer;
use fabric_network::identity::Validity;
use fabric_network::node::NodeKind;
use fabric_network::release::{Release, ReleaseError};
use fabric_network::topology::Topology;

use super::loopback::{self, Ports, Surroundings, reached};
use super::node::no_such_node;
use super::{
    Capabilities, ChaincodeServer, Descriptor, FindRequest, Placed, Prepared, RunningNetwork, RunningNode, Runtime,
    RuntimeError, RuntimeOptions, ServerRequest, StartError, StartRequest, Unavailable, UnexpectedExit, chaincode,
    files, log,
};
use crate::console::error_text;
use crate::journal::{Journal, Message};
use record::Record;

pub use error::Error;

/// What a pass on this runtime does not prove.
pub const NOT_COVERED: &str = "Fabric itself; peers and orderers are this program's own";

/// Our own peer and orderer, in this process.
pub static EMBEDDED: Descriptor = Descriptor {
    name: "embedded",
    summary: "A development peer and orderer of our own, in this process. Possible everywhere; not Fabric",
    auto: true,
    capabilities: Capabilities {
        takes_images: false,
        takes_programs: false,
        in_cluster: false,
        not_covered: Some(NOT_COVERED),
    },
    tests: None,
    find: |request| Box::pin(async move { Ok(Box::new(find(request)?) as Box<dyn Runtime>) }),
    probe: |request| {
        Box::pin(async {
            let found = find(request).map_err(|error| error_text(&error))?;
            Ok(format!("as Fabric {}", found.version()))
        })
    },
    diagnose: |_| Box::pin(async { Vec::new() }),
    resources: None,
};

fn find(request: &FindRequest) -> Result<EmbeddedRuntime, Unavailable> {
    let release = request.fabric.as_ref().map_or_else(|| Ok(Release::default()), |version| version.parse());
    let release = release.map_err(|error: ReleaseError| Unavailable::new(error))?;
    Ok(EmbeddedRuntime::new(request.options.clone(), release).with_seed(request.seed))
}

/// Our own peer and orderer.
#[derive(Debug, Clone)]
pub struct EmbeddedRuntime {
    options: RuntimeOptions,
    release: Release,
    version: String,
    seed: Option<u64>,
}

impl EmbeddedRuntime {
    /// Nodes that behave as those of this release line. Available everywhere.
    pub fn new(options: RuntimeOptions, release: Release) -> Self {
        Self { options, release, version: release.to_string(), seed: None }
    }

    /// Makes the nodes' random values the same in each run, and their ports as far as they are free.
    /// Identical blocks need keys of a seed as well: [`RenderOptions::seed`] and [`Validity::fixed`].
    ///
    /// [`RenderOptions::seed`]: fabric_network::render::RenderOptions::seed
    /// [`Validity::fixed`]: fabric_network::identity::Validity::fixed
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }
}

#[async_trait]
impl Runtime for EmbeddedRuntime {
    fn descriptor(&self) -> &'static Descriptor {
        &EMBEDDED
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn release(&self) -> Release {
        self.release
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn check_couchdb(&self, _address: std::net::IpAddr) -> Result<(), RuntimeError> {
        Err(Error::InMemory.into())
    }

    async fn place(&self, topology: &Topology, chaincodes: &[ServerRequest<'_>]) -> Result<Placed, RuntimeError> {
        loopback::place(&self.options, topology, chaincodes, false, self.seed, |ports| {
            Box::new(Reserved { release: self.release, seed: self.seed, ports })
        })
    }
}

/// Ports for the nodes.
#[derive(Debug)]
struct Reserved {
    release: Release,
    seed: Option<u64>,
    ports: Arc<Ports>,
}

/// Nodes in this process, and chaincode servers that run.
#[derive(Debug)]
struct Network {
    running: Nodes,
    record: Record,
    nodes: Vec<RunningNode>,
    chaincodes: Vec<Box<dyn ChaincodeServer>>,
}

#[async_trait]
impl Prepared for Reserved {
    async fn start(self: Box<Self>, request: StartRequest<'_>) -> Result<Box<dyn RunningNetwork>, StartError> {
        let logs = request.guard.workspace().subdirectory("logs").map_err(RuntimeError::from)?;
        match self.start_all(request, &logs).await {
            Ok(network) => Ok(Box::new(network)),
            Err(source) => Err(StartError { source: Box::new(source), logs: log::all_in(&logs) }),
        }
    }
}

impl Reserved {
    async fn start_all(&self, request: StartRequest<'_>, logs: &Path) -> Result<Network, RuntimeError> {
        let StartRequest { options, guard, bundle, .. } = request;
        let temporary = guard.workspace().subdirectory("tmp")?;
        let surroundings = Surroundings { options, guard, ports: &self.ports, logs, temporary: &temporary };
        let chaincodes = surroundings.prepare(&request)?;
        let tracer = Tracer::new();
        let record = Record::begin(&tracer);
        // The processes start while the nodes are made.
        let nodes = async { self.nodes(request, &temporary, tracer) };
        let ((), running) = tokio::try_join!(loopback::start(&chaincodes), nodes)?;
        Ok(Network { running, record, nodes: bundle.nodes.iter().map(reached).collect(), chaincodes })
    }

    fn nodes(&self, request: StartRequest<'_>, temporary: &Path, tracer: Tracer) -> Result<Nodes, RuntimeError> {
        let StartRequest { options, guard, bundle, .. } = request;
        let workspace = guard.workspace();
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
            listeners.extend(self.ports.listeners(&own));
        }
        let (release, seed, temporary) = (self.release, self.seed, Some(temporary.to_owned()));
        // Configuration blocks contain the time. Certificates of a seed were valid then.
        let noon = Validity::fixed().not_before + Duration::from_hours(12);
        let clock = bundle.identities.seed.map_or_else(Clock::default, |_| Clock::stopped(noon));
        let nodes = Options { release, seed, clock, tracer, temporary, listeners, ..Options::default() };
        Nodes::start(bundle, nodes).map_err(|error| Error::Start(error).into())
    }
}

impl Network {
    fn check(&self, name: &str) -> Result<(), RuntimeError> {
        let is_known = self.nodes.iter().any(|node| node.name == name);
        if is_known { Ok(()) } else { Err(no_such_node(name, &self.nodes)) }
    }
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
        self.check(name)?;
        self.running.stop_node(name).await;
        Ok(())
    }

    /// The same as a stop: a node loses nothing.
    async fn kill(&self, name: &str) -> Result<(), RuntimeError> {
        self.stop(name).await
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        self.check(name)?;
        self.running.start_node(name).await.map_err(|error| Error::Start(error).into())
    }

    /// Only those of the chaincode servers: a node exits with this process.
    async fn exits(&self) -> Vec<UnexpectedExit> {
        chaincode::exits(&self.chaincodes).await
    }

    async fn logs(&self) -> BTreeMap<String, String> {
        let mut logs = self.record.logs(self.nodes.iter().map(|node| &*node.name)).await;
        logs.extend(chaincode::logs(&self.chaincodes).await);
        logs
    }

    async fn log_tail(&self, name: &str) -> String {
        if let Some(tail) = chaincode::log_tail(&self.chaincodes, name).await {
            return tail;
        }
        let logs = self.record.logs(std::iter::once(name)).await;
        logs.get(name).map(|log| log::last_lines(log)).unwrap_or_default()
    }

    /// Those between the nodes, their builders and the chaincode servers.
    async fn messages(&self, _: &BTreeMap<String, String>, journal: &Journal) -> Vec<Message> {
        let orderers = self.nodes.iter().filter(|node| node.kind == NodeKind::Orderer).map(|node| node.name.as_str());
        self.record.messages(orderers, journal).await
    }

    fn embedded(&self) -> Option<&Nodes> {
        Some(&self.running)
    }
}
