//! metadata.json of a chaincode package, and the package types that this builder supports.

use serde_json::{Map, Value, json};

use crate::error::BuilderError;
use crate::json;
use crate::quote::quoted;

/// The file's name in a package and in a builder's METADATA directory.
pub const FILE: &str = "metadata.json";

/// The content of metadata.json (Fabric: `core/chaincode/persistence/chaincode_package.go`).
///
/// ```
/// use ccaas_builder::metadata::{Metadata, Types};
///
/// let metadata = Metadata::parse(br#"{"type":"CCaaS","label":"basic_1.0"}"#)?;
/// Types::default().check(&metadata)?;
/// # Ok::<(), ccaas_builder::BuilderError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `type`: the package type (`ccaas`, `external`, `golang`, …).
    pub kind: String,
    /// `label`: the first part of the package ID, see [`names::label`](fabric_primitives::names::label).
    pub label: String,
    /// `path`: unused by chaincode that runs as a service; usually empty.
    pub path: String,
}

impl Metadata {
    /// Parses metadata.json. Only `type` is required; the peer checks the rest.
    ///
    /// # Errors
    /// [`BuilderError::Metadata`] if it is not a JSON object or a field is not a string.
    pub fn parse(bytes: &[u8]) -> Result<Self, BuilderError> {
        let object = json::object(bytes)
            .map_err(|problem| BuilderError::Metadata(format!("found {problem}, expected a JSON object")))?;
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
            return Err(BuilderError::Metadata("type: found nothing, expected a package type".into()));
        }
        Ok(metadata)
    }

    /// The file as one line of JSON, sorted by name.
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

/// The package types that a builder supports, case-insensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types(Vec<String>);

impl Default for Types {
    /// `ccaas`, the type of Fabric's builder, and `external`, the type of earlier builders.
    fn default() -> Self {
        Self(vec!["ccaas".into(), "external".into()])
    }
}

impl Types {
    /// Adds the types of a comma-separated list.
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

    /// Checks that the package's type is supported.
    ///
    /// # Errors
    /// [`BuilderError::UnsupportedType`] with the package's type and the supported ones.
    pub fn check(&self, metadata: &Metadata) -> Result<(), BuilderError> {
        if self.0.contains(&metadata.kind.to_lowercase()) {
            return Ok(());
        }
        Err(BuilderError::UnsupportedType { found: quoted(&metadata.kind), supported: self.0.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_can_be_added() {
        let types = Types::default().with(" CCaaS ,remote,, ");
        let of = |kind: &str| Metadata { kind: kind.into(), ..Metadata::default() };
        assert!(types.check(&of("Remote")).is_ok());
        assert!(types.check(&of("EXTERNAL")).is_ok());
        let error = types.check(&of("golang")).unwrap_err().to_string();
        assert!(error.contains("\"golang\"") && error.contains("ccaas, external, remote"), "{error}");
    }

    #[test]
    fn written_metadata_reads_back() {
        let metadata = Metadata { kind: "ccaas".into(), label: "l".into(), path: String::new() };
        assert_eq!(metadata.to_bytes(), br#"{"label":"l","path":"","type":"ccaas"}"#);
        assert_eq!(Metadata::parse(&metadata.to_bytes()).unwrap(), metadata);
    }
}
