//! `run BLD RUN_METADATA`: chaincode that runs as a service is not started by its peer, so this
//! only finds out why the peer tried to. A peer calls `run` when a release has no
//! chaincode/server/connection.json. Starts nothing.

use std::path::Path;

use crate::connection::{self, Connection};
use crate::json;
use crate::quote::{quoted_path, shown_path};
use crate::release::SERVER;
use crate::tree;

/// Why the peer called `run`, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "run: chaincode {chaincode} runs as a service and is not started by the peer; the peer called run because {cause}; {remedy}"
)]
pub struct Refusal {
    /// The package ID, or `of unknown package ID`.
    pub chaincode: String,
    /// What is missing.
    pub cause: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A peer that has built a package since it started does not build it again, whatever is installed.
const BUILD_AGAIN: &str = "remove this build's directory under externalbuilder/builds on the peer and restart the peer, which builds it again";
const CALL_AGAIN: &str = "the release is complete: call the chaincode again";

/// Says why a chaincode cannot be run. A peer keeps a build in `<builds>/<package ID>/bld`, with its
/// release beside it.
pub fn run(output: &Path, run_metadata: &Path) -> Refusal {
    let file = run_metadata.join("chaincode.json");
    let chaincode = tree::read(&file, Path::new("chaincode.json"), tree::MAX_CONNECTION)
        .ok()
        .and_then(|bytes| json::object(&bytes).ok())
        .and_then(|object| object.get("chaincode_id").and_then(|id| id.as_str().map(quoted_path)))
        .unwrap_or_else(|| "of unknown package ID".to_owned());
    let (cause, remedy) = cause(output);
    Refusal { chaincode, cause, remedy }
}

fn cause(output: &Path) -> (String, &'static str) {
    let read = |path: &Path| tree::read(path, Path::new(connection::FILE), tree::MAX_CONNECTION);
    if let Err(error) = read(&output.join(connection::FILE)) {
        let problem = if tree::is_missing(&error) {
            "was not made by this builder's build: it has no connection.json".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        return (format!("the build in {} {problem}", shown_path(output)), BUILD_AGAIN);
    }
    let released = output.parent().unwrap_or(Path::new("..")).join("release").join(SERVER).join(connection::FILE);
    let shown = shown_path(&released);
    match read(&released) {
        Err(error) if tree::is_missing(&error) => {
            (format!("{shown} is missing: release did not run, or its output was removed"), BUILD_AGAIN)
        }
        Err(error) => (format!("{shown} cannot be read: {error}"), BUILD_AGAIN),
        Ok(bytes) => match Connection::from_built(&bytes) {
            Err(problem) => (format!("{shown} {problem}"), BUILD_AGAIN),
            Ok(_) => (format!("{shown} was not there when it looked"), CALL_AGAIN),
        },
    }
}
