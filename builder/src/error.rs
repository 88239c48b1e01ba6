//! Why a program of this builder could not do its work, and the exit code that goes with it.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::finding::Finding;
use crate::quote::shown_path;

/// The error of [`detect`](crate::detect()), [`build`](crate::build()) and
/// [`release`](crate::release()).
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    /// A file or directory could not be read.
    #[error("{}: could not be read: {source}", shown_path(.path))]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("{}: could not be written: {source}", shown_path(.path))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A link, a special file, or more than the limits allow.
    #[error("{path}: {problem}")]
    Unsafe {
        /// Path within the package, escaped.
        path: String,
        /// What it is, and what is taken instead.
        problem: String,
    },
    /// metadata.json is not one.
    #[error(
        "metadata.json: {0}; package it with `peer lifecycle chaincode package`, or as {{\"type\":\"ccaas\",\"label\":\"…\"}}"
    )]
    Metadata(String),
    /// A package of another builder.
    #[error("metadata.json: type: found {found}, this builder takes {takes} (in any case)")]
    UnsupportedType {
        /// The type that metadata.json names, quoted.
        found: String,
        /// The types that are taken, comma-separated.
        takes: String,
    },
    /// connection.json, or a setting on the peer, is wrong. Errors and warnings in the order found.
    #[error("{} in connection.json and the settings for it", counted(.0))]
    Connection(Vec<Finding>),
}

impl BuilderError {
    /// The exit code that names this cause.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Write { .. } => Exit::Io,
            Self::Unsafe { .. } => Exit::Unsafe,
            Self::Metadata(_) => Exit::Metadata,
            Self::UnsupportedType { .. } => Exit::UnsupportedType,
            Self::Connection(_) => Exit::Connection,
        }
    }

    /// The single findings behind a [`BuilderError::Connection`].
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
    use crate::finding::Severity;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    format!("{errors} error{}", if errors == 1 { "" } else { "s" })
}
