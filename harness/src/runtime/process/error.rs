//! Errors that only the process runtime has.

use std::path::PathBuf;

use fabric_network::release::ReleaseError;

use crate::runtime::Unavailable;

/// Why the process runtime is unavailable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of Fabric is missing.
    #[error(
        "no `{program}` program in {}; give the directory of Fabric's programs with --fabric-bin, or put it on PATH",
        list(looked)
    )]
    Program {
        /// `peer` or `orderer`.
        program: &'static str,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// Fabric's programs would look in another directory.
    #[error(
        "the directory for runs, {}, contains `$`, which Fabric's programs expand as a variable; set TMPDIR to another one",
        directory.display()
    )]
    Directory {
        /// Where the run's directory would be.
        directory: PathBuf,
    },
    /// A program does not print its version.
    #[error("`{} version` failed: {reason}", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        reason: String,
    },
    /// The programs are of another version than the required one.
    #[error(
        "--fabric {asked} was given, but {} is {version}; give the directory of the other version with --fabric-bin",
        peer.display()
    )]
    OtherVersion {
        /// The required version.
        asked: String,
        /// The peer that was found.
        peer: PathBuf,
        /// Its version.
        version: String,
    },
    /// The version is of no supported release line.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl From<Error> for Unavailable {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "PATH, which is empty".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
