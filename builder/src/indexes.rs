//! Checks the paths and contents of CouchDB indexes as a peer does (Fabric:
//! `internal/ccmetadata/validators.go`). A peer checks them only when the chaincode is committed, and
//! then only logs an error.

use std::path::Path;

use serde_json::{Map, Value};

use crate::json;
use crate::quote::quoted;

/// Why a peer would not create an index from a file: it found `found`, expected `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidIndex {
    /// What was found.
    pub found: String,
    /// What a peer expects.
    pub expected: String,
}

fn invalid(found: impl Into<String>, expected: impl Into<String>) -> Result<(), InvalidIndex> {
    Err(InvalidIndex { found: found.into(), expected: expected.into() })
}

/// Checks the path of an index, relative to `statedb/`.
///
/// # Errors
/// [`InvalidIndex`] if peers ignore files there.
pub fn check_path(path: &Path) -> Result<(), InvalidIndex> {
    let steps: Vec<_> = path.iter().map(|step| step.to_string_lossy()).collect();
    let steps: Vec<&str> = steps.iter().map(AsRef::as_ref).collect();
    let file = match steps.as_slice() {
        ["couchdb", "indexes", .., file] => file,
        ["couchdb", "collections", collection, "indexes", .., file] => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if collection.is_empty() || !collection.chars().all(allowed) {
                return invalid(format!("invalid collection name {}", quoted(collection)), "letters, digits, _ and -");
            }
            file
        }
        _ => {
            return invalid(
                "a file in a directory that peers ignore",
                "couchdb/indexes/ or couchdb/collections/NAME/indexes/",
            );
        }
    };
    // Case-sensitive, as in a peer.
    if Path::new(file).extension() != Some("json".as_ref()) {
        return invalid("a file without the extension .json", "one index per .json file");
    }
    Ok(())
}

/// Checks the content of an index.
///
/// ```
/// use ccaas_builder::indexes::check_content;
///
/// assert!(check_content(br#"{"index":{"fields":["owner"]},"type":"json"}"#).is_ok());
/// assert_eq!(check_content(b"{}").unwrap_err().found, "no index");
/// ```
///
/// # Errors
/// [`InvalidIndex`] if a peer would not create it.
pub fn check_content(bytes: &[u8]) -> Result<(), InvalidIndex> {
    let object = match json::object(bytes) {
        Ok(object) => object,
        Err(problem) => return invalid(problem, "a JSON object with an index"),
    };
    for (name, value) in &object {
        match (name.as_str(), value) {
            ("index", Value::Object(index)) => check_index(index)?,
            ("ddoc" | "name", Value::String(_)) => {}
            ("type", value) if value == "json" => {}
            ("index", other) => return invalid(format!("{} for index", json::kind(other)), "an object with fields"),
            ("ddoc" | "name", other) => return invalid(format!("{} for {name}", json::kind(other)), "a string"),
            ("type", _) => return invalid("a type that is not \"json\"", "\"json\" or no type"),
            _ => return invalid(format!("unknown key {}", quoted(name)), "only index, ddoc, name and type"),
        }
    }
    if !object.contains_key("index") {
        return invalid("no index", "{\"index\":{\"fields\":[…]},\"ddoc\":…,\"name\":…,\"type\":\"json\"}");
    }
    Ok(())
}

fn check_index(index: &Map<String, Value>) -> Result<(), InvalidIndex> {
    for (name, value) in index {
        match (name.as_str(), value) {
            ("fields", Value::Array(fields)) => fields.iter().try_for_each(check_field)?,
            ("fields", other) => return invalid(format!("{} for fields", json::kind(other)), "an array"),
            ("partial_filter_selector", _) => {}
            _ => {
                return invalid(
                    format!("unknown key {} in index", quoted(name)),
                    "only fields and partial_filter_selector",
                );
            }
        }
    }
    if !index.contains_key("fields") {
        return invalid("an index without fields", "an array of field names");
    }
    Ok(())
}

fn check_field(field: &Value) -> Result<(), InvalidIndex> {
    let sorted = |order: &Value| {
        order.as_str().is_some_and(|order| order.eq_ignore_ascii_case("asc") || order.eq_ignore_ascii_case("desc"))
    };
    match field {
        Value::String(_) => Ok(()),
        Value::Object(orders) if orders.values().all(sorted) => Ok(()),
        Value::Object(_) => {
            invalid("a field with an unknown sort order", "{\"field\":\"asc\"} or {\"field\":\"desc\"}")
        }
        other => invalid(format!("a field that is {}", json::kind(other)), "a field name or {\"field\":\"asc\"}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["couchdb/indexes/a.json", "couchdb/collections/c-1_X/indexes/a.json"] {
            assert_eq!(check_path(Path::new(good)), Ok(()), "{good}");
        }
        for bad in [
            "a.json",
            "couchdb/a.json",
            "couchdb/indexes",
            "couchdb/indexes/a.txt",
            "couchdb/collections/indexes/a.json",
            "couchdb/collections/c d/indexes/a.json",
            "leveldb/indexes/a.json",
        ] {
            assert!(check_path(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn contents() {
        for good in [
            r#"{"index":{"fields":["a","b"]},"ddoc":"d","name":"n","type":"json"}"#,
            r#"{"index":{"fields":[{"a":"ASC"},{"b":"desc"}],"partial_filter_selector":{}}}"#,
        ] {
            assert_eq!(check_content(good.as_bytes()), Ok(()), "{good}");
        }
        for (bad, found) in [
            ("{", "invalid JSON (EOF while parsing an object at line 1 column 1)"),
            ("[]", "an array"),
            ("{}", "no index"),
            (r#"{"index":{}}"#, "an index without fields"),
            (r#"{"index":[]}"#, "an array for index"),
            (r#"{"index":{"fields":{}}}"#, "an object for fields"),
            (r#"{"index":{"fields":[{"a":"up"}]}}"#, "a field with an unknown sort order"),
            (r#"{"index":{"fields":[1]}}"#, "a field that is a number"),
            (r#"{"index":{"fields":[],"x":1}}"#, "unknown key \"x\" in index"),
            (r#"{"index":{"fields":[]},"type":"text"}"#, "a type that is not \"json\""),
            (r#"{"index":{"fields":[]},"ddoc":1}"#, "a number for ddoc"),
            (r#"{"index":{"fields":[]},"x":1}"#, "unknown key \"x\""),
        ] {
            assert_eq!(check_content(bad.as_bytes()).unwrap_err().found, found, "{bad}");
        }
    }
}
