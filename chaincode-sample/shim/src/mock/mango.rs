//! A subset of CouchDB's query language: selectors with comparisons, `$and`, `$or`, `$not`, `$in` and
//! `$exists`, and a limit. Anything else is an error, so that no test passes with an unsupported
//! query.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// CouchDB's default is 25, but a peer sets its own limit (`internalQueryLimit`).
const NO_LIMIT: usize = usize::MAX;

pub(super) struct Mango {
    selector: Condition,
    pub(super) limit: usize,
}

enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Field(Vec<String>, Test),
}

enum Test {
    Compare(fn(Ordering) -> bool, Value),
    NotEqual(Value),
    OneOf(Vec<Value>),
    Exists(bool),
}

impl Mango {
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let query: Map<String, Value> =
            serde_json::from_str(query).map_err(|error| format!("invalid query: {error}"))?;
        let mut mango = Self { selector: Condition::All(Vec::new()), limit: NO_LIMIT };
        for (name, value) in query {
            match (name.as_str(), value) {
                ("selector", Value::Object(selector)) => mango.selector = fields(&[], selector)?,
                ("limit", Value::Number(limit)) => {
                    let limit = limit.as_u64().and_then(|limit| limit.try_into().ok());
                    mango.limit = limit.ok_or("invalid query: the limit is not an integer")?;
                }
                // An index does not change the results.
                ("use_index", _) => {}
                (name, _) => return Err(unsupported(name)),
            }
        }
        Ok(mango)
    }

    /// Whether a value is JSON that matches the selector.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        serde_json::from_slice(value).is_ok_and(|value| self.selector.matches(&value))
    }
}

impl Condition {
    fn matches(&self, value: &Value) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.matches(value)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.matches(value)),
            Self::Not(condition) => !condition.matches(value),
            Self::Field(path, test) => {
                let found = path.iter().try_fold(value, |value, name| value.get(name));
                test.matches(found)
            }
        }
    }
}

impl Test {
    fn matches(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(expected), found) => found.is_some() == *expected,
            (_, None) => false,
            (Self::NotEqual(expected), Some(found)) => found != expected,
            (Self::OneOf(expected), Some(found)) => expected.contains(found),
            (Self::Compare(accepts, expected), Some(found)) => order(found, expected).is_some_and(accepts),
        }
    }
}

/// The order of two numbers or two strings; other values are only equal or not comparable.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(Ordering::Equal),
    }
}

fn fields(path: &[String], selector: Map<String, Value>) -> Result<Condition, String> {
    let conditions = selector.into_iter().map(|(name, value)| condition(path, &name, value));
    conditions.collect::<Result<_, _>>().map(Condition::All)
}

fn condition(path: &[String], name: &str, value: Value) -> Result<Condition, String> {
    let test = |test| Ok(Condition::Field(path.to_vec(), test));
    match (name, value) {
        ("$and", Value::Array(parts)) => list(path, parts).map(Condition::All),
        ("$or", Value::Array(parts)) => list(path, parts).map(Condition::Any),
        ("$not", Value::Object(part)) => Ok(Condition::Not(Box::new(fields(path, part)?))),
        ("$eq", value) => test(Test::Compare(Ordering::is_eq, value)),
        ("$ne", value) => test(Test::NotEqual(value)),
        ("$gt", value) => test(Test::Compare(Ordering::is_gt, value)),
        ("$gte", value) => test(Test::Compare(Ordering::is_ge, value)),
        ("$lt", value) => test(Test::Compare(Ordering::is_lt, value)),
        ("$lte", value) => test(Test::Compare(Ordering::is_le, value)),
        ("$in", Value::Array(values)) => test(Test::OneOf(values)),
        ("$exists", Value::Bool(expected)) => test(Test::Exists(expected)),
        (operator, _) if operator.starts_with('$') => Err(unsupported(operator)),
        (field, value) => {
            let path: Vec<_> = path.iter().cloned().chain(field.split('.').map(str::to_owned)).collect();
            match value {
                Value::Object(inner) => fields(&path, inner),
                value => Ok(Condition::Field(path, Test::Compare(Ordering::is_eq, value))),
            }
        }
    }
}

fn list(path: &[String], parts: Vec<Value>) -> Result<Vec<Condition>, String> {
    let part = |part| match part {
        Value::Object(part) => fields(path, part),
        _ => Err("invalid query: expected a selector".to_owned()),
    };
    parts.into_iter().map(part).collect()
}

fn unsupported(name: &str) -> String {
    format!("unsupported by MockLedger: {name:?} in a query; test this query on a peer with CouchDB")
}
