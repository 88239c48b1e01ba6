//! Reads the identities of `--identities DIR` from disk. What they are worth is decided where they are
//! used.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fabric_network::identity::ExistingIdentities;

/// No certificate or key is as large.
const MOST_BYTES: u64 = 64 * 1024;
/// A network of a hundred organizations with ten nodes each has some twenty thousand.
const MOST_FILES: usize = 200_000;
/// `organizations/peerOrganizations/DOMAIN/peers/NODE/msp/keystore` are seven.
const MOST_LEVELS: usize = 10;
/// What `cryptogen`, and a bundle in its `organizations/`, has.
const TREES: [&str; 2] = ["ordererOrganizations", "peerOrganizations"];

/// The identities can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentitiesError {
    /// Not the layout.
    #[error(
        "--identities {}: neither organizations/ nor peerOrganizations/ is there; give a former bundle, or a directory \
         with peerOrganizations/DOMAIN/{{ca,tlsca}}/ and ordererOrganizations/DOMAIN/{{ca,tlsca}}/",
        path.display()
    )]
    Layout {
        /// What was given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("--identities: {} can't be read", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Something that is no identity.
    #[error("--identities: {} {problem}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Reads every file below the two trees, which are in the directory or in its `organizations/`.
pub(super) fn read(directory: &Path) -> Result<ExistingIdentities, IdentitiesError> {
    let inner = directory.join("organizations");
    let root = if inner.is_dir() { inner } else { directory.to_owned() };
    if !TREES.iter().any(|tree| root.join(tree).is_dir()) {
        return Err(IdentitiesError::Layout { path: directory.to_owned() });
    }
    let mut files = BTreeMap::new();
    for tree in TREES {
        let from = root.join(tree);
        if from.is_dir() {
            read_directory(&from, &Path::new("organizations").join(tree), &mut files)?;
        }
    }
    Ok(ExistingIdentities::new(files))
}

fn read_directory(
    directory: &Path,
    name: &Path,
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), IdentitiesError> {
    let failed = |source| IdentitiesError::Io { path: directory.to_owned(), source };
    if name.iter().count() > MOST_LEVELS {
        return Err(IdentitiesError::Refused { path: directory.to_owned(), problem: "has too many levels" });
    }
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            read_directory(&path, &name, files)?;
        } else if kind.is_file() {
            let is_there = files.len() < MOST_FILES;
            let refused = |problem| IdentitiesError::Refused { path: path.clone(), problem };
            if !is_there {
                return Err(refused("is one file too many: there are more than any network has"));
            }
            // The configuration next to an identity is made anew.
            if is_identity(&name) {
                files.insert(name, read_file(&path)?);
            }
        } else {
            return Err(IdentitiesError::Refused { path, problem: "is no file: a link is not followed" });
        }
    }
    Ok(())
}

fn is_identity(name: &Path) -> bool {
    let extension = name.extension().and_then(|extension| extension.to_str());
    let file = name.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    matches!(extension, Some("pem" | "crt" | "key")) || file.ends_with("_sk")
}

fn read_file(path: &Path) -> Result<Vec<u8>, IdentitiesError> {
    crate::console::read_file(path, MOST_BYTES).map_err(|source| IdentitiesError::Io { path: path.to_owned(), source })
}
