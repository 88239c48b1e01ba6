//! The contract of a runtime, which is what runs a network's nodes and chaincode servers.
//!
//! [`Runtime::place`] reserves an address for each of them, [`Prepared::start`] starts them, and
//! [`RunningNetwork`] and [`ChaincodeServer`] control what runs. A new runtime implements these four
//! traits in a directory of its own and adds one line to the [registry](super::registry).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use fabric_network::bundle::Bundle;
use fabric_network::release::Release;
use fabric_network::topology::Topology;

use super::registry::{Capabilities, Descriptor};
use super::{
    ChaincodePlacement, ChaincodeSpec, Placed, RunningNode, RuntimeError, RuntimeOptions, ServerRequest, StartError,
    UnexpectedExit,
};
use crate::cleanup::RunGuard;
use crate::journal::{self, Journal, Message};

/// A runtime that is available on this machine, as its [`Descriptor`]'s `find` returns it.
#[async_trait]
pub trait Runtime: fmt::Debug + Send + Sync {
    /// Its entry in the registry.
    fn descriptor(&self) -> &'static Descriptor;

    /// The version of Fabric: an image tag, what `peer version` prints, or the release line that
    /// embedded nodes emulate.
    fn version(&self) -> &str;

    /// The release line of [`Runtime::version`].
    fn release(&self) -> Release;

    /// The seed of everything that is random otherwise, if runs are to repeat.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Checks that peers of this runtime use a CouchDB that this program reaches at this address.
    ///
    /// # Errors
    ///
    /// Why they don't, and what to do.
    fn check_couchdb(&self, _address: IpAddr) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Reserves names, addresses and directories for every node of the topology, and for these chaincode
    /// servers. Starts the sweep of dead runs.
    ///
    /// # Errors
    ///
    /// When the run's directory, a port, or a container or namespace cannot be created; when a
    /// server's image is unavailable, or the nodes cannot reach the server.
    async fn place(&self, topology: &Topology, chaincodes: &[ServerRequest<'_>]) -> Result<Placed, RuntimeError>;

    /// Its name in `--runtime` and in reports.
    fn name(&self) -> &'static str {
        self.descriptor().name
    }

    /// What it can do, and what a pass on it does not prove.
    fn capabilities(&self) -> &'static Capabilities {
        &self.descriptor().capabilities
    }
}

/// Reserved places in which nothing runs yet. Dropping it releases them.
#[async_trait]
pub trait Prepared: fmt::Debug + Send {
    /// Starts everything concurrently, and waits until each node and server answers.
    ///
    /// # Errors
    ///
    /// The first node or server that fails, with the logs of all that were started.
    async fn start(self: Box<Self>, request: StartRequest<'_>) -> Result<Box<dyn RunningNetwork>, StartError>;
}

/// What is started.
#[derive(Debug, Clone, Copy)]
pub struct StartRequest<'a> {
    /// The options that the runtime was found with.
    pub options: &'a RuntimeOptions,
    /// The run that everything belongs to.
    pub guard: &'a Arc<RunGuard>,
    /// The nodes, and their files.
    pub bundle: &'a Bundle,
    /// The chaincode servers, each with its place.
    pub chaincodes: &'a [(&'a ChaincodeSpec, &'a ChaincodePlacement)],
}

/// Nodes and chaincode servers that run. What ends them is the run that they belong to, not this
/// value: see [`Running`](super::Running).
#[async_trait]
pub trait RunningNetwork: fmt::Debug + Send + Sync {
    /// Every node, orderers first.
    fn nodes(&self) -> &[RunningNode];

    /// The chaincode servers, in the order of the request.
    fn chaincodes(&self) -> &[Box<dyn ChaincodeServer>];

    /// How the files reached the nodes and where their ports are, if that depends on the machine: a line for the user.
    fn description(&self) -> Option<String> {
        None
    }

