//! What keeps a network from running, or a run from being finished.

use crate::client::ClientError;
use crate::couchdb::CouchDbError;
use crate::deploy::DeployError;
use crate::interrupt::Interrupt;
use crate::runtime::{Death, RuntimeError};
use ccaas_builder::package::PackageError;
use fabric_network::render::RenderError;

/// A run that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The nodes can't be placed or started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A CouchDB can't be used.
    #[error(transparent)]
    CouchDb(#[from] CouchDbError),
    /// The files can't be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The package can't be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The chaincode can't be deployed.
    #[error("the chaincode can't be deployed")]
    Deploy(#[from] DeployError),
    /// The chaincode does not answer.
    #[error("the first query failed")]
    FirstQuery(#[source] ClientError),
    /// The gateway can't endorse.
    #[error("the chaincode is committed, but its transactions can't be endorsed")]
    Endorsers(#[source] ClientError),
    /// It went wrong after a node or server had ended by itself.
    #[error("{}", .deaths.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Died {
        /// Who ended, and how.
        deaths: Vec<Death>,
        /// What could not be done then.
        #[source]
        source: Box<RunError>,
    },
    /// A signal came.
    #[error("ended by {0}")]
    Interrupted(&'static str),
}

impl RunError {
    /// The error, with the nodes that had ended by then, which may be why.
    pub(crate) fn after(self, deaths: Vec<Death>) -> Self {
        if deaths.is_empty() { self } else { Self::Died { deaths, source: Box::new(self) } }
    }
}

/// Warns of what is left behind, for what has no report to tell it in.
pub(crate) fn warn_of(left: &[String]) {
    for left in left {
        tracing::warn!("left behind: {left}");
    }
}

/// Does the work, or drops it when a signal comes, which ends what it had started.
pub(crate) async fn unless<T>(interrupt: &Interrupt, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        done = work => Ok(done),
        signal = interrupt.received() => Err(RunError::Interrupted(signal)),
    }
}
