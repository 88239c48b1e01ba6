//! `release BLD RELEASE`: gives the peer the connection.json of the build, where it looks for it,
//! and the CouchDB indexes. Changes nothing in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::build::{INDEX_DIRECTORIES, STATEDB};
use crate::connection::{self, Connection};
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::staging::{PUBLIC, SECRET, Staging};
use crate::tree;

/// Where the peer looks for connection.json in a release.
pub(crate) const SERVER: &str = "chaincode/server";

/// What a release gave to the peer.
#[derive(Clone, Debug)]
pub struct Released {
    /// The connection that the peer will read.
    pub connection: Connection,
    /// Files below `statedb/`.
    pub indexes: usize,
}

/// Releases what [`build`](crate::build()) left in `output` into `release`.
///
/// # Errors
/// [`BuilderError`]; then nothing new is in `release`.
pub fn release(output: &Path, release: &Path) -> Result<Released, BuilderError> {
    let path = output.join(connection::FILE);
    let bytes = tree::read(&path, Path::new(connection::FILE), tree::MAX_CONNECTION).map_err(|error| {
        if tree::is_missing(&error) {
            return unbuilt("none in the build output".into());
        }
        error
    })?;
    let connection = Connection::from_built(&bytes).map_err(|problem| unbuilt(format!("a file that {problem}")))?;

    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for directory in INDEX_DIRECTORIES {
        let below = PathBuf::from(directory).join(STATEDB);
        for entry in tree::files(output, &below)? {
            if seen.insert(entry.path.clone()) {
                files.push((output.join(&below), entry));
            }
        }
    }

    let mut staging = Staging::begin(release)?;
    for (from, entry) in &files {
        staging.copy(from, entry, &PathBuf::from(STATEDB).join(&entry.path))?;
    }
    let mode = if connection.has_key() { SECRET } else { PUBLIC };
    staging.write(&Path::new(SERVER).join(connection::FILE), bytes.as_slice(), mode)?;
    staging.publish("chaincode")?;
    Ok(Released { connection, indexes: files.len() })
}

fn unbuilt(found: String) -> BuilderError {
    let expected = "what this builder's build wrote; install the package again";
    BuilderError::Connection(vec![Finding::error(connection::FILE, "", found, expected)])
}
