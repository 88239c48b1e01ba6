//! Nodes as processes of this machine, on its loopback. No engine, no root, a fraction of a second.

mod binaries;
mod diagnosis;
mod error;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::placement::Ports as NodePorts;
use fabric_network::release::Release;
use fabric_network::topology::Topology;
use futures::future::{join_all, try_join_all};

use super::loopback::{self, Child, Ports, Program, Surroundings, reached};
use super::node::no_such_node;
use super::ready::ready;
use super::{
    Capabilities, ChaincodeServer, Descriptor, FindRequest, Placed, Prepared, RESTART_GRACE, RunningNetwork,
    RunningNode, Runtime, RuntimeError, RuntimeOptions, ServerRequest, StartError, StartRequest, UnexpectedExit,
    chaincode, files, log,
};
use crate::cleanup::RunGuard;
use crate::console::error_text;
use binaries::Binaries;

pub use error::Error;

/// Fabric's programs, as processes of this machine.
pub static PROCESS: Descriptor = Descriptor {
    name: "process",
    summary: "The `peer` and `orderer` programs of this machine",
    auto: true,
    capabilities: Capabilities { takes_images: false, takes_programs: true, in_cluster: false, not_covered: None },
    tests: Some("needs_fabric"),
    find: |request| Box::pin(async move { Ok(Box::new(find(request).await?) as Box<dyn Runtime>) }),
    probe: |request| {
        Box::pin(async {
            let found = find(request).await.map_err(|error| error_text(&error))?;
            Ok(format!("Fabric {}", found.version()))
        })
    },
    diagnose: |request| Box::pin(diagnosis::look(request.fabric_bin.as_deref())),
    resources: None,
};

/// The programs, if they are of the required version.
async fn find(request: &FindRequest) -> Result<ProcessRuntime, Error> {
    let runtime = ProcessRuntime::find(request.options.clone(), request.fabric_bin.as_deref()).await?;
    let version = runtime.version();
    match &request.fabric {
        Some(asked) if !is_version(version, asked) => Err(Error::OtherVersion {
            asked: asked.clone(),
            peer: runtime.peer().to_owned(),
            version: version.to_owned(),
        }),
        _ => Ok(runtime),
    }
}

/// Whether `version` (`3.1.5`) is the required one (`3.1`, `3.1.5`, `v3.1.5`).
fn is_version(version: &str, asked: &str) -> bool {
    let plain = |text: &str| text.trim_start_matches('v').to_owned();
    let (version, asked) = (plain(version), plain(asked));
    version == asked || version.starts_with(&format!("{asked}."))
}

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
    /// is not supported; a directory for runs whose name has a `$`.
    pub async fn find(options: RuntimeOptions, directory: Option<&Path>) -> Result<Self, Error> {
        if options.parent.to_string_lossy().contains('$') {
            return Err(Error::Directory { directory: options.parent });
        }
        Ok(Self { binaries: Binaries::find(directory).await?, options })
    }

    /// Where the peer was found.
    pub fn peer(&self) -> &Path {
        &self.binaries.peer
    }

    /// Where the orderer was found.
    pub fn orderer(&self) -> &Path {
        &self.binaries.orderer
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn descriptor(&self) -> &'static Descriptor {
        &PROCESS
    }

    fn version(&self) -> &str {
        &self.binaries.version
    }

    fn release(&self) -> Release {
        self.binaries.release
    }

    async fn place(&self, topology: &Topology, chaincodes: &[ServerRequest<'_>]) -> Result<Placed, RuntimeError> {
        loopback::place(&self.options, topology, chaincodes, true, None, |ports| {
            Box::new(Reserved { binaries: self.binaries.clone(), ports })
        })
    }
}

/// Programs, and ports for the nodes.
#[derive(Debug)]
struct Reserved {
    binaries: Binaries,
    ports: Arc<Ports>,
}

/// Nodes and chaincode servers that run.
#[derive(Debug)]
struct Network {
    nodes: Vec<RunningNode>,
    children: Vec<Child>,
    chaincodes: Vec<Box<dyn ChaincodeServer>>,
    options: RuntimeOptions,
    guard: Arc<RunGuard>,
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
        let workspace = guard.workspace();
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
        let surroundings = Surroundings { options, guard, ports: &self.ports, logs, temporary: &temporary };
        let chaincodes = surroundings.prepare(&request)?;

        // Everything that can be done before has been done: from here on the processes share the machine.
        for (spec, child) in bundle.nodes.iter().zip(&children) {
            let NodePorts { grpc, operations, admin, chaincode } = spec.placement.ports;
            let own: Vec<u16> = [Some(grpc), Some(operations), admin, chaincode].into_iter().flatten().collect();
            self.ports.release(&own);
            child.start(guard).await?;
        }
        let nodes: Vec<RunningNode> = bundle.nodes.iter().map(reached).collect();
        let ready = nodes
            .iter()
            .zip(&children)
            .map(|(node, child)| ready(options, node, child.exit(), || async { child.log_tail() }));
        tokio::try_join!(try_join_all(ready), loopback::start(&chaincodes))?;
        Ok(Network { nodes, children, chaincodes, options: options.clone(), guard: Arc::clone(guard) })
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
    fn find(&self, name: &str) -> Result<(&RunningNode, &Child), RuntimeError> {
        let mut nodes = self.nodes.iter().zip(&self.children);
        nodes.find(|(node, _)| node.name == name).ok_or_else(|| no_such_node(name, &self.nodes))
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

    /// A peer or orderer writes everything to its files before it exits.
    async fn stop(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name)?.1.end(Some(RESTART_GRACE)).await;
        Ok(())
    }

    async fn kill(&self, name: &str) -> Result<(), RuntimeError> {
        self.find(name)?.1.end(None).await;
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let (node, child) = self.find(name)?;
        child.start(&self.guard).await?;
        ready(&self.options, node, child.exit(), || async { child.log_tail() }).await
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        let nodes = join_all(self.children.iter().map(Child::exits)).await;
        nodes.into_iter().flatten().chain(chaincode::exits(&self.chaincodes).await).collect()
    }

    async fn logs(&self) -> BTreeMap<String, String> {
        let mut logs = chaincode::logs(&self.chaincodes).await;
        logs.extend(self.children.iter().map(|child| (child.name().to_owned(), log::whole(child.log_path()))));
        logs
    }

    async fn log_tail(&self, name: &str) -> String {
        match self.children.iter().find(|child| child.name() == name) {
            Some(child) => child.log_tail(),
            None => chaincode::log_tail(&self.chaincodes, name).await.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_release_line_is_every_version_of_it_and_no_other() {
        assert!(is_version("3.1.5", "3.1"));
        assert!(is_version("v3.1.5", "3.1.5"));
        assert!(!is_version("3.1.5", "3.1.4"));
        assert!(!is_version("3.10.0", "3.1"));
        assert!(!is_version("2.5.16", "3.1"));
    }
}
