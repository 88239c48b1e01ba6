//! `run BLD RUN_METADATA`: reports why the peer called `run`, which it does if a release has no valid
//! chaincode/server/connection.json. Starts nothing.

use std::path::Path;

use crate::connection::{self, Connection};
use crate::json;
use crate::quote::{quoted_path, shown_path};
use crate::release::SERVER;
use crate::tree;

/// Why the peer called `run`, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "run: chaincode {chaincode} runs as a service and is not started by the peer; the peer called run because {cause}; {remedy}"
)]
pub struct RunError {
    /// The package ID, quoted, or `with unknown package ID`.
    pub chaincode: String,
    /// What is missing or invalid.
    pub cause: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A peer does not rebuild a package that it has built since it started.
const REBUILD: &str =
    "remove this build's directory under externalbuilder/builds on the peer and restart the peer to rebuild it";
const RETRY: &str = "the release is complete now; retry the transaction";

/// Finds out why the peer called `run`. `output` is the build output; the release is in the directory
/// `release` next to it.
pub fn run(output: &Path, run_metadata: &Path) -> RunError {
    let file = run_metadata.join("chaincode.json");
    let chaincode = tree::read(&file, Path::new("chaincode.json"), tree::MAX_CONNECTION)
        .ok()
        .and_then(|bytes| json::object(&bytes).ok())
        .and_then(|object| object.get("chaincode_id").and_then(|id| id.as_str().map(quoted_path)))
        .unwrap_or_else(|| "with unknown package ID".to_owned());
    let (cause, remedy) = cause(output);
    RunError { chaincode, cause, remedy }
}

fn cause(output: &Path) -> (String, &'static str) {
    let read = |path: &Path| tree::read(path, Path::new(connection::FILE), tree::MAX_CONNECTION);
    if let Err(error) = read(&output.join(connection::FILE)) {
        let problem = if tree::is_missing(&error) {
            "has no connection.json: this builder did not build it".to_owned()
        } else {
            format!("is unreadable ({error})")
        };
        return (format!("the build in {} {problem}", shown_path(output)), REBUILD);
    }
    let released = output.parent().unwrap_or(Path::new("..")).join("release").join(SERVER).join(connection::FILE);
    let shown = shown_path(&released);
    match read(&released) {
        Err(error) if tree::is_missing(&error) => {
            (format!("{shown} is missing: release did not run, or its output was removed"), REBUILD)
        }
        Err(error) => (format!("{shown} is unreadable ({error})"), REBUILD),
        Ok(bytes) => match Connection::from_built(&bytes) {
            Err(problem) => (format!("{shown} contains {problem}"), REBUILD),
            Ok(_) => (format!("{shown} did not exist yet"), RETRY),
        },
    }
}