    /// Stops one node, by its full name: sends SIGTERM, and after 10 s SIGKILL. One that has exited is no error.
    ///
    /// Not for the same node twice at the same time; this holds for the next three as well.
    ///
    /// # Errors
    ///
    /// When no node has this name; when the engine refuses; always in a cluster, which starts it again.
    async fn stop(&self, name: &str) -> Result<(), RuntimeError>;

    /// Stops one node by SIGKILL, as a crash would.
    ///
    /// # Errors
    ///
    /// As [`RunningNetwork::stop`].
    async fn kill(&self, name: &str) -> Result<(), RuntimeError>;

    /// Starts a stopped node with the same data, ports and environment, and waits until it answers. One that runs is
    /// left running.
    ///
    /// # Errors
    ///
    /// When no node has this name; when it cannot be started, exits, or does not answer in time; when the engine
    /// refuses, or the network has been stopped.
    async fn start(&self, name: &str) -> Result<(), RuntimeError>;

    /// [`RunningNetwork::stop`], then [`RunningNetwork::start`]. In a cluster, a node that does not exit on SIGTERM
    /// is an error.
    ///
    /// # Errors
    ///
    /// As these two.
    async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        self.stop(name).await?;
        self.start(name).await
    }

    /// Every exit of a node or chaincode server that nobody asked for, since it first answered. An exit
    /// stays in the list when the node or server is stopped or started again later.
    async fn exits(&self) -> Vec<UnexpectedExit>;

    /// The whole logs by node and chaincode server, and the events of a cluster. A log that cannot be
    /// read holds the reason.
    async fn logs(&self) -> BTreeMap<String, String>;

    /// The last lines of the log of one node or chaincode server; empty if there is none.
    async fn log_tail(&self, name: &str) -> String;

    /// The messages that nodes report. By default they are read from `logs`, which are all logs of this
    /// network.
    async fn messages(&self, logs: &BTreeMap<String, String>, journal: &Journal) -> Vec<Message> {
        journal::from_logs(logs, journal)
    }

    /// The controls of embedded nodes, which no other runtime has: snapshots, the clock, faults.
    fn embedded(&self) -> Option<&embedded_peer::network::Network> {
        None
    }
}

/// A chaincode server that was started. It stops with the network, whoever still has this handle. One
/// that its user started is never stopped: `stop` and `kill` do nothing, and `start` waits for it.
#[async_trait]
pub trait ChaincodeServer: fmt::Debug + Send + Sync {
    /// The name that its place was reserved for.
    fn name(&self) -> &str;

    /// Starts the server at the same address, with the same environment and files, and waits until it
    /// listens. One that runs is left running.
    ///
    /// # Errors
    ///
    /// When it cannot be started or exits, or when the network has been stopped; when it does not listen
    /// within the runtime's timeout, or, a static program, within 20 s if that is shorter.
    async fn start(&self) -> Result<(), RuntimeError>;

    /// Stops the server: SIGTERM, and SIGKILL if it does not exit in time. One that has exited is no
    /// error.
    ///
    /// # Errors
    ///
    /// When the engine or cluster refuses.
    async fn stop(&self) -> Result<(), RuntimeError>;

    /// Stops the server by SIGKILL, as a crash would. A cluster sends SIGTERM one second earlier.
    ///
    /// # Errors
    ///
    /// When the engine or cluster refuses.
    async fn kill(&self) -> Result<(), RuntimeError>;

    /// [`ChaincodeServer::stop`], then [`ChaincodeServer::start`].
    ///
    /// # Errors
    ///
    /// As these two.
    async fn restart(&self) -> Result<(), RuntimeError> {
        self.stop().await?;
        self.start().await
    }

    /// The whole log; `None` if its user started it.
    async fn log(&self) -> Option<String>;

    /// The last lines of its log; empty if there is none.
    async fn log_tail(&self) -> String;

    /// Every exit that nobody asked for.
    async fn exits(&self) -> Vec<UnexpectedExit>;
}
