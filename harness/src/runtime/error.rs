//! Errors that all runtimes share. Each runtime has an error type of its own for the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::exit::{Cause, UnexpectedExit};
use super::registry;
use crate::cleanup::{RunGuardError, WorkspaceError};
use crate::console::error_text;
use crate::tap::TapError;
use crate::wait::TimedOut;

/// Why a runtime is unavailable: an error of that runtime, such as [`process::Error`](super::process::Error).
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unavailable(Box<dyn std::error::Error + Send + Sync>);

impl Unavailable {
    /// Wraps the error of a runtime.
    pub fn new(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}

/// A network that cannot be placed, started or controlled.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The run has no directory or no reaper.
    #[error(transparent)]
    RunGuard(#[from] RunGuardError),
    /// A directory of the run cannot be created.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// A tap cannot be placed.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// Too few free ports.
    #[error("cannot take {count} free ports on 127.0.0.1")]
    Ports {
        /// How many are needed.
        count: usize,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file of the run cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A node or chaincode server has no reserved place.
    #[error("{name} was not placed; render the bundle, and name the chaincodes, from what `place` returned")]
    NotPlaced {
        /// The node or chaincode server.
        name: String,
    },
    /// The runtime does not run images.
    #[error(
        "{name} is the image {image}, which only --runtime {} run",
        registry::names_with(|capabilities| capabilities.takes_images)
    )]
    NoContainers {
        /// The chaincode server.
        name: String,
        /// The image.
        image: String,
    },
    /// A program cannot be started.
    #[error("cannot start {name}: {}{}", program.display(), spawn_advice(source))]
    Spawn {
        /// The node or chaincode server.
        name: String,
        /// The program.
        program: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Processes of a chaincode server do not exit.
    #[error("processes of {name} did not exit on SIGKILL: {}", left.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))]
    Outlived {
        /// The chaincode server.
        name: String,
        /// The process IDs.
        left: Vec<u32>,
    },
    /// A node or server exited instead of answering.
    #[error(transparent)]
    Exited(#[from] UnexpectedExit),
    /// A node or server runs, but does not answer.
    #[error(transparent)]
    Silent(#[from] TimedOut),
    /// Another program listens on the port of a chaincode server.
    #[error("{name} cannot listen on 127.0.0.1:{port}: {holder} listens there; run again, which takes another port")]
    PortTaken {
        /// The chaincode server.
        name: String,
        /// The port.
        port: u16,
        /// The other program.
        holder: PortHolder,
    },
    /// A container cannot be created or started.
    #[error("cannot start the container of {name}: {reason}")]
    Container {
        /// The node or chaincode server.
        name: String,
        /// The error of the engine or cluster.
        reason: String,
    },
    /// No node has this name.
    #[error("no node {name}; the nodes are {}", nodes.join(", "))]
    NoSuchNode {
        /// The name that was given.
        name: String,
        /// The existing nodes.
        nodes: Vec<String>,
    },
    /// An error of one runtime, such as [`embedded::Error`](super::embedded::Error).
    #[error(transparent)]
    Specific(Box<dyn std::error::Error + Send + Sync>),
    /// The run has ended.
    #[error("the network has been stopped")]
    Ended,
}

crate::console::debug_as_text!(RuntimeError);

impl RuntimeError {
    /// An error that only one runtime has.
    pub fn specific(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Specific(Box::new(error))
    }

    /// Whether another program took a port after it was chosen. Placing and starting again takes other ports.
    pub fn is_port_in_use(&self) -> bool {
        match self {
            Self::PortTaken { .. } => true,
            Self::Exited(exit) => exit.cause == Some(Cause::PortInUse),
            Self::Container { reason, .. } => Cause::is_port_in_use(reason),
            Self::Specific(error) => Cause::is_port_in_use(&error_text(&**error)),
            _ => false,
        }
    }
}

/// A program that listens on a port that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// The ID of its process.
    pub process: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} ({})", self.process, self.name)
    }
}

/// A network that did not start.
#[derive(thiserror::Error)]
#[error("{source}")]
pub struct StartError {
    /// The cause.
    pub source: Box<RuntimeError>,
    /// The logs until then, as of [`Running::logs`](super::Running::logs).
    pub logs: BTreeMap<String, String>,
}

crate::console::debug_as_text!(StartError);

impl From<RuntimeError> for StartError {
    fn from(source: RuntimeError) -> Self {
        Self { source: Box::new(source), logs: BTreeMap::new() }
    }
}

fn spawn_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; make it executable, and check that its file system is not mounted noexec",
        io::ErrorKind::NotFound => "; the file, or the interpreter or loader that it names, does not exist",
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "; not a program for this machine"
        }
        _ => "",
    }
}
