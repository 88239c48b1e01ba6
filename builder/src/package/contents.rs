//! The files of a new package, from a directory and from options. connection.json is packaged unchanged,
//! with its templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{PackageError, archive_files};
use crate::connection::{self, Draft, Field};
use crate::environment::Environment;
use crate::finding::{Finding, Severity};
use crate::metadata::{self, Metadata, Types};
use crate::quote::{quoted, shown_path};
use crate::resolve::resolve;
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
        let draft = Draft::parse(connection).map_err(PackageError::Connection)?;
        let findings =
            resolve(&draft, &Environment::default()).map_or_else(|findings| findings, |resolved| resolved.warnings);
        let warnings = findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }).collect();
        let mut warnings: Vec<Finding> = warnings;
        warnings.extend(self.unusual_type());
        let mut files = BTreeMap::new();
        for (path, bytes) in &self.files {
            warnings.extend(private_key(path, bytes));
            let name =
                path.to_str().filter(|_| tree::is_relative(path)).ok_or_else(|| PackageError::Path(path.clone()))?;
            files.insert(name, bytes.as_slice());
        }
        Ok((archive_files(&self.metadata, files)?, warnings))
    }

    /// A warning for a type that peers support only with a setting.
    fn unusual_type(&self) -> Option<Finding> {
        let expected = "ccaas or external; peers support other types only if CORE_PEER_CC_BUILDER_TYPES lists them";
        let unusual = Types::default().check(&self.metadata).is_err();
        unusual.then(|| Finding::warning(metadata::FILE, "type", quoted(&self.metadata.kind), expected))
    }
}

/// A warning for a private key in a file other than connection.json, which has its own warnings.
fn private_key(path: &Path, bytes: &[u8]) -> Option<Finding> {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let found = path != Path::new(connection::FILE) && bytes.windows(MARK.len()).any(|window| window == MARK);
    let expected = "none, because everyone with the package has the key";
    found.then(|| Finding::warning(shown_path(path), "", "a private key in the package", expected))
}
