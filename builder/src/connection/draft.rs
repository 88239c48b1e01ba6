//! connection.json as packages have it: booleans also as strings (Fabric's documentation shows
//! them so), a time-out also as a number, templates in any string, and whatever else was put
//! there. Applies nothing and checks no value.

use std::collections::BTreeMap;

use fabric_primitives::duration;
use serde_json::{Map, Number, Value};

use super::{FILE, Field};
use crate::finding::Finding;
use crate::json;

/// What a package's connection.json says, each known field as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Draft {
    texts: BTreeMap<Field, String>,
    /// Fields that Fabric does not know.
    pub other: Map<String, Value>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.texts.keys()).finish()
    }
}

impl Draft {
    /// Reads the file, with every value of a wrong type among the findings.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let object = json::object(bytes).map_err(|problem| {
            vec![Finding::error(FILE, "", format!("a file that {problem}"), "a JSON object with an address")]
        })?;
        let mut draft = Self::default();
        let mut findings = Vec::new();
        for (name, value) in object {
            match Field::of_name(&name) {
                None => {
                    draft.other.insert(name, value);
                }
                Some(field) => match text(field, &value) {
                    // Go takes the last one in the file, whose order is not kept here.
                    Ok(Some(_)) if draft.texts.contains_key(&field) => {
                        let expected = format!("one of them, spelled {}", field.name());
                        findings.push(Finding::error(FILE, field.name(), "two spellings of it", expected));
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

    /// The text of a field, if the package has one that is not empty.
    pub fn text(&self, field: Field) -> Option<&str> {
        self.texts.get(&field).map(String::as_str).filter(|text| !text.is_empty())
    }
}

/// The text of a field's value, in any form that a package may have; the error is what is expected.
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
        (field, _) if field.is_pem() => Err("a string of PEM text"),
        _ => Err("a string"),
    }
}

/// A number as Go makes a duration of it: nanoseconds, fractions cut off.
#[allow(clippy::cast_possible_truncation)]
fn nanoseconds(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().filter(|number| number.abs() < 9.2e18).map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_form_in_use() {
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
    fn names_every_wrong_type_at_once() {
        let findings =
            Draft::parse(br#"{"address":1,"tls_required":1,"dial_timeout":1e300,"root_cert":[]}"#).unwrap_err();
        let fields: Vec<_> = findings.iter().map(|finding| finding.field).collect();
        assert_eq!(fields, ["address", "dial_timeout", "root_cert", "tls_required"]);
        assert_eq!(findings[0].to_string(), "connection.json: address: found a number, expected a string");
    }
}
