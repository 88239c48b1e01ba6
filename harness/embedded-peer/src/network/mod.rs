//! A network of peers and orderers in this process, started from a rendered bundle.
//!
//! The caller starts the chaincode servers.

mod operations;
mod server;
pub(crate) mod services;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use std::{fmt, io};

use fabric_network::bundle::Bundle;
use fabric_network::node::{NodeKind, NodeSpec};
use fabric_network::release::Release;
use futures::future::join_all;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;

use crate::block_store::BlockStore;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::node::{Lifetime, NodeError, NodeFiles, Parts};
use crate::orderer::registrar::Ordering;
use crate::orderer::{Orderer, participation};
use crate::peer::{Nodes, Peer};
use crate::signer::Randomness;
use crate::trace::{EventKind, Tracer};
use operations::Operated;

/// How long to wait for a node's tasks to stop.
const END_BOUND: Duration = Duration::from_secs(5);

/// Options of a network.
#[derive(Debug, Default)]
pub struct Options {
    /// The Fabric release that the nodes behave as. Default: the newest.
    pub release: Release,
    /// Makes random values reproducible: nonces and signatures.
    pub seed: Option<u64>,
    /// The nodes' clock. Default: the system's time.
    pub clock: Clock,
    /// Receives the nodes' events.
    pub tracer: Tracer,
    /// Faults to inject.
    pub faults: Faults,
    /// The directory for temporary files: the external builders', and the blocks. Default: the system's.
    pub temporary: Option<PathBuf>,
    /// Sockets that already listen on ports of the nodes. The network opens those of other ports.
    pub listeners: Vec<TcpListener>,
}

/// A network could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A node's files are unusable.
    #[error("cannot start {node}")]
    Node {
        /// The node.
        node: String,
        /// The reason.
        #[source]
        source: NodeError,
    },
    /// A node cannot listen on its port.
    #[error("{node} cannot listen on {address}: {source}")]
    Listen {
        /// The node.
        node: String,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A running network. Dropping it stops the nodes and frees their ports.
///
/// ```no_run
/// use embedded_peer::clock::Clock;
/// use embedded_peer::{Network, Options};
/// use fabric_network::bundle::Bundle;
/// use fabric_network::release::Release;
///
/// # async fn example(bundle: Bundle) -> Result<(), embedded_peer::StartError> {
/// let options = Options { release: Release::V2_5, seed: Some(7), ..Options::default() };
/// let network = Network::start(&bundle, options)?;
/// for peer in network.nodes().peers() {
///     println!("{} listens on {}", peer.name, peer.endpoint);
/// }
///
/// let joined = network.snapshot().await;
/// network.clock().advance(std::time::Duration::from_hours(24));
/// // …
/// network.restore(&joined).await;
/// network.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Network {
    nodes: Arc<Nodes>,
    clock: Clock,
    tracer: Tracer,
    faults: Faults,
    ordering: Ordering,
    /// The tasks that outlive a node's listeners.
    life: Lifetime,
    serving: BTreeMap<String, Serving>,
}

/// A node's listeners, which can be closed and reopened.
struct Serving {
    ports: Vec<Port>,
    life: Mutex<Lifetime>,
}

struct Port {
    address: SocketAddr,
    tls: TlsAcceptor,
    service: Service,
}

#[derive(Clone)]
enum Service {
    Grpc(Routes),
    Participation(Arc<Orderer>),
    Operations(Operated),
}

