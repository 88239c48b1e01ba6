//! A chaincode server that its user starts, for example in a debugger. Its files and variables are written
//! for the user, and its address is waited for. Starts and stops nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::ready::wait_error;
use super::{ChaincodePlacement, ChaincodeServer, ChaincodeSpec, RuntimeError, UnexpectedExit, files};
use crate::server::ServerSource;
use crate::wait::{Poll, until};

/// The file of the environment variables, one per line.
pub const VARIABLES_FILE: &str = "chaincode.env";

/// Its first line, which distinguishes it from a user's file.
const HEAD: &str = "# Written by fabric-harness for the chaincode server. Replaced by the next run.";

/// A server that its user starts.
#[derive(Debug)]
pub(super) struct ExternalServer {
    name: String,
    /// `HOST:PORT` where this program finds it.
    dial: String,
    bound: Duration,
}

impl ExternalServer {
    pub(super) fn new(spec: &ChaincodeSpec, place: &ChaincodePlacement, bound: Duration) -> Self {
        Self { name: spec.name.clone(), dial: place.dial.clone().unwrap_or_else(|| place.address.clone()), bound }
    }
}

#[async_trait]
impl ChaincodeServer for ExternalServer {
    fn name(&self) -> &str {
        &self.name
    }

    /// Waits until something listens at the address.
    async fn start(&self) -> Result<(), RuntimeError> {
        let what = format!("the chaincode server {}, which you start, listens at {}", self.name, self.dial);
        let listens = until(&what, self.bound, || async {
            match tokio::net::TcpStream::connect(&self.dial).await {
                Ok(_) => Ok(Poll::Ready(())),
                Err(error) => Ok(Poll::NotYet(error.to_string())),
            }
        });
        listens.await.map_err(wait_error)
    }

    async fn stop(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn kill(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn log(&self) -> Option<String> {
        None
    }

    async fn log_tail(&self) -> String {
        String::new()
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        Vec::new()
    }
}

/// Writes the files and variables of such a server into its directory; nothing of any other server.
pub(super) fn write_files(spec: &ChaincodeSpec, place: &ChaincodePlacement) -> Result<(), RuntimeError> {
    let ServerSource::Address { directory, .. } = &spec.source else { return Ok(()) };
    let file = place.directory.join(VARIABLES_FILE);
    if directory.is_some() {
        let is_ours = std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with(HEAD));
        let names = spec.files.keys().map(PathBuf::as_path).chain([Path::new(VARIABLES_FILE)]);
        files::clear(names, &place.directory, is_ours)?;
    }
    files::write_chaincode(&spec.files, &place.directory)?;
    // Written last, and atomically: whoever waits for it starts a server that reads the others.
    files::write_whole(&file, &variables(&spec.environment))
}

/// In a form that shells, systemd, Docker and development environments read.
fn variables(environment: &BTreeMap<String, String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+,@%".contains(c);
    let line = |(name, value): (&String, &String)| {
        if value.chars().all(plain) {
            format!("{name}={value}\n")
        } else {
            format!("{name}='{}'\n", value.replace('\'', r"'\''"))
        }
    };
    format!("{HEAD}\n{}", environment.iter().map(line).collect::<String>())
}
