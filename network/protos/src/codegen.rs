//! Generates the files of `src/generated/` from `proto/`, in memory.
//!
//! protox replaces protoc, so the result is the same on every machine. The program `fabric-protos-codegen` writes and
//! compares the files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Fields of the type [`bytes::Bytes`], which peers and chaincodes pass on without a copy.
const SHARED_BYTES: [&str; 7] = [
    ".protos.ChaincodeMessage.payload",
    ".protos.GetStateMultipleResult.values",
    ".protos.PutState.value",
    ".protos.QueryResultBytes.resultBytes",
    ".protos.WriteRecord.value",
    ".queryresult.KV.value",
    ".queryresult.KeyModification.value",
];

/// Why the bindings could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodegenError {
    /// A .proto file is invalid, or imports a missing one.
    #[error("cannot compile the .proto files")]
    Compile(#[from] protox::Error),
    /// A directory could not be read, or the generator could not write.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Generates every file of `src/generated/`, by its name.
///
/// `root` is the directory of this crate, which contains `proto/`.
///
/// # Errors
///
/// When a .proto file is missing or invalid.
pub fn generate(root: &Path) -> Result<BTreeMap<String, String>, CodegenError> {
    let includes = root.join("proto");
    let mut sources = Vec::new();
    collect_sources(&includes, &mut sources)?;
    sources.sort();
    let descriptors = protox::compile(&sources, [&includes])?;

    let out = tempfile::tempdir().map_err(|source| io_error(Path::new("a temporary directory"), source))?;
    let builder = tonic_prost_build::configure().build_transport(false).btree_map(".");
    SHARED_BYTES
        .iter()
        .fold(builder, tonic_prost_build::Builder::bytes)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .map_err(|source| io_error(out.path(), source))?;
    read_directory(out.path())
}

/// The existing files of `src/generated/`, by their names.
///
/// # Errors
///
/// When the directory or a file in it cannot be read.
pub fn committed(root: &Path) -> Result<BTreeMap<String, String>, CodegenError> {
    read_directory(&root.join("src/generated"))
}

/// The names of the files that differ, are missing, or are unexpected.
///
/// # Errors
///
/// As [`generate`] and [`committed`].
pub fn stale(root: &Path) -> Result<Vec<String>, CodegenError> {
    let wanted = generate(root)?;
    let present = committed(root)?;
    let mut names: Vec<String> = wanted
        .iter()
        .filter(|(name, text)| present.get(*name) != Some(text))
        .map(|(name, _)| name.clone())
        .chain(present.keys().filter(|name| !wanted.contains_key(*name)).cloned())
        .collect();
    names.sort();
    Ok(names)
}

fn collect_sources(directory: &Path, sources: &mut Vec<PathBuf>) -> Result<(), CodegenError> {
    for entry in fs::read_dir(directory).map_err(|source| io_error(directory, source))? {
        let path = entry.map_err(|source| io_error(directory, source))?.path();
        if path.is_dir() {
            collect_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            sources.push(path);
        }
    }
    Ok(())
}

fn read_directory(directory: &Path) -> Result<BTreeMap<String, String>, CodegenError> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|source| io_error(directory, source))? {
        let entry = entry.map_err(|source| io_error(directory, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).map_err(|source| io_error(&entry.path(), source))?;
        files.insert(name, text);
    }
    Ok(files)
}

fn io_error(path: &Path, source: io::Error) -> CodegenError {
    CodegenError::Io { path: path.to_owned(), source }
}
