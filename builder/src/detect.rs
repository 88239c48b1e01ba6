//! `detect SRC METADATA`: is this package ours? Looks at metadata.json only, so that a package of
//! ours with a wrong connection.json fails in `build`, where the client sees it, and is not passed
//! on to the next builder.

use std::path::Path;

use crate::environment::Environment;
use crate::error::BuilderError;
use crate::metadata::{self, Metadata};
use crate::quote::shown_path;
use crate::tree;

/// The package is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// What its metadata.json says.
    pub metadata: Metadata,
}

/// Whether this builder takes the package whose metadata.json lies in `metadata`.
///
/// # Errors
/// [`BuilderError::UnsupportedType`] when it is another builder's; [`BuilderError::Metadata`] and
/// others when nobody could tell.
pub fn detect(_source: &Path, metadata: &Path, environment: &Environment) -> Result<Detected, BuilderError> {
    let metadata = read(metadata)?.1;
    environment.types.check(&metadata)?;
    Ok(Detected { metadata })
}

/// The bytes and the content of metadata.json in a directory.
pub(crate) fn read(directory: &Path) -> Result<(Vec<u8>, Metadata), BuilderError> {
    let path = directory.join(metadata::FILE);
    let bytes = tree::read(&path, Path::new(metadata::FILE), tree::MAX_METADATA).map_err(|error| {
        if tree::is_missing(&error) {
            return BuilderError::Metadata(format!("found none in {}", shown_path(directory)));
        }
        error
    })?;
    let metadata = Metadata::parse(&bytes)?;
    Ok((bytes, metadata))
}
