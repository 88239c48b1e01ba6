//! YAML as a tree of values with their positions in the text.
//!
//! Serde's derived readers stop at the first mistake. This tree accepts any well-formed YAML, so that `yaml` can
//! report every mistake. It knows nothing of topologies.

use std::fmt;

use fabric_primitives::text::shorten;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::{Location, Mistake, TopologyError};

/// A topology with thousands of nodes is much smaller.
const MAXIMUM_TEXT_BYTES: usize = 1024 * 1024;
/// A topology is six levels deep.
const MAXIMUM_DEPTH: usize = 32;
/// Limits the expansion of aliases.
const MAXIMUM_VALUES: usize = 100_000;

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) value: Value,
    pub(super) location: Option<Location>,
}

/// Any YAML value. Integers too large for `i64` become [`Value::Other`].
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    Integer(i64),
    /// A value of a type that no field has, described for the message.
    Other(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Value {
    /// A description for a message such as "must be a list, not …".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "empty".to_owned(),
            Self::Text(text) => format!("the text `{}`", shorten(text)),
            Self::Integer(number) => format!("the number {number}"),
            Self::Other(description) => description.clone(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Parses one YAML document. The error has the position of the first syntax error, after which nothing can be
/// checked.
pub(super) fn parse(text: &str) -> Result<Tree, TopologyError> {
    if text.len() > MAXIMUM_TEXT_BYTES {
        return Err(TopologyError::one(Mistake {
            path: String::new(),
            message: format!("the topology has {} bytes, more than {MAXIMUM_TEXT_BYTES}", text.len()),
            location: None,
        }));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAXIMUM_DEPTH,
            max_nodes: MAXIMUM_VALUES,
        },
    };
    serde_saphyr::from_str_with_options::<Tree>(text, options).map_err(|error| {
        let location = error.location().map(|place| Location { line: place.line(), column: place.column() });
        TopologyError::one(Mistake {
            path: String::new(),
            message: format!("the topology is not valid YAML: {}", message_of(&error)),
            location,
        })
    })
}

/// The parser's message, without the position and the advice for programmers.
fn message_of(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let end = [" at line ", ", set DuplicateKeyPolicy"].into_iter().filter_map(|rest| text.find(rest)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let place = spanned.referenced;
        Ok(Self {
            value: spanned.value,
            location: (place.line() > 0).then(|| Location { line: place.line(), column: place.column() }),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Other(format!("the boolean {value}")))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Other(format!("the number {value}")), Value::Integer))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Other(format!("the number {value}")))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Other(format!("the number {value}")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Other(format!("the number {value}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_bytes<E>(self, _value: &[u8]) -> Result<Value, E> {
        Ok(Value::Other("binary data".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if entries.iter().any(|(existing, _)| *existing == key) {
                return Err(A::Error::custom(format!("duplicate key `{}`", shorten(&key))));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}
