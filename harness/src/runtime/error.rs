//! Why a network does not come up, in words that say what to do.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::death::{Cause, Death};
use crate::cleanup::cluster::ClusterError;
use crate::cleanup::containers::EngineError;
use crate::cleanup::{CustodyError, WorkspaceError};
use crate::tap::TapError;
use crate::wait::TimedOut;

/// Why no namespace is used that somebody else has made.
const IN_USE: &str =
    "is in use; a run makes its namespace and removes it with all that is in it, so give a name that is free, or none";

/// What a cluster reaches.
pub(crate) const REACHED: &str = "give an `image`, a `program` (linked statically), which is uploaded, or an `address` \
                                  that the cluster's pods reach";

/// Why a runtime is not possible here.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// A program of Fabric is missing.
    #[error(
        "no `{program}` program in {}; give the directory of Fabric's binaries by --fabric-bin, or put it on PATH",
        list(looked)
    )]
    Program {
        /// `peer` or `orderer`.
        program: &'static str,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The peer does not say its version.
    #[error("`{} version` does not work: {reason}", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        reason: String,
    },
    /// The version is of no release line that is supported.
    #[error(transparent)]
    Release(#[from] fabric_network::release::ReleaseError),
    /// No engine, or not a usable one.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No cluster, or not a usable one.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The user may not do in the cluster what a run does.
    #[error(
        "in the cluster of context {context} you may not: {}; ask its administrator for these rights, or choose another \
         by --kube-context",
        denied.join(", ")
    )]
    Forbidden {
        /// The context.
        context: String,
        /// What is not allowed, such as `create namespaces`.
        denied: Vec<String>,
    },
    /// The namespace exists.
    #[error("--kube-namespace {namespace}: {IN_USE}")]
    NamespaceInUse {
        /// The namespace.
        namespace: String,
    },
    /// An image is neither there nor to be had.
    #[error(
        "the image {image} is not in the Docker engine and can't be pulled: {reason}; pull or load it, or choose another version by --fabric"
    )]
    Image {
        /// Its name and tag.
        image: String,
        /// What the engine said.
        reason: String,
    },
}

/// Why a network could not be placed or started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No directory or no reaper for the run.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// A directory of the run.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// No tap.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// No free port.
    #[error("cannot take {count} free ports on 127.0.0.1")]
    Ports {
        /// How many were needed.
        count: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More nodes than there are ports for.
    #[error("{count} nodes are too many for one machine; at most {most}")]
    TooManyNodes {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A file of the run.
    #[error("cannot write {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The bundle has a node that was not placed here, or a server that no place was taken for.
    #[error("{name} has no place in this run; render the bundle, and name the chaincodes, from what `place` returned")]
    NotPlaced {
        /// The node or chaincode server.
        name: String,
    },
    /// An image, and no containers.
    #[error("{name} is the image {image}, which only --runtime docker and kubernetes run")]
    NoContainers {
        /// The chaincode server.
        name: String,
        /// The image.
        image: String,
    },
    /// The image of a chaincode server can't be had.
    #[error(
        "the image {image} of the chaincode server is not in the Docker engine and can't be pulled: {reason}; build, \
         load or pull it"
    )]
    ServerImage {
        /// Its reference.
        image: String,
        /// Why not.
        reason: String,
    },
    /// A program can't be started.
    #[error("cannot start {name}: {}{}", program.display(), spawn_advice(source))]
    Spawn {
        /// The node or chaincode server.
        name: String,
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What a chaincode server has started does not end.
    #[error("{name} has started processes that SIGKILL does not end: {}", left.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))]
    Outlived {
        /// The chaincode server.
        name: String,
        /// The numbers of the processes.
        left: Vec<u32>,
    },
    /// It ended instead of answering.
    #[error(transparent)]
    Died(#[from] Death),
    /// It runs, but does not answer.
    #[error(transparent)]
    Silent(#[from] TimedOut),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The namespace exists.
    #[error("the namespace {namespace}: {IN_USE}")]
    NamespaceInUse {
        /// The namespace.
        namespace: String,
    },
    /// The chaincode server is on this machine, and the peers are not.
    #[error("{name} {what}, which a cluster does not reach; {}", REACHED)]
    OutOfReach {
        /// The chaincode server.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A container can't be made or started.
    #[error("cannot start the container of {name}: {reason}")]
    Container {
        /// The node or chaincode server.
        name: String,
        /// What the engine said.
        reason: String,
    },
    /// No node has this name.
    #[error("there is no node {name}; there are {}", nodes.join(", "))]
    NoSuchNode {
        /// The name that was given.
        name: String,
        /// The nodes that there are.
        nodes: Vec<String>,
    },
    /// The nodes have a loopback of their own.
    #[error(
        "is found at {address}, the loopback of this machine, and the nodes are containers with a loopback of their \
         own; let it listen where containers reach it, such as the address of Docker's bridge (172.17.0.1), and give \
         that one, or take --runtime process"
    )]
    Loopback {
        /// Where the service was found.
        address: IpAddr,
    },
    /// The nodes' loopback is that of their pods.
    #[error(
        "is found at {address}, the loopback of this machine, and the nodes are pods with a loopback of their own; give \
         the address of a CouchDB that the cluster's pods reach"
    )]
    LoopbackOfPods {
        /// Where the service was found.
        address: IpAddr,
    },
    /// The nodes of this process.
    #[error(transparent)]
    Embedded(#[from] embedded_peer::network::StartError),
    /// Embedded peers would ask no CouchDB.
    #[error(
        "would not be used: an embedded peer keeps its world state in memory; take --runtime process or docker, or \
         leave --couchdb out"
    )]
    InMemory,
    /// The run has ended meanwhile.
    #[error("the network has been stopped")]
    Ended,
}

impl RuntimeError {
    /// Whether a node ended because another program had taken its port meanwhile. To try once more,
    /// with new places, is reasonable.
    pub fn is_port_in_use(&self) -> bool {
        matches!(self, Self::Died(Death { cause: Some(Cause::PortInUse), .. }))
    }
}

/// Why a network did not start, and what was logged until then.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct StartError {
    /// Why.
    pub source: Box<RuntimeError>,
    /// The logs of what had been started, as of [`Running::logs`](super::Running::logs).
    pub logs: BTreeMap<String, String>,
}

impl From<RuntimeError> for StartError {
    fn from(source: RuntimeError) -> Self {
        Self { source: Box::new(source), logs: BTreeMap::new() }
    }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "PATH, which is empty".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn spawn_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; make it executable, and see that its file system is not mounted noexec",
        io::ErrorKind::NotFound => "; it is not there, or the interpreter or loader that it names is not",
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "; it is no program for this machine"
        }
        _ => "",
    }
}
