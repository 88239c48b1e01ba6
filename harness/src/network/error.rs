//! Errors of a network's start and of a run.

use crate::client::ClientError;
use crate::console::error_text;
use crate::couchdb::CouchDbError;
use crate::deploy::DeployError;
use crate::interrupt::Interrupt;
use crate::runtime::{RuntimeError, UnexpectedExit};
use ccaas_builder::package::PackageError;
use fabric_network::render::RenderError;

/// A run that could not be finished.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The nodes cannot be placed or started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A CouchDB cannot be used.
    #[error(transparent)]
    CouchDb(#[from] CouchDbError),
    /// The network's files cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The package cannot be created.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The chaincode cannot be deployed.
    #[error("cannot deploy the chaincode")]
    Deploy(#[from] DeployError),
    /// The chaincode does not answer.
    #[error("the first query failed")]
    FirstQuery(#[source] ClientError),
    /// The gateway finds no endorsers.
    #[error("the chaincode is committed, but its transactions cannot be endorsed")]
    Endorsers(#[source] ClientError),
    /// A failure during which an external builder wrote to its stderr.
    #[error("{}\nthe builder printed:\n{}", error_text(.failure), .printed.join("\n"))]
    Builder {
        /// The lines, each with the peer and the builder's command.
        printed: Vec<String>,
        /// The failure.
        failure: Box<RunError>,
    },
    /// A failure after a node or server had exited unexpectedly.
    #[error("{}", .exits.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Died {
        /// The exits.
        exits: Vec<UnexpectedExit>,
        /// The failure.
        #[source]
        source: Box<RunError>,
    },
    /// Interrupted by a signal.
    #[error("ended by {0}")]
    Interrupted(&'static str),
}

crate::console::debug_as_text!(RunError);

impl RunError {
    /// Adds what the external builders printed.
    pub(crate) fn with_builder(self, printed: Vec<String>) -> Self {
        if printed.is_empty() { self } else { Self::Builder { printed, failure: Box::new(self) } }
    }

    /// Adds the nodes that had exited by then, which may be the cause.
    pub(crate) fn after(self, exits: Vec<UnexpectedExit>) -> Self {
        if exits.is_empty() { self } else { Self::Died { exits, source: Box::new(self) } }
    }
}

/// Logs a warning for each leftover, where there is no report to list it.
pub(crate) fn warn_of(left: &[String]) {
    for left in left {
        tracing::warn!("leftover: {left}");
    }
}

/// Does the work, or drops it on a signal, which stops what it had started.
pub(crate) async fn unless<T>(interrupt: &Interrupt, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        done = work => Ok(done),
        signal = interrupt.received() => Err(RunError::Interrupted(signal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{CallError, NetworkError, NotEmbedded, StopError};
    use crate::plan::{OptionError, OptionErrors};
    use std::fmt::Debug;

    #[test]
    fn unwrap_prints_what_failed_and_why() {
        let client = || ClientError::NoPeer { operation: "evaluate" };
        let run = RunError::FirstQuery(client());
        let errors: [(&dyn Debug, &[&str]); 7] = [
            (&NetworkError::NoBuilder, &["ccaas-builder program not found", "CCAAS_BUILDER"]),
            (&OptionErrors(vec![OptionError::NoBuilder]), &["--builder: no ccaas-builder program"]),
            (&StopError { leftovers: vec!["a container".to_owned()] }, &["cannot remove everything: a container"]),
            (&NotEmbedded { runtime: "docker" }, &["the runtime docker has no embedded nodes"]),
            (&CallError::Client(client()), &["evaluate"]),
            (&run, &["the first query failed: ", "evaluate"]),
            (&RunError::Runtime(crate::runtime::RuntimeError::NotPlaced { name: "peer0".to_owned() }), &["peer0"]),
        ];
        for (error, expected) in errors {
            let text = format!("{error:?}");
            assert!(expected.iter().all(|expected| text.contains(expected)) && !text.contains('{'), "{text}");
        }
    }
}
