//! A chaincode server as a process of this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::child::{self, Child, Program};
use super::{HOST, wait_error};
use crate::cleanup::Custody;
use crate::runtime::chaincode::{self, ChaincodePlacement, ChaincodeSpec};
use crate::runtime::{RuntimeError, files, log};
use crate::wait::{Poll, until_with_log};

/// A chaincode server as a process.
#[derive(Debug)]
pub(in crate::runtime) struct Server {
    child: Child,
    port: u16,
    bound: Duration,
    custody: Arc<Custody>,
}

impl Server {
    pub(in crate::runtime) fn prepare(
        custody: &Arc<Custody>,
        spec: &ChaincodeSpec,
        place: &ChaincodePlacement,
        bound: Duration,
        logs: &Path,
        temporary: &Path,
    ) -> Result<Self, RuntimeError> {
        files::write_chaincode(&spec.files, &place.directory)?;
        let path =
            spec.program.canonicalize().map_err(|source| RuntimeError::File { path: spec.program.clone(), source })?;
        let child = Child::new(Program {
            name: spec.name.clone(),
            path,
            arguments: spec.arguments.clone(),
            environment: spec.environment.clone(),
            directory: place.directory.clone(),
            log: logs.join(log::file_name(&spec.name)),
            temporary: temporary.to_owned(),
        });
        Ok(Self { child, port: chaincode::port_of(place), bound, custody: Arc::clone(custody) })
    }

    pub(in crate::runtime) fn child(&self) -> &Child {
        &self.child
    }

    pub(in crate::runtime) fn port(&self) -> u16 {
        self.port
    }

    pub(in crate::runtime) fn name(&self) -> &str {
        self.child.name()
    }

    pub(in crate::runtime) fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    pub(in crate::runtime) async fn stop(&self) -> Result<(), RuntimeError> {
        self.child.end(Some(child::GRACE)).await;
        Ok(())
    }

    pub(in crate::runtime) async fn kill(&self) -> Result<(), RuntimeError> {
        self.child.end(None).await;
        Ok(())
    }

    /// Listening is enough: what it says is for the peers to find out.
    pub(in crate::runtime) async fn start(&self) -> Result<(), RuntimeError> {
        self.child.start(&self.custody).await?;
        let what = format!("{} listens on {HOST}:{}", self.name(), self.port);
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
