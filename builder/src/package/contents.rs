//! What goes into a package, from a directory and from options, and what no peer would take.
//! connection.json is kept as it is written, templates and all.

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

/// The files of a package to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Type and label.
    pub metadata: Metadata,
    /// The files of its code.tar.gz, connection.json among them.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Contents {
    /// Every file below a directory. A metadata.json at its top gives label and type and is not
    /// among the files.
    ///
    /// # Errors
    /// A file that can't be read, a link or special file, more than the limits allow.
    pub fn of_directory(directory: &Path) -> Result<Self, PackageError> {
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

    /// Sets a field of connection.json, which is begun if there is none.
    ///
    /// # Errors
    /// When the connection.json that is there is not one.
    pub fn set(&mut self, field: Field, value: Value) -> Result<(), PackageError> {
        let path = PathBuf::from(connection::FILE);
        let mut object = match self.files.get(&path) {
            Some(bytes) => json::object(bytes).map_err(|problem| {
                PackageError::Refused(format!("{}: found a file that {problem}", connection::FILE))
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

    /// The package, the same bytes from the same content, as [`super::Package::to_bytes`] makes it.
    /// Comes with warnings: what a peer without settings of its own would find wrong, too.
    ///
    /// # Errors
    /// What no peer would take.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<Finding>), PackageError> {
        if self.metadata.kind.is_empty() {
            return Err(PackageError::Refused("type: found none, expected ccaas".to_owned()));
        }
        let Some(connection) = self.files.get(Path::new(connection::FILE)) else {
            let expected = "one in the directory, or options for it such as --address";
            return Err(PackageError::Refused(format!("{}: found none, expected {expected}", connection::FILE)));
        };
        let draft = Draft::parse(connection).map_err(PackageError::Connection)?;
        let findings = resolve(&draft, &Environment::default()).map_or_else(|findings| findings, |made| made.warnings);
        let warnings = findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }).collect();
        let mut warnings: Vec<Finding> = warnings;
        warnings.extend(self.other_type());
        let mut files = BTreeMap::new();
        for (path, bytes) in &self.files {
            warnings.extend(private_key(path, bytes));
            let name =
                path.to_str().filter(|_| tree::is_plain(path)).ok_or_else(|| PackageError::Path(path.clone()))?;
            files.insert(name, bytes.as_slice());
        }
        Ok((archive_files(&self.metadata, files)?, warnings))
    }

    /// A type that peers take only with a setting.
    fn other_type(&self) -> Option<Finding> {
        let expected = "ccaas or external; others only a peer takes whose CORE_PEER_CC_BUILDER_TYPES names them";
        let refused = Types::default().check(&self.metadata).is_err();
        refused.then(|| Finding::warning(metadata::FILE, "type", quoted(&self.metadata.kind), expected))
    }
}

/// A private key in any file but connection.json, whose own findings tell of one.
fn private_key(path: &Path, bytes: &[u8]) -> Option<Finding> {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let found = path != Path::new(connection::FILE) && bytes.windows(MARK.len()).any(|window| window == MARK);
    let expected = "none: whoever has the package has the key";
    found.then(|| Finding::warning(shown_path(path), "", "a private key in the package", expected))
}
