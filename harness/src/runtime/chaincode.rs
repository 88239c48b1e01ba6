//! Chaincode servers: what is asked for, where they are, and a handle to stop and start them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fabric_network::bundle::File;

use super::{RuntimeError, RuntimeOptions, docker, loopback};

/// How long a server may take to listen. Everything is started at once, so on two cores the last of
/// many waits for all others.
const BOUND: Duration = Duration::from_secs(20);

/// Where a chaincode server will be. Known before anything is rendered or packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodePlacement {
    /// `HOST:PORT` under which the peers dial it, for connection.json.
    pub address: String,
    /// `HOST:PORT` on which it must listen.
    pub listen: String,
    /// Where it sees its own directory, absolute: [`ChaincodeSpec::files`] lie below.
    pub directory: PathBuf,
}

/// A chaincode server to start.
#[derive(Debug, Clone, Default)]
pub struct ChaincodeSpec {
    /// The name that its place was taken under.
    pub name: String,
    /// The program, of this machine. Static, so that it also runs in a container.
    pub program: PathBuf,
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
    Process(Box<loopback::Server>),
}

impl RunningChaincode {
    /// The name that its place was taken under.
    pub fn name(&self) -> &str {
        match &self.0 {
            Server::Docker(server) => server.name(),
            Server::Process(server) => server.name(),
        }
    }

    /// Ends the server: SIGTERM, and SIGKILL if that does not end it in time. One that has ended
    /// already is no error.
    ///
    /// # Errors
    ///
    /// When the engine refuses.
    pub async fn stop(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.stop().await,
            Server::Process(server) => server.stop().await,
        }
    }

    /// Ends the server by SIGKILL, as a crash would.
    ///
    /// # Errors
    ///
    /// When the engine refuses.
    pub async fn kill(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.kill().await,
            Server::Process(server) => server.kill().await,
        }
    }

    /// Starts the server again, at the same address, with the same environment and files, and waits
    /// until it listens. One that still runs is left running.
    ///
    /// # Errors
    ///
    /// When it can't be started, ends, does not listen within 20 s or the runtime's own bound if that
    /// is shorter, or when the network has been stopped.
    pub async fn start(&self) -> Result<(), RuntimeError> {
        match &self.0 {
            Server::Docker(server) => server.start().await,
            Server::Process(server) => server.start().await,
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
            Server::Process(server) => server.log_tail(),
        }
    }
}

/// How long each server may take to listen.
pub(super) fn bound(options: &RuntimeOptions) -> Duration {
    options.timeout.min(BOUND)
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