impl Network {
    /// Starts every node of the bundle.
    ///
    /// The peers' directories must exist where their placement says, since external builders read files
    /// there.
    ///
    /// # Errors
    ///
    /// The first node that cannot be started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(bundle: &Bundle, options: Options) -> Result<Self, StartError> {
        let Options { release, seed, clock, tracer, faults, temporary, listeners } = options;
        let life = Lifetime::default();
        let ordering = Ordering::new(clock.clone(), life.clone(), BlockStore::new(temporary.clone()));
        let start = Start {
            bundle,
            release,
            clock: clock.clone(),
            randomness: Randomness::new(seed),
            ordering: ordering.clone(),
            tracer: tracer.clone(),
            faults: faults.clone(),
            temporary,
            life: life.clone(),
        };
        let mut failed = None;
        let nodes = Arc::new_cyclic(|nodes| {
            start.nodes(nodes).unwrap_or_else(|error| {
                failed = Some(error);
                Nodes::default()
            })
        });
        let mut network = Self { nodes, clock, tracer, faults, ordering, life, serving: BTreeMap::new() };
        if let Some(error) = failed {
            return Err(error);
        }
        let mut listeners = by_port(listeners);
        for spec in &bundle.nodes {
            let serving = network.serving(spec, NodeFiles::new(bundle, spec))?;
            serving.open(&spec.name, &mut listeners)?;
            network.log_start(&spec.name);
            network.serving.insert(spec.name.clone(), serving);
        }
        Ok(network)
    }

    fn serving(&self, spec: &NodeSpec, files: NodeFiles<'_>) -> Result<Serving, StartError> {
        let failed = |source| StartError::Node { node: spec.name.clone(), source };
        let ports = spec.placement.ports;
        let port = |number, tls: Result<TlsAcceptor, NodeError>, service| {
            let address = SocketAddr::new(spec.placement.bind, number);
            Ok(Port { address, tls: tls.map_err(failed)?, service })
        };
        let mut open = Vec::new();
        if let Some(peer) = self.peer(&spec.name) {
            open.push(port(ports.grpc, peer.tls(files), Service::Grpc(services::of_peer(peer)))?);
            if peer.configuration.operations.tls.enabled {
                let service = Service::Operations(Operated::Peer(Arc::clone(peer)));
                open.push(port(ports.operations, peer.operations_tls(files), service)?);
            }
        } else if let Some(orderer) = self.orderer(&spec.name) {
            let routes = services::of_orderer(orderer);
            open.push(port(ports.grpc, orderer.tls(files), Service::Grpc(routes))?);
            if let Some(admin) = ports.admin {
                let service = Service::Participation(Arc::clone(orderer));
                open.push(port(admin, orderer.admin_tls(files), service)?);
            }
            if orderer.configuration.operations.tls.enabled {
                let service = Service::Operations(Operated::Orderer(Arc::clone(orderer)));
                open.push(port(ports.operations, orderer.operations_tls(files), service)?);
            }
        }
        Ok(Serving { ports: open, life: Mutex::default() })
    }

    /// Stops a node: closes its connections and listeners. Until it is started again it takes no blocks, and the
    /// other nodes do not see it. Its state is kept. An unknown node, or one that is stopped, is ignored.
    pub async fn stop_node(&self, name: &str) {
        let Some(serving) = self.serving.get(name) else { return };
        let life = serving.life();
        life.end();
        life.ended(END_BOUND).await;
        if let Some(peer) = self.peer(name) {
            peer.set_stopped(true).await;
        } else if let Some(orderer) = self.orderer(name) {
            orderer.set_stopped(true);
        }
    }

    /// Starts a stopped node: it listens again, and takes the blocks that it has missed. Another node is ignored.
    ///
    /// # Errors
    ///
    /// Another program has taken a port meanwhile.
    pub async fn start_node(&self, name: &str) -> Result<(), StartError> {
        let (peer, orderer) = (self.peer(name), self.orderer(name));
        let is_stopped =
            peer.is_some_and(|peer| peer.is_stopped()) || orderer.is_some_and(|orderer| orderer.is_stopped());
        let Some(serving) = self.serving.get(name).filter(|_| is_stopped) else { return Ok(()) };
        serving.open(name, &mut BTreeMap::new())?;
        if let Some(peer) = peer {
            peer.set_stopped(false).await;
        } else if let Some(orderer) = orderer {
            orderer.set_stopped(false);
        }
        self.log_start(name);
        Ok(())
    }

    /// [`Self::stop_node`], then [`Self::start_node`].
    ///
    /// # Errors
    ///
    /// As [`Self::start_node`].
    pub async fn restart(&self, name: &str) -> Result<(), StartError> {
        self.stop_node(name).await;
        self.start_node(name).await
    }

    fn log_start(&self, name: &str) {
        if let Some(peer) = self.peer(name) {
            peer.trace(|| EventKind::Note(format!("Starting peer: {name}, as Fabric {}", peer.release)));
        } else if let Some(orderer) = self.orderer(name) {
            orderer.trace(|| EventKind::Note(format!("Starting orderer: {name}, as Fabric {}", orderer.release)));
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    pub(crate) fn ordering(&self) -> &Ordering {
        &self.ordering
    }

    /// A peer by its full name.
    pub fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.nodes.peer(name)
    }

    /// An orderer by its full name.
    pub fn orderer(&self, name: &str) -> Option<&Arc<Orderer>> {
        self.nodes.orderer(name)
    }

    /// The nodes' clock, which can be set at any time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The nodes' events.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The faults to inject, which can be added at any time.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops every node, and waits until their ports are free.
    pub async fn stop(self) {
        self.end();
        let all = join_all(self.lives().map(async |life| life.ended(END_BOUND).await)).await;
        if all.contains(&false) {
            tracing::warn!("the embedded network did not stop within {END_BOUND:?}");
        }
    }

    fn lives(&self) -> impl Iterator<Item = Lifetime> {
        let of_nodes = self.serving.values().map(Serving::life);
        of_nodes.chain(std::iter::once(self.life.clone()))
    }

    fn end(&self) {
        self.lives().for_each(|life| life.end());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end();
    }
}

