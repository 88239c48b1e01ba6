//! Arguments and transient data: text, base64 or JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

/// An argument, or a value of transient data.
///
/// ```
/// # use fabric_harness::check::data::Data;
/// # #[derive(serde::Deserialize)] struct File { data: Vec<Data> }
/// let text = r#"data = ["text", { base64 = "/wA=" }, { json = { ID = "a1", Size = 5 } }]"#;
/// let file: File = toml::from_str(text).unwrap();
/// assert_eq!(file.data[0].bytes(), b"text");
/// assert_eq!(file.data[1].bytes(), b"\xff\x00");
/// assert_eq!(file.data[2].bytes(), br#"{"ID":"a1","Size":5}"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Text(String),
    Bytes(Vec<u8>),
    Json(Value),
}

impl Data {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self(Kind::Text(text.to_owned()))
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Text(text) => text.clone().into_bytes(),
            Kind::Bytes(bytes) => bytes.clone(),
            Kind::Json(value) => value.to_string().into_bytes(),
        }
    }

    /// Its texts, which `visit` may replace; see [`super::saved`].
    pub(super) fn visit<E>(&mut self, visit: &mut impl FnMut(Place<'_>) -> Result<(), E>) -> Result<(), E> {
        match &mut self.0 {
            Kind::Text(text) => visit(Place::Text(text)),
            Kind::Bytes(_) => Ok(()),
            Kind::Json(value) => visit_json(value, visit),
        }
    }
}

/// A text that may refer to saved values.
pub(super) enum Place<'a> {
    Text(&'a mut String),
    /// A string in JSON, which a value of another type may replace.
    Json(&'a mut Value),
}

/// Visits every string in a JSON value, other than the names of members.
pub(super) fn visit_json<E>(value: &mut Value, visit: &mut impl FnMut(Place<'_>) -> Result<(), E>) -> Result<(), E> {
    match value {
        Value::String(_) => visit(Place::Json(value)),
        Value::Array(values) => values.iter_mut().try_for_each(|value| visit_json(value, visit)),
        Value::Object(members) => members.values_mut().try_for_each(|value| visit_json(value, visit)),
        _ => Ok(()),
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(&self.bytes()))
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text in quotes, { base64 = \"…\" } or { json = … }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Data, E> {
        Ok(Data::text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let data = match map.next_key::<String>()?.as_deref() {
            Some("base64") => Data(Kind::Bytes(map.next_value::<Base64>()?.0)),
            Some("json") => Data(Kind::Json(map.next_value::<Json>()?.0)),
            _ => return Err(A::Error::custom("expected a text in quotes, { base64 = \"…\" } or { json = … }")),
        };
        match map.next_key::<String>()? {
            None => Ok(data),
            Some(other) => Err(A::Error::custom(format!("unexpected `{other}`; give one of `base64` and `json`"))),
        }
    }
}

/// Base64 with padding (RFC 4648, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(&text).map(Self).map_err(|error| D::Error::custom(format!("invalid base64: {error}")))
    }
}

/// A JSON value, written in TOML.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if has_date(&value) {
            return Err(D::Error::custom("JSON has no dates; put the date in quotes"));
        }
        Ok(Self(value))
    }
}

/// Whether it contains a TOML date, which serde represents as a table with this key.
fn has_date(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, value)| name.starts_with("$__toml_private_") || has_date(value))
        }
        Value::Array(values) => values.iter().any(has_date),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        #[serde(rename = "d")]
        _data: Data,
    }

    #[test]
    fn a_mistake_reports_what_is_possible_and_where() {
        for (text, expected) in [
            ("d = 5", "invalid type: integer `5`, expected a text in quotes, { base64 ="),
            ("d = { base64 = 'x' }", "invalid base64"),
            ("d = { hex = '00' }", "expected a text in quotes"),
            ("d = { base64 = '', json = 1 }", "unexpected `json`"),
            ("d = { json = { at = 2026-01-01 } }", "JSON has no dates"),
        ] {
            let error = toml::from_str::<File>(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("line 1, column "), "{text}: {error}");
        }
    }
}
