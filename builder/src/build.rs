//! `build SRC METADATA BLD`: writes the connection.json of this peer, and copies what `release` needs:
//! metadata.json and the directories with CouchDB indexes. Everything is checked before anything is
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::connection::{self, Connection, Draft, Field};
use crate::detect;
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::indexes::{self, InvalidIndex};
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;
use crate::resolve::{Resolved, resolve};
use crate::staging::{PUBLIC, SECRET, Staging};
use crate::tree::{self, Entry, Source};

/// The directories of a package with CouchDB indexes: that of Fabric, and that of the sample in its
/// documentation. If both have the same file, the first one is used.
pub(crate) const INDEX_DIRECTORIES: [&str; 2] = ["META-INF", "metadata"];
/// The directory in those and in a release that has the indexes.
pub(crate) const STATEDB: &str = "statedb";

/// The result of [`build`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Built {
    /// The package's metadata.json.
    pub metadata: Metadata,
    /// The connection.json that was written.
    pub connection: Connection,
    /// The number of copied CouchDB index files.
    pub indexes: usize,
    /// Warnings for the operator.
    pub warnings: Vec<Finding>,
}

/// A checked build: everything was read, nothing is written yet.
pub(crate) struct Plan {
    pub(crate) built: Built,
    /// The origin of each field of the connection.
    pub(crate) sources: BTreeMap<Field, String>,
    /// Directories of the package, and their files to copy.
    pub(crate) trees: Vec<(&'static str, Vec<Entry>)>,
}

/// Builds the package that is unpacked in `source` and `metadata`, and writes to `output`.
///
/// # Errors
/// [`BuilderError`]; `output` is then unchanged.
pub fn build(source: &Path, metadata: &Path, output: &Path, environment: &Environment) -> Result<Built, BuilderError> {
    let (metadata_bytes, metadata) = detect::read(metadata)?;
    environment.types.check(&metadata)?;
    let Plan { built, trees, .. } = plan(Source::Directory(source), metadata, environment)?;
    let mut staging = Staging::begin(output)?;
    staging.write(Path::new(metadata::FILE), metadata_bytes.as_slice(), PUBLIC)?;
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

/// Checks everything that a build needs, and reports all findings together.
pub(crate) fn plan(source: Source<'_>, metadata: Metadata, environment: &Environment) -> Result<Plan, BuilderError> {
    let (environment, mut warnings) = environment.for_package(&metadata).map_err(BuilderError::Connection)?;
    let resolved = match read_connection(source, &environment) {
        Ok(mut resolved) => {
            warnings.append(&mut resolved.warnings);
            Ok(resolved)
        }
        Err(BuilderError::Connection(findings)) => Err(findings),
        Err(error) => return Err(error),
    };
    let trees = check_trees(source, &mut warnings);
    let Resolved { connection, sources, .. } = resolved.map_err(|mut findings| {
        findings.append(&mut warnings);
        BuilderError::Connection(findings)
    })?;
    let trees = trees?;
    let indexes: BTreeSet<&PathBuf> = trees
        .iter()
        .flat_map(|(_, files)| files)
        .map(|file| &file.path)
        .filter(|path| path.starts_with(STATEDB))
        .collect();
    let built = Built { metadata, connection, indexes: indexes.len(), warnings };
    Ok(Plan { built, sources, trees })
}

fn check_trees(
    source: Source<'_>,
    warnings: &mut Vec<Finding>,
) -> Result<Vec<(&'static str, Vec<Entry>)>, BuilderError> {
    let mut trees = Vec::new();
    for name in INDEX_DIRECTORIES {
        let files = source.files(Path::new(name))?;
        for entry in &files {
            warnings.extend(check(source, name, entry)?);
        }
        trees.push((name, files));
    }
    Ok(trees)
}

fn read_connection(source: Source<'_>, environment: &Environment) -> Result<Resolved, BuilderError> {
    let bytes = source.read(Path::new(connection::FILE), tree::MAX_CONNECTION).map_err(|error| {
        if tree::is_missing(&error) {
            let expected = "one at the top level of code.tar.gz";
            return BuilderError::Connection(vec![Finding::error(connection::FILE, "", "no such file", expected)]);
        }
        error
    })?;
    let draft = Draft::parse(&bytes).map_err(BuilderError::Connection)?;
    resolve(&draft, environment).map_err(BuilderError::Connection)
}

/// A warning for a file from which peers create no index. The file is copied nevertheless: other builders
/// do, and the chaincode works without its indexes.
fn check(source: Source<'_>, directory: &str, entry: &Entry) -> Result<Option<Finding>, BuilderError> {
    let shown = PathBuf::from(directory).join(&entry.path);
    let Ok(below) = entry.path.strip_prefix(STATEDB) else {
        let found = "a file that peers ignore";
        let expected = format!("indexes in {directory}/{STATEDB}/couchdb/");
        // Case-sensitive, as in a peer.
        let is_index = entry.path.extension() == Some("json".as_ref());
        let report = if is_index { Finding::warning } else { Finding::advice };
        return Ok(Some(report(shown_path(&shown), "", found, expected)));
    };
    let warning = |InvalidIndex { found, expected }: InvalidIndex| {
        Some(Finding::warning(shown_path(&shown), "", found, expected))
    };
    if let Err(problem) = indexes::check_path(below) {
        return Ok(warning(problem));
    }
    let bytes = source.read(&shown, tree::MAX_INDEX)?;
    Ok(indexes::check_content(&bytes).err().and_then(warning))
}
