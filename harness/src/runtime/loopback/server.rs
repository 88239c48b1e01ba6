//! Chaincode servers as processes of this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use super::child::{self, Child, Program};
use super::{HOST, Ports};
use crate::cleanup::Custody;
use crate::cleanup::processes::{SERVER_VARIABLE, end_server};
use crate::runtime::chaincode::{self, ChaincodePlacement, ChaincodeSpec, RunningChaincode};
use crate::runtime::elsewhere::Elsewhere;
use crate::runtime::ready::wait_error;
use crate::runtime::{RuntimeError, RuntimeOptions, files, log};
use crate::server::ServerSource;
use crate::wait::{Poll, until_with_log};

/// A chaincode server as a process.
#[derive(Debug)]
pub(in crate::runtime) struct Server {
    child: Child,
    port: u16,
    bound: Duration,
    custody: Arc<Custody>,
}

/// Where servers of a run have what they share.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Surroundings<'a> {
    pub(in crate::runtime) options: &'a RuntimeOptions,
    pub(in crate::runtime) custody: &'a Arc<Custody>,
    /// The directory of the logs.
    pub(in crate::runtime) logs: &'a Path,
    /// The directory for temporary files.
    pub(in crate::runtime) temporary: &'a Path,
}

impl Surroundings<'_> {
    /// Writes the files of each server that will be a process, and starts nothing.
    pub(in crate::runtime) fn prepare(
        &self,
        chaincodes: &[(&ChaincodeSpec, &ChaincodePlacement)],
    ) -> Result<Vec<RunningChaincode>, RuntimeError> {
        chaincodes.iter().map(|(spec, place)| self.prepare_one(spec, place).map(RunningChaincode)).collect()
    }

    pub(in crate::runtime) fn prepare_one(
        &self,
        spec: &ChaincodeSpec,
        place: &ChaincodePlacement,
    ) -> Result<chaincode::Server, RuntimeError> {
        let bound = chaincode::bound(self.options, &spec.source);
        let (path, directory) = match &spec.source {
            ServerSource::Program(program) => {
                let found = program.canonicalize();
                let path = found.map_err(|source| RuntimeError::File { path: program.clone(), source })?;
                (path, place.directory.clone())
            }
            ServerSource::Command { program, directory } => (program.clone(), directory.clone()),
            ServerSource::Address { .. } => {
                return Ok(chaincode::Server::Elsewhere(Elsewhere::new(spec, place, bound)));
            }
            ServerSource::Image(image) => {
                return Err(RuntimeError::NoContainers { name: spec.name.clone(), image: image.clone() });
            }
        };
        files::write_chaincode(&spec.files, &place.directory)?;
        let mut environment = spec.environment.clone();
        environment.insert(SERVER_VARIABLE.to_owned(), spec.name.clone());
        let child = Child::new(Program {
            name: spec.name.clone(),
            path,
            arguments: spec.arguments.clone(),
            environment,
            directory,
            log: self.logs.join(log::file_name(&spec.name)),
            temporary: self.temporary.to_owned(),
        });
        let (port, custody) = (chaincode::port_of(place), Arc::clone(self.custody));
        Ok(chaincode::Server::Process(Box::new(Server { child, port, bound, custody })))
    }
}

/// Starts servers, and waits until each listens; gives their ports free just before.
pub(in crate::runtime) async fn start(servers: &[RunningChaincode], ports: &Ports) -> Result<(), RuntimeError> {
    let starting = servers.iter().map(|server| {
        if let chaincode::Server::Process(server) = &server.0 {
            ports.release(&[server.port]);
        }
        server.start()
    });
    try_join_all(starting).await.map(drop)
}

impl Server {
    pub(in crate::runtime) fn child(&self) -> &Child {
        &self.child
    }

    pub(in crate::runtime) fn name(&self) -> &str {
        self.child.name()
    }

    pub(in crate::runtime) fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    pub(in crate::runtime) async fn stop(&self) -> Result<(), RuntimeError> {
        self.end(Some(child::GRACE)).await
    }

    pub(in crate::runtime) async fn kill(&self) -> Result<(), RuntimeError> {
        self.end(None).await
    }

    /// A shell, or npm, may end before what it has started, which still holds the port.
    async fn end(&self, grace: Option<Duration>) -> Result<(), RuntimeError> {
        self.child.end(grace).await;
        let (run, name) = (self.custody.workspace().directory().to_owned(), self.name().to_owned());
        let rest = tokio::task::spawn_blocking(move || end_server(&run, &name, grace.unwrap_or_default()));
        match rest.await {
            Ok(Err(left)) => Err(RuntimeError::Outlived { name: self.name().to_owned(), left }),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Listening is enough: what it says is for the peers to find out.
    pub(in crate::runtime) async fn start(&self) -> Result<(), RuntimeError> {
        self.child.start(&self.custody).await?;
        let what = format!("{} listens on {HOST}:{}, as CHAINCODE_SERVER_ADDRESS says", self.name(), self.port);
        let listens = until_with_log(
            &what,
            self.bound,
            || async {
                match tokio::net::TcpStream::connect((HOST, self.port)).await {
                    Ok(_) => Ok(Poll::Ready(())),
                    Err(error) => Ok(Poll::NotYet(error.to_string())),
                }
            },
            || async { self.log_tail() },
        );
        tokio::select! {
            death = self.child.death() => Err(RuntimeError::Died(death)),
            listens = listens => listens.map_err(wait_error),
        }
    }
}
