//! `detect SRC METADATA`: checks whether the package has a supported type. Reads metadata.json only:
//! an invalid connection.json fails in `build`, where the client gets the error.

use std::path::Path;

use crate::environment::Environment;
use crate::error::BuilderError;
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;
use crate::tree;

/// The result of [`detect`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detected {
    /// The package's metadata.json.
    pub metadata: Metadata,
}

/// Checks whether this builder supports the package whose metadata.json is in the directory `metadata`.
///
/// # Errors
/// [`BuilderError::UnsupportedType`] for a package of another builder; [`BuilderError::Metadata`] and
/// others if metadata.json is invalid or unreadable.
pub fn detect(_source: &Path, metadata: &Path, environment: &Environment) -> Result<Detected, BuilderError> {
    let metadata = read(metadata)?.1;
    environment.types.check(&metadata)?;
    Ok(Detected { metadata })
}

/// Reads metadata.json in a directory: its bytes and its content.
pub(crate) fn read(directory: &Path) -> Result<(Vec<u8>, Metadata), BuilderError> {
    let path = directory.join(metadata::FILE);
    let bytes = tree::read(&path, Path::new(metadata::FILE), tree::MAX_METADATA).map_err(|error| {
        if tree::is_missing(&error) {
            return BuilderError::Metadata(format!("not found in {}", shown_path(directory)));
        }
        error
    })?;
    let metadata = Metadata::parse(&bytes)?;
    Ok((bytes, metadata))
}
