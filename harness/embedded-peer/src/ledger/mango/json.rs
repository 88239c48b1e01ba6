//! JSON as it passes through Fabric into CouchDB and back: object members sorted by name, numbers
//! as Go stores and CouchDB prints them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A number. CouchDB distinguishes integers from floats, such as 1 and 1.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

/// Go prints floats from this value on with an exponent.
const EXPONENT_ABOVE: f64 = 1e21;
/// Like [`EXPONENT_ABOVE`], for small values.
const EXPONENT_BELOW: f64 = 1e-6;

impl Json {
    /// The fields of a stored value; `None` if it is not a JSON object, which queries ignore.
    pub(crate) fn document(value: &[u8]) -> Option<Self> {
        // Go reads a number into a float64 and prints it as short as possible, so 1.0 is stored as
        // 1.
        match serde_json::from_slice::<Self>(value) {
            Ok(document @ Self::Object(_)) => Some(document.with_floats()),
            _ => None,
        }
    }

    fn with_floats(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.stored()),
            Self::Array(values) => Self::Array(values.into_iter().map(Self::with_floats).collect()),
            Self::Object(fields) => {
                Self::Object(fields.into_iter().map(|(name, value)| (name, value.with_floats())).collect())
            }
            other => other,
        }
    }

    /// The value at a path; array elements are named by their index.
    pub(crate) fn field(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| match value {
            Self::Object(fields) => fields.get(name),
            Self::Array(values) => values.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Whether a field is missing from an object on the path. A path through a scalar, or past the
    /// end of an array, does not count as a missing field.
    pub(crate) fn lacks(&self, path: &[String]) -> bool {
        let mut value = self;
        for name in path {
            value = match value {
                Self::Object(fields) => match fields.get(name) {
                    Some(found) => found,
                    None => return true,
                },
                Self::Array(values) => match name.parse::<usize>().ok().and_then(|place| values.get(place)) {
                    Some(found) => found,
                    None => return false,
                },
                _ => return false,
            };
        }
        false
    }

    /// Writes JSON as Go's `encoding/json` does.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Self::String(text) => write_string(text, out),
            Self::Array(values) => {
                out.push('[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (place, (name, value)) in fields.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// The value as Erlang prints it with `~p`, which shows strings as text.
    pub(crate) fn erlang_pretty(&self) -> String {
        match self {
            Self::String(text) if text.is_empty() => "<<>>".to_owned(),
            Self::String(text) => format!("<<{text:?}>>"),
            Self::Array(values) => format!("[{}]", join(values.iter().map(Self::erlang_pretty))),
            Self::Object(fields) => {
                let field = |(name, value): (&String, &Self)| format!("{{<<{name:?}>>,{}}}", value.erlang_pretty());
                format!("{{[{}]}}", join(fields.iter().map(field)))
            }
            other => other.erlang(),
        }
    }

    /// The value as Erlang prints it with `~w`, as in CouchDB's error texts.
    pub(crate) fn erlang(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::String(text) => erlang_binary(text),
            Self::Array(values) => format!("[{}]", join(values.iter().map(Self::erlang))),
            Self::Object(fields) => {
                let fields =
                    fields.iter().map(|(name, value)| format!("{{{},{}}}", erlang_binary(name), value.erlang()));
                format!("{{[{}]}}", join(fields))
            }
        }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn erlang_binary(text: &str) -> String {
    format!("<<{}>>", join(text.bytes().map(|byte| byte.to_string())))
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "same precision as Go's float64 and Erlang's comparison")]
    pub(crate) const fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The number after a conversion to Go's float64 and back, with the fewest digits that identify
    /// it.
    fn stored(self) -> Self {
        let value = self.float();
        let integer = (value.fract() == 0.0 && value.abs() < EXPONENT_ABOVE).then(|| value.to_string().parse().ok());
        integer.flatten().map_or(Self::Float(value), Self::Integer)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Float(value) if value.abs() >= EXPONENT_ABOVE || (*value != 0.0 && value.abs() < EXPONENT_BELOW) => {
                let text = format!("{value:e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let plus = if exponent.starts_with('-') { "" } else { "+" };
                write!(formatter, "{digits}e{plus}{exponent}")
            }
            Self::Float(value) => write!(formatter, "{value:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Integer(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = access.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_normalized_like_go_and_couchdb() {
        for (stored, returned) in [
            (r#"{"b":1,"a":[true,null,"x"]}"#, r#"{"a":[true,null,"x"],"b":1}"#),
            (r#"{"n":1.0}"#, r#"{"n":1}"#),
            (r#"{"n":12345678901234567890}"#, r#"{"n":12345678901234567000}"#),
            (r#"{"n":0.5}"#, r#"{"n":0.5}"#),
            (r#"{"n":1.5e21}"#, r#"{"n":1.5e+21}"#),
            (r#"{"n":1e-7}"#, r#"{"n":1e-7}"#),
            (r#"{"t":"<&>\u2028\n"}"#, r#"{"t":"\u003c\u0026\u003e\u2028\n"}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ] {
            assert_eq!(
                Json::document(stored.as_bytes()).map(|json| json.text()).as_deref(),
                Some(returned),
                "{stored}"
            );
        }
        for other in ["[1]", "1", "null", "\"x\"", "{", "plain", ""] {
            assert_eq!(Json::document(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn error_texts_use_erlang_syntax() {
        let json: Json = serde_json::from_str(r#"{"ab":[1,"",1.5,false]}"#).unwrap();
        assert_eq!(json.erlang(), "{[{<<97,98>>,[1,<<>>,1.5,false]}]}");
    }
}
