//! Errors that only the kubernetes runtime has.

use std::net::IpAddr;

use fabric_network::release::ReleaseError;

use super::cluster::ClusterError;
use crate::runtime::{RuntimeError, Unavailable};

/// Why the kubernetes runtime is unavailable, or does not place or start a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node cannot be stopped without its data.
    #[error(
        "cannot stop {name}: the cluster starts its container again, and its data goes with its pod; use `restart`, or the \
         runtime docker, process or embedded"
    )]
    StartsAgain {
        /// The node.
        name: String,
    },
    /// No cluster, or one that refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The tag is of no supported release line.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The user lacks rights in the cluster.
    #[error(
        "in the cluster of context {context} you may not: {}; ask its administrator for these rights, or choose another \
         with --kube-context",
        denied.join(", ")
    )]
    Forbidden {
        /// The context.
        context: String,
        /// The missing rights, such as `create namespaces`.
        denied: Vec<String>,
    },
    /// The namespace exists.
    #[error(
        "the namespace {namespace} already exists; a run creates its namespace and removes it with everything in it, so \
         give another name with --kube-namespace, or none"
    )]
    NamespaceInUse {
        /// The namespace.
        namespace: String,
    },
    /// The peers do not reach a chaincode server on this machine.
    #[error("{name} is {reason}")]
    OutOfReach {
        /// The chaincode server.
        name: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// A CouchDB on the loopback of this machine, which is not that of the pods.
    #[error(
        "is found at {address}, the loopback of this machine, and the nodes are pods with a loopback of their own; give \
         the address of a CouchDB that the cluster's pods reach"
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

impl From<ClusterError> for RuntimeError {
    fn from(error: ClusterError) -> Self {
        Self::specific(error)
    }
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}
