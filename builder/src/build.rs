//! `build SRC METADATA BLD`: makes the connection.json of this peer, and takes along what `release`
//! needs: metadata.json, META-INF, and the metadata directory of Fabric's documentation. Everything
//! is read and checked before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::connection::{self, Connection, Draft, Field};
use crate::detect;
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::indexes::{self, Misfit};
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;
use crate::resolve::{Resolved, resolve};
use crate::staging::{PUBLIC, SECRET, Staging};
use crate::tree::{self, Entry};

/// The directories of a package in which CouchDB indexes lie: Fabric's own, and that of the sample
/// in its documentation. The first one wins where both have the same file.
pub(crate) const INDEX_DIRECTORIES: [&str; 2] = ["META-INF", "metadata"];
/// Below those, and in a release.
pub(crate) const STATEDB: &str = "statedb";

/// What a build made.
#[derive(Clone, Debug)]
pub struct Built {
    /// What the package's metadata.json says.
    pub metadata: Metadata,
    /// The connection.json that was written.
    pub connection: Connection,
    /// Files below `statedb/` that were taken along.
    pub indexes: usize,
    /// What the operator should know.
    pub warnings: Vec<Finding>,
}

/// What a build will do: everything read and checked, nothing written.
pub(crate) struct Plan {
    pub(crate) built: Built,
    /// Where each field of the connection is from.
    pub(crate) sources: BTreeMap<Field, String>,
    /// Directories of the package, and their files to take along.
    pub(crate) trees: Vec<(&'static str, Vec<Entry>)>,
    metadata: Vec<u8>,
}

/// Builds the package unpacked in `source` and `metadata` into `output`.
///
/// # Errors
/// [`BuilderError`]; then nothing new is in `output`.
pub fn build(source: &Path, metadata: &Path, output: &Path, environment: &Environment) -> Result<Built, BuilderError> {
    let Plan { built, trees, metadata, .. } = plan(source, metadata, environment)?;
    let mut staging = Staging::begin(output)?;
    staging.write(Path::new(metadata::FILE), metadata.as_slice(), PUBLIC)?;
    for (name, files) in trees {
        for entry in files {
            staging.copy(&source.join(name), &entry, &PathBuf::from(name).join(&entry.path))?;
        }
    }
    let mode = if built.connection.has_key() { SECRET } else { PUBLIC };
    staging.write(Path::new(connection::FILE), built.connection.to_bytes().as_slice(), mode)?;
    staging.publish(connection::FILE)?;
    Ok(built)
}

pub(crate) fn plan(source: &Path, metadata: &Path, environment: &Environment) -> Result<Plan, BuilderError> {
    let (metadata_bytes, metadata) = detect::read(metadata)?;
    environment.types.check(&metadata)?;
    let (environment, mut warnings) = environment.for_package(&metadata).map_err(BuilderError::Connection)?;
    let resolved = read_connection(source, &environment)?;
    warnings.extend(resolved.warnings);
    let mut trees = Vec::new();
    let mut statedb = BTreeSet::new();
    for name in INDEX_DIRECTORIES {
        let files = tree::files(source, Path::new(name))?;
        for entry in &files {
            if entry.path.starts_with(STATEDB) {
                statedb.insert(entry.path.clone());
            }
            warnings.extend(check(source, name, entry)?);
        }
        trees.push((name, files));
    }
    let built = Built { metadata, connection: resolved.connection, indexes: statedb.len(), warnings };
    Ok(Plan { built, sources: resolved.sources, trees, metadata: metadata_bytes })
}

fn read_connection(source: &Path, environment: &Environment) -> Result<Resolved, BuilderError> {
    let path = source.join(connection::FILE);
    let bytes = tree::read(&path, Path::new(connection::FILE), tree::MAX_CONNECTION).map_err(|error| {
        if tree::is_missing(&error) {
            let expected = "connection.json at the top of code.tar.gz";
            return BuilderError::Connection(vec![Finding::error(
                connection::FILE,
                "",
                "none in the package",
                expected,
            )]);
        }
        error
    })?;
    let draft = Draft::parse(&bytes).map_err(BuilderError::Connection)?;
    resolve(&draft, environment).map_err(BuilderError::Connection)
}

/// A warning for a file that no peer would make an index of. It is taken along all the same: other
/// builders do, and a chaincode works without its indexes.
fn check(source: &Path, directory: &str, entry: &Entry) -> Result<Option<Finding>, BuilderError> {
    let shown = PathBuf::from(directory).join(&entry.path);
    let Ok(below) = entry.path.strip_prefix(STATEDB) else {
        let found = "a file that no peer looks at";
        return Ok(Some(Finding::warning(
            shown_path(&shown),
            "",
            found,
            format!("indexes below {directory}/{STATEDB}/couchdb/"),
        )));
    };
    let misfit = |Misfit { found, expected }: Misfit| Some(Finding::warning(shown_path(&shown), "", found, expected));
    if let Err(problem) = indexes::check_place(below) {
        return Ok(misfit(problem));
    }
    let bytes = tree::read(&source.join(&shown), &shown, tree::MAX_INDEX)?;
    Ok(indexes::check_content(&bytes).err().and_then(misfit))
}
