//! `release BLD RELEASE`: copies connection.json and the CouchDB indexes of the build to where the peer
//! reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::build::{INDEX_DIRECTORIES, STATEDB};
use crate::connection::{self, Connection};
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::staging::{PUBLIC, SECRET, Staging};
use crate::tree;

/// The directory of a release from which the peer reads connection.json.
pub(crate) const SERVER: &str = "chaincode/server";

/// The result of [`release`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Released {
    /// The connection that the peer reads.
    pub connection: Connection,
    /// The number of released CouchDB index files.
    pub indexes: usize,
}

/// Releases the `output` of [`build`](crate::build()) to the directory `release`.
///
/// # Errors
/// [`BuilderError`]; `release` is then unchanged.
pub fn release(output: &Path, release: &Path) -> Result<Released, BuilderError> {
    let path = output.join(connection::FILE);
    let bytes = tree::read(&path, Path::new(connection::FILE), tree::MAX_CONNECTION).map_err(|error| {
        if tree::is_missing(&error) {
            return not_built("no such file in the build output".into());
        }
        error
    })?;
    let connection = Connection::from_built(&bytes).map_err(not_built)?;

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

fn not_built(found: String) -> BuilderError {
    let expected = "the output of this builder's build; install the package again";
    BuilderError::Connection(vec![Finding::error(connection::FILE, "", found, expected)])
}
