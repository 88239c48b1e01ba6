//! The error of detect, build and release, with its exit code.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::finding::{Finding, Severity};
use crate::quote::shown_path;

/// The error of [`detect`](crate::detect()), [`build`](crate::build()) and
/// [`release`](crate::release()).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuilderError {
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", shown_path(.path))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}", shown_path(.path))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A link, a special file, or a size or number of files over the limits.
    #[error("{path}: {problem}")]
    Unsafe {
        /// Path within the package, escaped.
        path: String,
        /// What it is, and what is accepted instead.
        problem: String,
    },
    /// metadata.json is missing or invalid.
    #[error(
        "metadata.json: {0}; create the package with `peer lifecycle chaincode package`, or write {{\"type\":\"ccaas\",\"label\":\"LABEL\"}}"
    )]
    Metadata(String),
    /// A package for another builder.
    #[error("metadata.json: unsupported type {found}; this builder supports {supported} (case-insensitive)")]
    UnsupportedType {
        /// The type in metadata.json, quoted.
        found: String,
        /// The supported types, comma-separated.
        supported: String,
    },
    /// connection.json or a setting of the peer is invalid. Errors and warnings, in the order found.
    #[error("{} in connection.json or the peer's settings", counted(.0))]
    Connection(Vec<Finding>),
}

impl BuilderError {
    /// The exit code for this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Write { .. } => Exit::Io,
            Self::Unsafe { .. } => Exit::Unsafe,
            Self::Metadata(_) => Exit::Metadata,
            Self::UnsupportedType { .. } => Exit::UnsupportedType,
            Self::Connection(_) => Exit::Connection,
        }
    }

    /// The findings of a [`BuilderError::Connection`]; empty for other errors.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Connection(findings) => findings,
            _ => &[],
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

fn counted(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    format!("{errors} error{}", if errors == 1 { "" } else { "s" })
}
