//! A network of peers and orderers in this process: from a rendered bundle to services that answer.
//!
//! What a node does is the matter of `peer` and `orderer`. Chaincode servers are started by others.

pub mod node;
mod nodes;
pub mod server;
mod verifier;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::release::Release;

pub use node::NodeError;
pub use nodes::Nodes;
pub use server::Client;

use crate::clock::Clock;
use crate::orderer::Orderer;
use crate::peer::Peer;
use crate::signer::Randomness;
use node::NodeFiles;
use server::Lifetime;

/// How long a network may take to end its tasks.
const END_BOUND: Duration = Duration::from_secs(5);

/// How the network differs from a plain one.
#[derive(Debug, Default)]
pub struct Options {
    /// The release line that the nodes behave as. Default: the newest.
    pub release: Release,
    /// Makes what the nodes draw by lot the same in each run: nonces and signatures.
    pub seed: Option<u64>,
    /// The nodes' time. Default: the system's.
    pub clock: Clock,
    /// Sockets that listen on the nodes' ports already. For other ports one is opened.
    pub listeners: Vec<TcpListener>,
}

/// A network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A node's files can't be used.
    #[error("{node} can't be started")]
    Node {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: NodeError,
    },
    /// A port is taken.
    #[error("{node} can't listen on {address}: {source}")]
    Listen {
        /// The node.
        node: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Nodes that serve. Dropping it ends them and frees their ports.
#[derive(Debug)]
pub struct Network {
    nodes: Arc<Nodes>,
    clock: Clock,
    life: Lifetime,
}

impl Network {
    /// Starts every node of the bundle.
    ///
    /// The peers' own directories must lie where their placement says, since external builders read
    /// files there.
    ///
    /// # Errors
    ///
    /// The first node that can't be started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(bundle: &Bundle, options: Options) -> Result<Self, StartError> {
        let Options { release, seed, clock, listeners } = options;
        let life = Lifetime::default();
        let mut start = Start {
            bundle,
            release,
            clock: clock.clone(),
            randomness: Randomness::new(seed),
            listeners: by_port(listeners),
            life: life.clone(),
        };
        let mut failed = None;
        let nodes = Arc::new_cyclic(|nodes| {
            start.nodes(nodes).unwrap_or_else(|error| {
                failed = Some(error);
                Nodes::default()
            })
        });
        let network = Self { nodes, clock, life };
        match failed {
            None => {}
            Some(error) => return Err(error),
        }
        start.serve(&network.nodes)?;
        Ok(network)
    }

    /// The nodes.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// A peer by its full name.
    pub fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.nodes.peer(name)
    }

    /// An orderer by its full name.
    pub fn orderer(&self, name: &str) -> Option<&Arc<Orderer>> {
        self.nodes.orderer(name)
    }

    /// The nodes' time, which may be set.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Ends every node, and waits until their ports are free.
    pub async fn stop(self) {
        self.life.end();
        if !self.life.ended(END_BOUND).await {
            tracing::warn!("the embedded network has not ended after {END_BOUND:?}");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.life.end();
    }
}

fn by_port(listeners: Vec<TcpListener>) -> BTreeMap<u16, TcpListener> {
    listeners.into_iter().filter_map(|listener| Some((listener.local_addr().ok()?.port(), listener))).collect()
}

/// What nodes are started with.
struct Start<'a> {
    bundle: &'a Bundle,
    release: Release,
    clock: Clock,
    randomness: Randomness,
    listeners: BTreeMap<u16, TcpListener>,
    life: Lifetime,
}

impl Start<'_> {
    fn nodes(&self, nodes: &Weak<Nodes>) -> Result<Nodes, StartError> {
        let mut made = Nodes::default();
        for spec in &self.bundle.nodes {
            let files = NodeFiles::new(self.bundle, spec);
            let failed = |source| StartError::Node { node: spec.name.clone(), source };
            let parts = Parts {
                spec,
                files,
                release: self.release,
                clock: &self.clock,
                randomness: &self.randomness,
                life: &self.life,
                nodes,
            };
            match spec.kind {
                NodeKind::Peer => made.peers.push(Arc::new(Peer::new(&parts).map_err(failed)?)),
                NodeKind::Orderer => made.orderers.push(Arc::new(Orderer::new(&parts).map_err(failed)?)),
            }
        }
        Ok(made)
    }

    fn serve(&mut self, nodes: &Nodes) -> Result<(), StartError> {
        for spec in &self.bundle.nodes {
            let files = NodeFiles::new(self.bundle, spec);
            let failed = |source| StartError::Node { node: spec.name.clone(), source };
            let grpc = self.listener(spec, spec.placement.ports.grpc)?;
            if let Some(peer) = nodes.peer(&spec.name) {
                let tls = peer.tls(files).map_err(failed)?;
                server::serve_grpc(grpc, tls, crate::peer::services::routes(peer), &self.life);
            } else if let Some(orderer) = nodes.orderer(&spec.name) {
                let tls = orderer.tls(files).map_err(failed)?;
                server::serve_grpc(grpc, tls, crate::orderer::service::routes(orderer), &self.life);
            }
        }
        Ok(())
    }

    fn listener(&mut self, spec: &NodeSpec, port: u16) -> Result<tokio::net::TcpListener, StartError> {
        let address = SocketAddr::new(spec.placement.bind, port);
        let failed = |source| StartError::Listen { node: spec.name.clone(), address, source };
        let listener = match self.listeners.remove(&port) {
            Some(listener) => listener,
            None => TcpListener::bind(address).map_err(failed)?,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        tokio::net::TcpListener::from_std(listener).map_err(failed)
    }
}

/// What one node is made of.
pub(crate) struct Parts<'a> {
    pub(crate) spec: &'a NodeSpec,
    pub(crate) files: NodeFiles<'a>,
    pub(crate) release: Release,
    pub(crate) clock: &'a Clock,
    pub(crate) randomness: &'a Randomness,
    pub(crate) life: &'a Lifetime,
    pub(crate) nodes: &'a Weak<Nodes>,
}
