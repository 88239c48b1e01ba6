//! connection.json as packages contain it: booleans also as strings (as in Fabric's documentation),
//! `dial_timeout` also as a number, templates in any string, and unknown fields. Checks types, not values.

use std::collections::BTreeMap;

use fabric_primitives::duration;
use serde_json::{Map, Number, Value};

use super::{FILE, Field};
use crate::finding::Finding;
use crate::json;

/// The connection.json of a package, with each known field as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Draft {
    texts: BTreeMap<Field, String>,
    /// Fields unknown to Fabric.
    pub other: Map<String, Value>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.texts.keys()).finish()
    }
}

impl Draft {
    /// Parses connection.json.
    ///
    /// # Errors
    /// Every value of a wrong type, and duplicate fields.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let object = json::object(bytes)
            .map_err(|problem| vec![Finding::error(FILE, "", problem, "a JSON object with an address")])?;
        let mut draft = Self::default();
        let mut findings = Vec::new();
        for (name, value) in object {
            match Field::of_name(&name) {
                None => {
                    draft.other.insert(name, value);
                }
                Some(field) => match text(field, &value) {
                    // Go uses the last one in the file, and the order is not kept here.
                    Ok(Some(_)) if draft.texts.contains_key(&field) => {
                        let expected = format!("one field named {}", field.name());
                        findings.push(Finding::error(FILE, field.name(), "duplicate fields", expected));
                    }
                    Ok(Some(text)) => {
                        draft.texts.insert(field, text);
                    }
                    Ok(None) => {}
                    Err(expected) => {
                        findings.push(Finding::error(FILE, field.name(), json::kind(&value), expected));
                    }
                },
            }
        }
        if findings.is_empty() { Ok(draft) } else { Err(findings) }
    }

    /// Whether it has none of the fields that peers read.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.values().all(String::is_empty)
    }

    /// The text of a field, unless it is missing or empty.
    pub fn text(&self, field: Field) -> Option<&str> {
        self.texts.get(&field).map(String::as_str).filter(|text| !text.is_empty())
    }
}

/// The text of a field's value. The error says what is expected.
pub(crate) fn text(field: Field, value: &Value) -> Result<Option<String>, &'static str> {
    match (field, value) {
        (_, Value::Null) => Ok(None),
        (_, Value::String(text)) => Ok(Some(text.clone())),
        (Field::TlsRequired | Field::ClientAuthRequired, Value::Bool(truth)) => Ok(Some(truth.to_string())),
        (Field::TlsRequired | Field::ClientAuthRequired, _) => Err("true or false"),
        (Field::DialTimeout, Value::Number(number)) => match nanoseconds(number) {
            Some(nanoseconds) => Ok(Some(duration::format(nanoseconds))),
            None => Err("a duration such as \"3s\""),
        },
        (Field::DialTimeout, _) => Err("a duration such as \"3s\""),
        (field, _) if field.is_pem() => Err("a PEM string"),
        _ => Err("a string"),
    }
}

/// Converts a number to nanoseconds as Go does, without the fraction.
#[allow(clippy::cast_possible_truncation)]
fn nanoseconds(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().filter(|number| number.abs() < 9.2e18).map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_in_use_is_accepted() {
        let draft = Draft::parse(
            br#"{"Address":"a:1","dial_timeout":5e9,"tls_required":"true","client_auth_required":false,
                "client_key":null,"root_cert":"","extra":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!(draft.text(Field::Address), Some("a:1"));
        assert_eq!(draft.text(Field::DialTimeout), Some("5s"));
        assert_eq!(draft.text(Field::TlsRequired), Some("true"));
        assert_eq!(draft.text(Field::ClientAuthRequired), Some("false"));
        assert_eq!(draft.text(Field::ClientKey), None);
        assert_eq!(draft.text(Field::RootCert), None);
        assert_eq!(draft.other.len(), 1);
    }

    #[test]
    fn every_wrong_type_is_reported() {
        let findings =
            Draft::parse(br#"{"address":1,"tls_required":1,"dial_timeout":1e300,"root_cert":[]}"#).unwrap_err();
        let fields: Vec<_> = findings.iter().map(|finding| finding.field).collect();
        assert_eq!(fields, ["address", "dial_timeout", "root_cert", "tls_required"]);
        assert_eq!(findings[0].to_string(), "connection.json: address: found a number, expected a string");
    }
}
