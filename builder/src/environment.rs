//! The settings of a peer for its builder, so that one package with one package ID serves every peer.
//! Reads the values; `resolve` checks them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::{self, Config};
use crate::connection::Field;
use crate::finding::Finding;
use crate::metadata::{Metadata, Types};
use crate::overrides::{Override, Overrides};
use crate::template;

/// The variable with additional package types, comma-separated.
pub const TYPES_VARIABLE: &str = "CORE_PEER_CC_BUILDER_TYPES";

/// The settings of one peer.
///
/// The builder gets only the variables listed in `chaincode.externalBuilders[].propagateEnvironment` of
/// core.yaml.
///
/// ```
/// use ccaas_builder::Environment;
/// use ccaas_builder::connection::Field;
///
/// let variables = [("CORE_CHAINCODE_ADDRESS", "basic:9999")];
/// let environment = Environment::from_variables(|name| {
///     variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into())
/// });
/// assert_eq!(environment.overrides.get(Field::Address).unwrap().value, "basic:9999");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Environment {
    /// The JSON object with the values for templates: `CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG`.
    pub template_values: Option<String>,
    /// The supported package types: `ccaas`, `external`, and those in `CORE_PEER_CC_BUILDER_TYPES`.
    pub types: Types,
    /// Settings that override those of a package.
    pub overrides: Overrides,
    /// The configuration file: `CORE_PEER_CC_BUILDER_CONFIG`.
    pub config: Option<PathBuf>,
    /// The name of this peer in the configuration file: `CORE_PEER_ID`.
    pub peer: Option<String>,
    /// The time at which certificates must be valid.
    pub now: SystemTime,
}

impl Default for Environment {
    /// No settings, and the current time.
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
    /// Reads the variables with a function. Empty variables count as not set.
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

    /// Applies the configuration file's settings for one package to the overrides. Returns warnings too.
    ///
    /// # Errors
    /// The errors in the configuration file.
    pub(crate) fn for_package(&self, metadata: &Metadata) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let Some(path) = &self.config else {
            return Ok((self.clone(), Vec::new()));
        };
        let (overrides, warnings) = Config::read(path)?.apply(metadata, self.peer.as_deref(), &self.overrides);
        Ok((Self { overrides, config: None, ..self.clone() }, warnings))
    }

    /// Reads the variables of this process.
    pub fn from_process() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }
}
