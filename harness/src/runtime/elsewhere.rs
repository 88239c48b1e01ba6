//! A chaincode server that somebody else starts, such as a debugger: told what it needs to know, and
//! waited for. Starts and ends nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chaincode::{ChaincodePlacement, ChaincodeSpec};
use super::ready::wait_error;
use super::{RuntimeError, files};
use crate::server::ServerSource;
use crate::wait::{Poll, until};

/// The file of the variables, a line each.
pub const VARIABLES_FILE: &str = "chaincode.env";

/// What its first line is, by which the file is known to be ours.
const HEAD: &str = "# Written by fabric-harness for the chaincode server. Replaced by the next run.";

/// A server that is not ours.
#[derive(Debug)]
pub(in crate::runtime) struct Elsewhere {
    name: String,
    /// Where it is found from here.
    dial: String,
    bound: Duration,
}

impl Elsewhere {
    pub(super) fn new(spec: &ChaincodeSpec, place: &ChaincodePlacement, bound: Duration) -> Self {
        Self { name: spec.name.clone(), dial: place.dial.clone().unwrap_or_else(|| place.address.clone()), bound }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until something listens at the address.
    pub(super) async fn answers(&self) -> Result<(), RuntimeError> {
        let what = format!("the chaincode server {}, which is yours to start, listens at {}", self.name, self.dial);
        let listens = until(&what, self.bound, || async {
            match tokio::net::TcpStream::connect(&self.dial).await {
                Ok(_) => Ok(Poll::Ready(())),
                Err(error) => Ok(Poll::NotYet(error.to_string())),
            }
        });
        listens.await.map_err(wait_error)
    }
}

/// Writes what such a server needs into its directory.
pub(super) fn hand_over(spec: &ChaincodeSpec, place: &ChaincodePlacement) -> Result<(), RuntimeError> {
    let ServerSource::Address { directory, .. } = &spec.source else { return Ok(()) };
    let file = place.directory.join(VARIABLES_FILE);
    if directory.is_some() {
        let is_ours = std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with(HEAD));
        let names = spec.files.keys().map(PathBuf::as_path).chain([Path::new(VARIABLES_FILE)]);
        files::clear(names, &place.directory, is_ours)?;
    }
    files::write_chaincode(&spec.files, &place.directory)?;
    // The last, and whole at once: whoever waits for it starts a server that reads the others.
    files::write_whole(&file, &variables(&spec.environment))
}

/// As shells, systemd, Docker and development environments read it.
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
