//! metadata.json of a chaincode package: its type and label, and which types this builder takes.
//! Reads and writes bytes; opens no file.

pub use fabric_primitives::package::is_label;
use serde_json::{Map, Value, json};

use crate::error::BuilderError;
use crate::json;
use crate::quote::quoted;

/// The file's name in a package, and in the METADATA directory that the peer hands to a builder.
pub const FILE: &str = "metadata.json";

/// What metadata.json says (Fabric: `core/chaincode/persistence/chaincode_package.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `type`: which builder the package is for, as written (`ccaas`, `external`, `golang`, …).
    pub kind: String,
    /// `label`: the readable half of the package ID. The peer checks it, see [`is_label`].
    pub label: String,
    /// `path`: of no use to a chaincode that runs as a service; empty by custom.
    pub path: String,
}

impl Metadata {
    /// Reads metadata.json. Only `type` must be there: the rest is the peer's to judge.
    ///
    /// # Errors
    /// [`BuilderError::Metadata`] when it is not a JSON object, or a field is not a string.
    pub fn parse(bytes: &[u8]) -> Result<Self, BuilderError> {
        let object = json::object(bytes).map_err(BuilderError::Metadata)?;
        let mut metadata = Self::default();
        for (name, value) in object {
            let field = match json::folded(&name).as_str() {
                "type" => &mut metadata.kind,
                "label" => &mut metadata.label,
                "path" => &mut metadata.path,
                _ => continue,
            };
            *field = text(&name, value)?;
        }
        if metadata.kind.is_empty() {
            return Err(BuilderError::Metadata("type: found nothing, expected a chaincode type".into()));
        }
        Ok(metadata)
    }

    /// The file as a package holds it: names in order, one line, no end of line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut object = Map::new();
        object.insert("label".into(), json!(self.label));
        object.insert("path".into(), json!(self.path));
        object.insert("type".into(), json!(self.kind));
        Value::Object(object).to_string().into_bytes()
    }
}

fn text(name: &str, value: Value) -> Result<String, BuilderError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => {
            Err(BuilderError::Metadata(format!("{}: found {}, expected a string", quoted(name), json::kind(&other))))
        }
    }
}

/// The package types that a builder takes, compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types(Vec<String>);

impl Default for Types {
    /// `ccaas`, the type of Fabric's own builder, and `external`, that of its predecessors.
    fn default() -> Self {
        Self(vec!["ccaas".into(), "external".into()])
    }
}

impl Types {
    /// The default types and those of a comma-separated list.
    #[must_use]
    pub fn with(mut self, list: &str) -> Self {
        let names = list.split(',').map(|name| name.trim().to_lowercase());
        for name in names.filter(|name| !name.is_empty()) {
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
        self
    }

    /// Whether a package with this metadata is ours.
    ///
    /// # Errors
    /// [`BuilderError::UnsupportedType`] says the type that it saw and those that are taken.
    pub fn check(&self, metadata: &Metadata) -> Result<(), BuilderError> {
        if self.0.contains(&metadata.kind.to_lowercase()) {
            return Ok(());
        }
        Err(BuilderError::UnsupportedType { found: quoted(&metadata.kind), takes: self.0.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_types_by_configuration() {
        let types = Types::default().with(" CCaaS ,remote,, ");
        let of = |kind: &str| Metadata { kind: kind.into(), ..Metadata::default() };
        assert!(types.check(&of("Remote")).is_ok());
        assert!(types.check(&of("EXTERNAL")).is_ok());
        let refusal = types.check(&of("golang")).unwrap_err().to_string();
        assert!(refusal.contains("\"golang\"") && refusal.contains("ccaas, external, remote"), "{refusal}");
    }

    #[test]
    fn written_metadata_reads_back() {
        let metadata = Metadata { kind: "ccaas".into(), label: "l".into(), path: String::new() };
        assert_eq!(metadata.to_bytes(), br#"{"label":"l","path":"","type":"ccaas"}"#);
        assert_eq!(Metadata::parse(&metadata.to_bytes()).unwrap(), metadata);
    }
}
