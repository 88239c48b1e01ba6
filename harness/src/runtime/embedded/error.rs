//! Errors that only the embedded runtime has.

use embedded_peer::network::StartError;

use crate::runtime::RuntimeError;

/// Why the embedded runtime does not start a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The nodes cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A CouchDB, which embedded peers do not use.
    #[error(
        "would not be used: an embedded peer keeps its world state in memory; use --runtime process or docker, or leave \
         --couchdb out"
    )]
    InMemory,
}

impl From<Error> for RuntimeError {
    fn from(error: Error) -> Self {
        Self::specific(error)
    }
}
