//! What a peer sets for its builder, so that one package, with one package ID, serves every peer.
//! Holds the values; which of them are used, and whether they are good, is `connection`'s.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::{self, Config};
use crate::connection::Field;
use crate::finding::Finding;
use crate::metadata::{Metadata, Types};
use crate::overrides::{Override, Overrides};
use crate::template;

/// Names further package types, comma-separated.
pub const TYPES_VARIABLE: &str = "CORE_PEER_CC_BUILDER_TYPES";

/// The settings of one peer.
///
/// They reach the builder only if the peer's core.yaml lists their names under
/// `chaincode.externalBuilders[].propagateEnvironment`.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The JSON object for templates: `CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG`. Default: none.
    pub template_values: Option<String>,
    /// The package types taken: `ccaas`, `external`, and those in `CORE_PEER_CC_BUILDER_TYPES`.
    pub types: Types,
    /// Settings that replace those of a package.
    pub overrides: Overrides,
    /// The configuration file: `CORE_PEER_CC_BUILDER_CONFIG`. Default: none.
    pub config: Option<PathBuf>,
    /// Which of the configuration file's peers this is: `CORE_PEER_ID`.
    pub peer: Option<String>,
    /// The moment at which certificates must be valid.
    pub now: SystemTime,
}

impl Default for Environment {
    /// Nothing set, now.
    fn default() -> Self {
        Self {
            template_values: None,
            types: Types::default(),
            overrides: Overrides::default(),
            config: None,
            peer: None,
            now: SystemTime::now(),
        }
    }
}

impl Environment {
    /// Reads the variables through a function. An empty one counts as not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| {
            let value = variable(name)?.to_string_lossy().into_owned();
            (!value.is_empty()).then_some(value)
        };
        let mut overrides = Overrides::default();
        for field in Field::ALL {
            if let Some((name, value)) = field.variable().and_then(|name| Some((name, set(name)?))) {
                overrides.set(field, Override { name: name.to_owned(), value });
            }
        }
        Self {
            template_values: set(template::VARIABLE),
            types: Types::default().with(&set(TYPES_VARIABLE).unwrap_or_default()),
            overrides,
            config: variable(config::VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from),
            peer: set(config::PEER_VARIABLE),
            now: SystemTime::now(),
        }
    }

    /// The environment as it is for one package: with the settings that the configuration file has
    /// for it among the overrides. Comes with warnings.
    ///
    /// # Errors
    /// What is wrong with the configuration file.
    pub fn for_package(&self, metadata: &Metadata) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let Some(path) = &self.config else {
            return Ok((self.clone(), Vec::new()));
        };
        let (overrides, warnings) = Config::read(path)?.apply(metadata, self.peer.as_deref(), &self.overrides);
        Ok((Self { overrides, config: None, ..self.clone() }, warnings))
    }

    /// Reads this process's own variables.
    pub fn from_process() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }
}
