//! Finds Fabric's programs and their version.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fabric_network::logging::LoggingSpec;
use fabric_network::release::Release;
use fabric_primitives::program;
use tokio::process::Command;

use super::Error;
use crate::runtime::log::last_lines;

/// How long `peer version` may take. It needs 40 ms; a cold disk may need seconds.
const VERSION_BOUND: Duration = Duration::from_secs(20);

/// The programs of one installation.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) peer: PathBuf,
    pub(super) orderer: PathBuf,
    /// As the peer prints it, without the `v`: `3.1.5`.
    pub(super) version: String,
    pub(super) release: Release,
}

impl Binaries {
    /// Looks in `directory` and its `bin`, or on PATH when none is given.
    pub(super) async fn find(directory: Option<&Path>) -> Result<Self, Error> {
        let looked = match directory {
            Some(directory) => vec![directory.to_owned(), directory.join("bin")],
            None => program::directories("PATH"),
        };
        let find = |name: &'static str| {
            program::find(name, &looked, program::is_program)
                // Each node has a working directory of its own.
                .and_then(|path| path.canonicalize().ok())
                .ok_or_else(|| Error::Program { program: name, looked: looked.clone() })
        };
        let (peer, orderer) = (find("peer")?, find("orderer")?);
        let version = version_of(&peer).await?;
        let release = version.parse()?;
        Ok(Self { peer, orderer, version, release })
    }
}

/// The version that `peer version` or `orderer version` prints, without the `v`.
pub(crate) async fn version_of(peer: &Path) -> Result<String, Error> {
    let failed = |reason: String| Error::Version { program: peer.to_owned(), reason };
    let output = Command::new(peer)
        .arg("version")
        .env_remove("FABRIC_CFG_PATH")
        // A specification for the nodes; an invalid one would end this program.
        .env_remove(LoggingSpec::VARIABLE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(VERSION_BOUND, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("timed out after {} s", VERSION_BOUND.as_secs()))),
    };
    read_version(&output).map_err(failed)
}

fn read_version(output: &Output) -> Result<String, String> {
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = printed.lines().find_map(|line| line.trim().strip_prefix("Version:"));
    match version {
        Some(version) if output.status.success() => {
            let version = version.trim();
            Ok(version.strip_prefix('v').unwrap_or(version).to_owned())
        }
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", output.status, last_lines(&format!("{printed}{errors}"))))
        }
    }
}
