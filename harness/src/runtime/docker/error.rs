//! Errors that only the docker runtime has.

use std::net::IpAddr;

use fabric_network::release::ReleaseError;

use super::engine::EngineError;
use crate::runtime::{RuntimeError, Unavailable};

/// Why the docker runtime is unavailable, or does not place or start a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No engine, or one that refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tag is of no supported release line.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// An official image is missing and cannot be pulled.
    #[error(
        "the image {image} is not in the Docker engine and cannot be pulled: {reason}; pull or load it, or choose \
         another version with --fabric"
    )]
    Image {
        /// Its name and tag.
        image: String,
        /// The engine's or the registry's error.
        reason: String,
    },
    /// The image of a chaincode server is missing and cannot be pulled.
    #[error(
        "the image {image} of the chaincode server is not in the Docker engine and cannot be pulled: {reason}; build, \
         load or pull it"
    )]
    ServerImage {
        /// Its reference.
        image: String,
        /// The engine's or the registry's error.
        reason: String,
    },
    /// More nodes than there are ports for.
    #[error("too many nodes for one machine: {count}; the limit is {most}")]
    TooManyNodes {
        /// How many nodes there are.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A CouchDB on the loopback of this machine, which is not that of the nodes.
    #[error(
        "is found at {address}, the loopback of this machine, and the nodes are containers with a loopback of their \
         own; let it listen where containers reach it, such as the address of Docker's bridge (172.17.0.1), and give \
         that one, or use --runtime process"
    )]
    Loopback {
        /// Where the CouchDB was found.
        address: IpAddr,
    },
}

impl From<Error> for RuntimeError {
    fn from(error: Error) -> Self {
        Self::specific(error)
    }
}

impl From<EngineError> for RuntimeError {
    fn from(error: EngineError) -> Self {
        Self::specific(error)
    }
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}
