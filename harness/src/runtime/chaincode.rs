//! Chaincode servers: their specification and their place, and what all runtimes do with several of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use fabric_network::bundle::File;

use super::{ChaincodeServer, RuntimeError, RuntimeOptions, UnexpectedExit};
use crate::server::ServerSource;

/// How long a static program may take to listen. Everything starts at the same time, so on two cores the
/// last of many servers waits for all others.
const BOUND: Duration = Duration::from_secs(20);

/// A chaincode server to place.
#[derive(Debug, Clone)]
pub struct ServerRequest<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub source: &'a ServerSource,
    /// Each `HOST:PORT` at which its package lets peers look for it. Empty: the package is made for its place.
    pub addresses: BTreeSet<String>,
    /// Further names that its certificate needs at these addresses.
    pub names: BTreeSet<String>,
}

impl<'a> ServerRequest<'a> {
    /// A server whose package is made for its place.
    pub fn new(name: &'a str, source: &'a ServerSource) -> Self {
        Self { name, source, addresses: BTreeSet::new(), names: BTreeSet::new() }
    }
}

/// The place of a chaincode server. Known before anything is rendered or packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodePlacement {
    /// `HOST:PORT` that the peers dial, for connection.json.
    pub address: String,
    /// `HOST:PORT` on which it must listen.
    pub listen: String,
    /// `HOST:PORT` that this program can dial; `None` for a container.
    pub dial: Option<String>,
    /// The absolute path of its directory, as the server sees it. [`ChaincodeSpec::files`] are in it.
    pub directory: PathBuf,
}

impl ChaincodePlacement {
    /// [`ChaincodePlacement::dial`], resolved. Prefers IPv4, which servers listen on.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        let found: Vec<SocketAddr> = self.dial.as_ref()?.to_socket_addrs().ok()?.collect();
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
    }
}

/// A chaincode server to start.
#[derive(Debug, Clone, Default)]
pub struct ChaincodeSpec {
    /// The name that its place was reserved for.
    pub name: String,
    /// What it is. The place was reserved for the same.
    pub source: ServerSource,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment besides PATH, HOME and the like. It inherits no `CORE_…` or `CHAINCODE_…` variable
    /// of this program.
    pub environment: BTreeMap<String, String>,
    /// Its files, by their path in [`ChaincodePlacement::directory`].
    pub files: BTreeMap<PathBuf, File>,
}

/// The whole logs of servers, by their names.
pub(super) async fn logs(servers: &[Box<dyn ChaincodeServer>]) -> BTreeMap<String, String> {
    let mut logs = BTreeMap::new();
    for server in servers {
        logs.extend(server.log().await.map(|log| (server.name().to_owned(), log)));
    }
    logs
}

/// The last lines of the log of the server of this name, if there is one.
pub(super) async fn log_tail(servers: &[Box<dyn ChaincodeServer>], name: &str) -> Option<String> {
    let server = servers.iter().find(|server| server.name() == name)?;
    Some(server.log_tail().await)
}

/// The unexpected exits of servers.
pub(super) async fn exits(servers: &[Box<dyn ChaincodeServer>]) -> Vec<UnexpectedExit> {
    let mut exits = Vec::new();
    for server in servers {
        exits.extend(server.exits().await);
    }
    exits
}

/// Why peers in a cluster do not reach such a server, if they don't, and what to do.
pub(crate) fn not_in_cluster(source: &ServerSource) -> Option<String> {
    let what = match source {
        ServerSource::Command { .. } => "a command of this machine",
        ServerSource::Address { address, .. } if address.is_loopback() => "an address of this machine's loopback",
        ServerSource::Program(_) | ServerSource::Image(_) | ServerSource::Address { .. } => return None,
    };
    Some(format!(
        "{what}, which a cluster does not reach; give an `image`, a `program` (linked statically), which is uploaded, or \
         an `address` that the cluster's pods reach"
    ))
}

/// How long a server may take to listen: longer for one that an interpreter, a compiler or a person starts.
pub(super) fn bound(options: &RuntimeOptions, source: &ServerSource) -> Duration {
    match source {
        ServerSource::Program(_) => options.timeout.min(BOUND),
        ServerSource::Command { .. } | ServerSource::Image(_) | ServerSource::Address { .. } => options.timeout,
    }
}

/// The port that the server must listen on.
pub(super) fn port_of(place: &ChaincodePlacement) -> u16 {
    place.listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
}

/// Each server with its place.
pub(super) fn placed<'a>(
    places: &'a BTreeMap<String, ChaincodePlacement>,
    specs: &'a [ChaincodeSpec],
) -> Result<Vec<(&'a ChaincodeSpec, &'a ChaincodePlacement)>, RuntimeError> {
    specs
        .iter()
        .map(|spec| match places.get(&spec.name) {
            Some(place) => Ok((spec, place)),
            None => Err(RuntimeError::NotPlaced { name: spec.name.clone() }),
        })
        .collect()
}
