//! The files of a new package, from a directory and from options. connection.json is packaged unchanged,
//! with its templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{PackageError, archive_files};
use crate::connection::{self, Draft, Field};
use crate::environment::Environment;
use crate::explain::findings;
use crate::finding::Finding;
use crate::metadata::{self, Metadata};
use crate::tree::Source;
use crate::{detect, json, tree};

/// The contents of a new package.
///
/// ```
/// use ccaas_builder::connection::Field;
/// use ccaas_builder::package::Contents;
///
/// let mut contents = Contents::default();
/// contents.metadata.kind = "ccaas".into();
/// contents.metadata.label = "basic_1.0".into();
/// contents.set(Field::Address, "basic:9999".into())?;
/// contents.set(Field::TlsRequired, false.into())?;
/// let (_bytes, warnings) = contents.to_bytes()?;
/// assert!(warnings.is_empty());
/// # Ok::<(), ccaas_builder::package::PackageError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Package type and label.
    pub metadata: Metadata,
    /// The files of code.tar.gz, including connection.json.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Contents {
    /// All files in a directory. A metadata.json at its top level sets label and type.
    ///
    /// # Errors
    /// An unreadable file, a link or special file, or more than the limits allow.
    pub fn from_directory(directory: &Path) -> Result<Self, PackageError> {
        let mut contents = Self::default();
        let metadata_file = Path::new(metadata::FILE);
        for entry in tree::files(directory, Path::new(""))? {
            if entry.path == metadata_file {
                contents.metadata = detect::read(directory)?.1;
                continue;
            }
            let bytes = tree::read(&directory.join(&entry.path), &entry.path, entry.size)?;
            contents.files.insert(entry.path, bytes);
        }
        Ok(contents)
    }

    /// Sets a field of connection.json, and creates the file if it is missing.
    ///
    /// # Errors
    /// If the existing connection.json is not a JSON object.
    pub fn set(&mut self, field: Field, value: Value) -> Result<(), PackageError> {
        let path = PathBuf::from(connection::FILE);
        let mut object = match self.files.get(&path) {
            Some(bytes) => json::object(bytes).map_err(|problem| {
                PackageError::Invalid(format!("{}: found {problem}, expected a JSON object", connection::FILE))
            })?,
            None => serde_json::Map::new(),
        };
        object.retain(|name, _| json::folded(name) != field.name());
        object.insert(field.name().to_owned(), value);
        let mut object = Value::Object(object);
        object.sort_all_objects();
        self.files.insert(path, object.to_string().into_bytes());
        Ok(())
    }

    /// The package, in the format of [`super::Package::to_bytes`], with warnings. Errors that a peer's
    /// settings could fix are warnings.
    ///
    /// # Errors
    /// If peers would reject the package.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<Finding>), PackageError> {
        if self.metadata.kind.is_empty() {
            return Err(PackageError::Invalid("type: found nothing, expected ccaas".to_owned()));
        }
        let Some(connection) = self.files.get(Path::new(connection::FILE)) else {
            let expected = "one in the directory, or options for its fields such as --address";
            return Err(PackageError::Invalid(format!(
                "{}: found no such file, expected {expected}",
                connection::FILE
            )));
        };
        Draft::parse(connection).map_err(PackageError::Connection)?;
        let mut files = BTreeMap::new();
        for (path, bytes) in &self.files {
            let name =
                path.to_str().filter(|_| tree::is_relative(path)).ok_or_else(|| PackageError::Path(path.clone()))?;
            files.insert(name, bytes.as_slice());
        }
        let bytes = archive_files(&self.metadata, files)?;
        let findings = findings(Source::Files(&self.files), &self.metadata, &[], &Environment::default())?;
        Ok((bytes, findings.into_iter().map(Finding::for_any_peer).collect()))
    }
}
