//! Chaincode servers: what is asked for, where they are, and a handle to stop and start them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use fabric_network::bundle::File;

use super::elsewhere::Elsewhere;
use super::{Death, RuntimeError, RuntimeOptions, docker, kubernetes, log, loopback};
use crate::server::ServerSource;

/// How long a static program may take to listen. Everything is started at once, so on two cores the
/// last of many waits for all others.
const BOUND: Duration = Duration::from_secs(20);

/// Where a chaincode server will be. Known before anything is rendered or packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodePlacement {
    /// `HOST:PORT` under which the peers dial it, for connection.json.
    pub address: String,
    /// `HOST:PORT` on which it must listen.
    pub listen: String,
    /// `HOST:PORT` under which this program finds it; none of a container.
    pub dial: Option<String>,
    /// Where it sees its own directory, absolute: [`ChaincodeSpec::files`] lie below.
    pub directory: PathBuf,
}

impl ChaincodePlacement {
    /// [`ChaincodePlacement::dial`] as numbers, if it has some; rather IPv4, which servers listen on.
    pub(super) fn found_at(&self) -> Option<SocketAddr> {
        let found: Vec<SocketAddr> = self.dial.as_ref()?.to_socket_addrs().ok()?.collect();
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
    }
}

/// A chaincode server to start.
#[derive(Debug, Clone, Default)]
pub struct ChaincodeSpec {
    /// The name that its place was taken under.
    pub name: String,
    /// What it is: what its place was taken for.
    pub source: ServerSource,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment beyond PATH, HOME and the like; no `CORE_…` or `CHAINCODE_…` variable of this
    /// program's own environment reaches it.
    pub environment: BTreeMap<String, String>,
    /// Files, below [`ChaincodePlacement::directory`].
    pub files: BTreeMap<PathBuf, File>,
}

/// A chaincode server that was started. It ends with the network, whoever still has this handle.
#[derive(Debug)]
pub struct RunningChaincode(pub(super) Server);

#[derive(Debug)]
pub(super) enum Server {
    Docker(Box<docker::Server>),
    Kubernetes(Box<kubernetes::Server>),
    Process(Box<loopback::Server>),
    Elsewhere(Elsewhere),
}

impl RunningChaincode {
    /// The name that its place was taken under.
    pub fn name(&self) -> &str {
        match &self.0 {
            Server::Docker(server) => server.name(),
            Server::Kubernetes(server) => server.name(),
            Server::Process(server) => server.name(),
            Server::Elsewhere(server) => server.name(),
        }
    }

    /// Ends the server: SIGTERM, and SIGKILL if that does not end it in time. One that has ended
    /// already is no error. One that somebody else started is left alone, here and below.
    ///
    /// # Errors
    ///
    /// When the engine or cluster refuses.
    pub async fn stop(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.stop().await,
            Server::Kubernetes(server) => Box::pin(server.stop()).await,
            Server::Process(server) => server.stop().await,
            Server::Elsewhere(_) => Ok(()),
        }
    }

    /// Ends the server by SIGKILL, as a crash would. A cluster sends SIGTERM a second before.
    ///
    /// # Errors
    ///
    /// When the engine or cluster refuses.
    pub async fn kill(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.kill().await,
            Server::Kubernetes(server) => Box::pin(server.kill()).await,
            Server::Process(server) => server.kill().await,
            Server::Elsewhere(_) => Ok(()),
        }
    }

    /// Starts the server again, at the same address, with the same environment and files, and waits
    /// until it listens. One that still runs is left running.
    ///
    /// # Errors
    ///
    /// When it can't be started, ends, or when the network has been stopped; when it does not listen
    /// within the runtime's own bound, or, a static program, within 20 s if that is shorter.
    pub async fn start(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.start().await,
            Server::Kubernetes(server) => Box::pin(server.start()).await,
            Server::Process(server) => server.start().await,
            Server::Elsewhere(server) => server.answers().await,
        }
    }

    /// [`RunningChaincode::stop`], then [`RunningChaincode::start`].
    ///
    /// # Errors
    ///
    /// As these two.
    pub async fn restart(&self) -> Result<(), RuntimeError> {
        self.stop().await?;
        self.start().await
    }

    /// The last lines of its log; empty when there is none.
    pub async fn log_tail(&self) -> String {
        match &self.0 {
            Server::Docker(server) => server.log_tail().await,
            Server::Kubernetes(server) => Box::pin(server.log_tail()).await,
            Server::Process(server) => server.log_tail(),
            Server::Elsewhere(_) => String::new(),
        }
    }

    /// The whole log, of one that is started here.
    pub(super) async fn log(&self) -> Option<String> {
        match &self.0 {
            Server::Docker(server) => Some(server.log().await),
            Server::Kubernetes(server) => Some(Box::pin(server.log()).await),
            Server::Process(server) => Some(log::whole(server.child().log_path())),
            Server::Elsewhere(_) => None,
        }
    }

    /// How it has ended by itself, each time that it did.
    pub(super) async fn deaths(&self) -> Vec<Death> {
        match &self.0 {
            Server::Docker(server) => server.deaths().await,
            Server::Kubernetes(server) => Box::pin(server.deaths()).await,
            Server::Process(server) => server.child().deaths().await,
            Server::Elsewhere(_) => Vec::new(),
        }
    }
}

/// The whole logs of servers, by their names.
pub(super) async fn logs(servers: &[RunningChaincode]) -> BTreeMap<String, String> {
    let mut logs = BTreeMap::new();
    for server in servers {
        logs.extend(server.log().await.map(|log| (server.name().to_owned(), log)));
    }
    logs
}

/// The last lines of the log of the server of this name, if there is one.
pub(super) async fn log_tail(servers: &[RunningChaincode], name: &str) -> Option<String> {
    let server = servers.iter().find(|server| server.name() == name)?;
    Some(server.log_tail().await)
}

/// How those of these servers ended that have ended by themselves.
pub(super) async fn deaths(servers: &[RunningChaincode]) -> Vec<Death> {
    let mut deaths = Vec::new();
    for server in servers {
        deaths.extend(server.deaths().await);
    }
    deaths
}

/// How long a server may take to listen. An interpreter or a compiler takes its time, and so does a
/// person who starts it.
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