impl Serving {
    fn life(&self) -> Lifetime {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves every port, on these listeners as far as there are any.
    fn open(&self, node: &str, listeners: &mut BTreeMap<u16, TcpListener>) -> Result<(), StartError> {
        let life = Lifetime::default();
        for Port { address, tls, service } in &self.ports {
            let failed = |source| StartError::Listen { node: node.to_owned(), address: *address, source };
            let listener = match listeners.remove(&address.port()) {
                Some(listener) => listener,
                None => TcpListener::bind(address).map_err(failed)?,
            };
            listener.set_nonblocking(true).map_err(failed)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            match service.clone() {
                Service::Grpc(routes) => server::serve_grpc(listener, tls.clone(), routes, &life),
                Service::Participation(orderer) => {
                    let answer = move |request| participation::answer(Arc::clone(&orderer), request);
                    server::serve_http(listener, tls.clone(), answer, &life);
                }
                Service::Operations(node) => {
                    let answer = move |request| std::future::ready(node.answer(&request));
                    server::serve_http(listener, tls.clone(), answer, &life);
                }
            }
        }
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
        Ok(())
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.ports.iter().map(|port| port.address)).finish()
    }
}

fn by_port(listeners: Vec<TcpListener>) -> BTreeMap<u16, TcpListener> {
    listeners.into_iter().filter_map(|listener| Some((listener.local_addr().ok()?.port(), listener))).collect()
}

/// What the nodes are created from.
struct Start<'a> {
    bundle: &'a Bundle,
    release: Release,
    clock: Clock,
    randomness: Randomness,
    ordering: Ordering,
    tracer: Tracer,
    faults: Faults,
    temporary: Option<PathBuf>,
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
                tracer: &self.tracer,
                faults: &self.faults,
                temporary: self.temporary.as_deref(),
                life: &self.life,
            };
            match spec.kind {
                NodeKind::Peer => {
                    let peer = Peer::new(&parts, &self.ordering, nodes).map_err(failed)?;
                    made.peers.push(Arc::new(peer));
                }
                NodeKind::Orderer => {
                    let orderer = Orderer::new(&parts, &self.ordering).map_err(failed)?;
                    made.orderers.push(Arc::new(orderer));
                }
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
