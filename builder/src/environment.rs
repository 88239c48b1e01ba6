//! What a peer sets for its builder, so that one package, with one package ID, serves every peer.
//! Holds the values; which of them are used, and whether they are good, is `connection`'s.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::SystemTime;

use crate::connection::Field;
use crate::metadata::Types;
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
    /// The moment at which certificates must be valid.
    pub now: SystemTime,
}

impl Default for Environment {
    /// Nothing set, now.
    fn default() -> Self {
        Self { template_values: None, types: Types::default(), overrides: Overrides::default(), now: SystemTime::now() }
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
            now: SystemTime::now(),
        }
    }

    /// Reads this process's own variables.
    pub fn from_process() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }
}

/// One setting of the peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// The variable's name, for messages.
    pub name: String,
    /// A value, or the path of a file on the peer that holds it: see [`Override::path`].
    pub value: String,
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Override({})", self.name)
    }
}

impl Override {
    /// The file that holds the value, if the value is a path. For certificates and keys that is
    /// whatever is not PEM; for other fields, whatever begins with `/`.
    pub fn path(&self, field: Field) -> Option<&str> {
        let is_path = if field.is_pem() { !self.value.contains("-----BEGIN") } else { self.value.starts_with('/') };
        is_path.then_some(self.value.as_str())
    }
}

/// Settings of the peer by field. A later one for the same field replaces the earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<Field, Override>);

impl Overrides {
    /// Sets a field.
    pub fn set(&mut self, field: Field, setting: Override) {
        self.0.insert(field, setting);
    }

    /// The setting for a field, if the peer has one.
    pub fn get(&self, field: Field) -> Option<&Override> {
        self.0.get(&field)
    }
}
