//! Chaincode servers as processes of this machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;

use super::child::{self, Child, Program};
use super::holder::other_holder;
use super::{HOST, Ports};
use crate::cleanup::RunGuard;
use crate::cleanup::processes::{SERVER_VARIABLE, end_server};
use crate::runtime::external_server::ExternalServer;
use crate::runtime::ready::wait_error;
use crate::runtime::{
    ChaincodePlacement, ChaincodeServer, ChaincodeSpec, RuntimeError, RuntimeOptions, StartRequest, UnexpectedExit,
    chaincode, files, log,
};
use crate::server::ServerSource;
use crate::wait::{Poll, until_with_log};

/// How often another program is seen at a server's port until that is certain. A process that is about to become
/// another program has all sockets of this one for a moment.
const CERTAIN: usize = 10;

/// A chaincode server as a process.
#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    ports: Arc<Ports>,
    bound: Duration,
    guard: Arc<RunGuard>,
}

/// What the servers of a run share.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Surroundings<'a> {
    pub(in crate::runtime) options: &'a RuntimeOptions,
    pub(in crate::runtime) guard: &'a Arc<RunGuard>,
    /// The ports of the servers' places, taken until each server starts.
    pub(in crate::runtime) ports: &'a Arc<Ports>,
    /// The directory of the logs.
    pub(in crate::runtime) logs: &'a Path,
    /// The directory for temporary files.
    pub(in crate::runtime) temporary: &'a Path,
}

impl Surroundings<'_> {
    /// Writes the files of each server that will be a process. Starts nothing.
    pub(in crate::runtime) fn prepare(
        &self,
        request: &StartRequest<'_>,
    ) -> Result<Vec<Box<dyn ChaincodeServer>>, RuntimeError> {
        request.chaincodes.iter().map(|(spec, place)| self.prepare_one(spec, place)).collect()
    }

    /// [`Surroundings::prepare`] for one server.
    pub(in crate::runtime) fn prepare_one(
        &self,
        spec: &ChaincodeSpec,
        place: &ChaincodePlacement,
    ) -> Result<Box<dyn ChaincodeServer>, RuntimeError> {
        let bound = chaincode::bound(self.options, &spec.source);
        let (path, directory) = match &spec.source {
            ServerSource::Program(program) => {
                let found = program.canonicalize();
                let path = found.map_err(|source| RuntimeError::File { path: program.clone(), source })?;
                (path, place.directory.clone())
            }
            ServerSource::Command { program, directory } => (program.clone(), directory.clone()),
            ServerSource::Address { .. } => return Ok(Box::new(ExternalServer::new(spec, place, bound))),
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
        let (port, ports, guard) = (chaincode::port_of(place), Arc::clone(self.ports), Arc::clone(self.guard));
        Ok(Box::new(Server { child, port, ports, bound, guard }))
    }
}

/// Starts servers concurrently, and waits until each listens.
pub(in crate::runtime) async fn start(servers: &[Box<dyn ChaincodeServer>]) -> Result<(), RuntimeError> {
    try_join_all(servers.iter().map(|server| server.start())).await.map(drop)
}

impl Server {
    /// A shell, or npm, may exit before what it has started, which still holds the port.
    async fn end(&self, grace: Option<Duration>) -> Result<(), RuntimeError> {
        self.child.end(grace).await;
        let (run, name) = (self.guard.workspace().directory().to_owned(), self.name().to_owned());
        let rest = tokio::task::spawn_blocking(move || end_server(&run, &name, grace.unwrap_or_default()));
        match rest.await {
            Ok(Err(left)) => Err(RuntimeError::Outlived { name: self.name().to_owned(), left }),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl ChaincodeServer for Server {
    fn name(&self) -> &str {
        self.child.name()
    }

    /// Listening is enough: the peers find out what it serves. But another program may listen there instead.
    async fn start(&self) -> Result<(), RuntimeError> {
        self.ports.release(&[self.port]);
        self.child.start(&self.guard).await?;
        let own = self.child.id().await;
        let directory = self.guard.workspace().directory();
        let sightings = AtomicUsize::new(0);
        let what = format!("{} listens on {HOST}:{}, its CHAINCODE_SERVER_ADDRESS", self.name(), self.port);
        let listens = until_with_log(
            &what,
            self.bound,
            || async {
                match tokio::net::TcpStream::connect((HOST, self.port)).await {
                    Ok(_) => Ok(match own.and_then(|own| other_holder(self.port, own, directory)) {
                        Some(holder) if sightings.fetch_add(1, Ordering::Relaxed) < CERTAIN => {
                            Poll::NotYet(format!("{holder} listens there"))
                        }
                        holder => Poll::Ready(holder),
                    }),
                    Err(error) => Ok(Poll::NotYet(error.to_string())),
                }
            },
            || self.log_tail(),
        );
        tokio::select! {
            biased;
            exit = self.child.exit() => Err(RuntimeError::Exited(exit)),
            listens = listens => match listens.map_err(wait_error)? {
                None => Ok(()),
                Some(holder) => Err(RuntimeError::PortTaken { name: self.name().to_owned(), port: self.port, holder }),
            },
        }
    }

    async fn stop(&self) -> Result<(), RuntimeError> {
        self.end(Some(child::GRACE)).await
    }

    async fn kill(&self) -> Result<(), RuntimeError> {
        self.end(None).await
    }

    async fn log(&self) -> Option<String> {
        Some(log::whole(self.child.log_path()))
    }

    async fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        self.child.exits().await
    }
}
