//! Nodes as processes of this machine, on its loopback. No engine, no root, a fraction of a second.

mod binaries;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::Ports as NodePorts;
use fabric_network::release::Release;
use fabric_network::topology::Topology;
use futures::future::{join_all, try_join_all};

use super::chaincode::{self, ChaincodePlacement, ChaincodeSpec, RunningChaincode};
use super::loopback::{self, Child, Ports, Program, Surroundings, reached};
use super::ready::ready;
use super::{
    Death, Placed, PlacedIn, RESTART_GRACE, RunningNode, RuntimeError, RuntimeOptions, StartError, Unavailable, files,
    log, no_such_node,
};
use crate::cleanup::Custody;
use crate::server::ServerSource;
use binaries::Binaries;

pub(crate) use binaries::version_of;

/// Fabric's programs on this machine.
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    options: RuntimeOptions,
    binaries: Binaries,
}

impl ProcessRuntime {
    /// Finds `peer` and `orderer` in `directory` or its `bin`, or on PATH when none is given, and asks
    /// the peer for its version.
    ///
    /// # Errors
    ///
    /// Which program is missing and where it was looked for; a peer that does not run; a version that
    /// is not supported.
    pub async fn find(options: RuntimeOptions, directory: Option<&Path>) -> Result<Self, Unavailable> {
        Ok(Self { binaries: Binaries::find(directory).await?, options })
    }

    /// What `peer version` says, such as `3.1.5`.
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The release line of that version.
    pub fn release(&self) -> Release {
        self.binaries.release
    }

    /// Where the peer was found.
    pub fn peer(&self) -> &Path {
        &self.binaries.peer
    }

    /// Where the orderer was found.
    pub fn orderer(&self) -> &Path {
        &self.binaries.orderer
    }

    pub(super) fn place(
        &self,
        topology: &Topology,
        chaincodes: &[(&str, &ServerSource)],
    ) -> Result<Placed, RuntimeError> {
        loopback::place(&self.options, topology, chaincodes, true, None, |ports| {
            PlacedIn::Process(Prepared { binaries: self.binaries.clone(), ports })
        })
    }
}

/// Programs and ports, ready for the nodes.
#[derive(Debug)]
pub(super) struct Prepared {
    binaries: Binaries,
    ports: Arc<Ports>,
}

/// Nodes and chaincode servers that run.
#[derive(Debug)]
pub(super) struct Network {
    nodes: Vec<RunningNode>,
    children: Vec<Child>,
    chaincodes: Vec<RunningChaincode>,
    options: RuntimeOptions,
    custody: Arc<Custody>,
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
        match self.bring_up(options, custody, bundle, chaincodes, &logs).await {
            Ok(network) => Ok(network),
            Err(source) => Err(StartError { source: Box::new(source), logs: log::all_in(&logs) }),
        }
    }

    async fn bring_up(
        self,
        options: &RuntimeOptions,
        custody: &Arc<Custody>,
        bundle: &Bundle,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
        logs: &Path,
    ) -> Result<Network, RuntimeError> {
        let workspace = custody.workspace();
        let temporary = workspace.subdirectory("tmp")?;
        files::link_builder(&options.builder, &workspace.directory().join("builder"))?;

        let mut children = Vec::new();
        for spec in &bundle.nodes {
            let directory = &spec.placement.config_dir;
            if !directory.starts_with(workspace.directory()) {
                return Err(RuntimeError::NotPlaced { name: spec.name.clone() });
            }
            files::write_node(bundle, spec, directory)?;
            children.push(Child::new(self.program(spec, logs, &temporary)));
        }
        let surroundings = Surroundings { options, custody, logs, temporary: &temporary };
        let chaincodes = surroundings.prepare(chaincodes)?;

        // Whatever can be done before has been done: from here on the processes share the machine.
        for (spec, child) in bundle.nodes.iter().zip(&children) {
            let NodePorts { grpc, operations, admin, chaincode } = spec.placement.ports;
            let own: Vec<u16> = [Some(grpc), Some(operations), admin, chaincode].into_iter().flatten().collect();
            self.ports.release(&own);
            child.start(custody).await?;
        }
        let nodes: Vec<RunningNode> = bundle.nodes.iter().map(reached).collect();
        let ready = nodes
            .iter()
            .zip(&children)
            .map(|(node, child)| ready(options, node, child.death(), || async { child.log_tail() }));
        tokio::try_join!(try_join_all(ready), loopback::start(&chaincodes, &self.ports))?;
        Ok(Network { nodes, children, chaincodes, options: options.clone(), custody: Arc::clone(custody) })
    }

    fn program(&self, spec: &NodeSpec, logs: &Path, temporary: &Path) -> Program {
        let path = match spec.kind {
            NodeKind::Peer => &self.binaries.peer,
            NodeKind::Orderer => &self.binaries.orderer,
        };
        let directory = spec.placement.config_dir.clone();
        let mut environment = spec.full_environment();
        environment.entry("FABRIC_CFG_PATH".to_owned()).or_insert_with(|| directory.display().to_string());
        Program {
            name: spec.name.clone(),
            path: path.clone(),
            arguments: spec.arguments.clone(),
            environment,
            directory,
            log: logs.join(log::file_name(&spec.name)),
            temporary: temporary.to_owned(),
        }
    }
}

impl Network {
    pub(super) fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    pub(super) fn chaincodes(&self) -> &[RunningChaincode] {
        &self.chaincodes
    }

    /// Ends the node and starts it again. What it was asked to keep is in its files by then.
    pub(super) async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.children);
        let (node, child) = nodes.find(|(node, _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))?;
        child.end(Some(RESTART_GRACE)).await;
        child.start(&self.custody).await?;
        ready(&self.options, node, child.death(), || async { child.log_tail() }).await
    }

    pub(super) async fn deaths(&self) -> Vec<Death> {
        let nodes = join_all(self.children.iter().map(Child::deaths)).await;
        nodes.into_iter().flatten().chain(chaincode::deaths(&self.chaincodes).await).collect()
    }

    pub(super) async fn logs(&self) -> BTreeMap<String, String> {
        let mut logs = chaincode::logs(&self.chaincodes).await;
        logs.extend(self.children.iter().map(|child| (child.name().to_owned(), log::whole(child.log_path()))));
        logs
    }

    pub(super) async fn log_tail(&self, name: &str) -> String {
        match self.children.iter().find(|child| child.name() == name) {
            Some(child) => child.log_tail(),
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}
