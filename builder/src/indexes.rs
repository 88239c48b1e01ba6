//! CouchDB indexes in a package: where they may lie and what they must say for a peer to create
//! them (Fabric: `internal/ccmetadata/validators.go`). Installing checks none of this; a peer only
//! logs an error when the chaincode is committed, and queries stay slow. Copies no file.

use std::path::Path;

use serde_json::{Map, Value};

use crate::json;
use crate::quote::quoted;

/// What is wrong with a file below `statedb/`, completing "found …, expected …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is there.
    pub found: String,
    /// What a peer needs.
    pub expected: String,
}

fn misfit(found: impl Into<String>, expected: impl Into<String>) -> Result<(), Misfit> {
    Err(Misfit { found: found.into(), expected: expected.into() })
}

/// Checks the place of a file, given by its path below `statedb/`.
///
/// # Errors
/// [`Misfit`], when a peer would not look for an index there.
pub fn check_place(path: &Path) -> Result<(), Misfit> {
    let steps: Vec<_> = path.iter().map(|step| step.to_string_lossy()).collect();
    let steps: Vec<&str> = steps.iter().map(AsRef::as_ref).collect();
    let file = match steps.as_slice() {
        ["couchdb", "indexes", .., file] => file,
        ["couchdb", "collections", collection, "indexes", .., file] => {
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if collection.is_empty() || !collection.chars().all(named) {
                return misfit(format!("collection {}", quoted(collection)), "a name of letters, digits, _ and -");
            }
            file
        }
        _ => return misfit("a file where no peer looks", "couchdb/indexes/ or couchdb/collections/NAME/indexes/"),
    };
    // Case counts, as it does for a peer.
    if Path::new(file).extension() != Some("json".as_ref()) {
        return misfit("a file without the ending .json", "one index a file, ending in .json");
    }
    Ok(())
}

/// Checks the content of an index.
///
/// # Errors
/// [`Misfit`], when a peer would not create it.
pub fn check_content(bytes: &[u8]) -> Result<(), Misfit> {
    let object = match json::object(bytes) {
        Ok(object) => object,
        Err(problem) => return misfit(format!("a file that {problem}"), "a JSON object with an index"),
    };
    for (name, value) in &object {
        match (name.as_str(), value) {
            ("index", Value::Object(index)) => check_index(index)?,
            ("ddoc" | "name", Value::String(_)) => {}
            ("type", value) if value == "json" => {}
            ("index", other) => return misfit(format!("index: {}", json::kind(other)), "an object with fields"),
            ("ddoc" | "name", other) => return misfit(format!("{name}: {}", json::kind(other)), "a string"),
            ("type", _) => return misfit("a type that is not \"json\"", "\"json\", or none"),
            _ => return misfit(format!("entry {}", quoted(name)), "only index, ddoc, name and type"),
        }
    }
    if !object.contains_key("index") {
        return misfit("no index", "{\"index\":{\"fields\":[…]},\"ddoc\":…,\"name\":…,\"type\":\"json\"}");
    }
    Ok(())
}

fn check_index(index: &Map<String, Value>) -> Result<(), Misfit> {
    for (name, value) in index {
        match (name.as_str(), value) {
            ("fields", Value::Array(fields)) => fields.iter().try_for_each(check_field)?,
            ("fields", other) => return misfit(format!("fields: {}", json::kind(other)), "an array"),
            ("partial_filter_selector", _) => {}
            _ => return misfit(format!("index entry {}", quoted(name)), "only fields and partial_filter_selector"),
        }
    }
    if !index.contains_key("fields") {
        return misfit("an index without fields", "an array of field names");
    }
    Ok(())
}

fn check_field(field: &Value) -> Result<(), Misfit> {
    let sorted = |order: &Value| {
        order.as_str().is_some_and(|order| order.eq_ignore_ascii_case("asc") || order.eq_ignore_ascii_case("desc"))
    };
    match field {
        Value::String(_) => Ok(()),
        Value::Object(orders) if orders.values().all(sorted) => Ok(()),
        Value::Object(_) => {
            misfit("a field whose order is neither asc nor desc", "{\"field\":\"asc\"} or {\"field\":\"desc\"}")
        }
        other => misfit(format!("a field that is {}", json::kind(other)), "a field's name, or {\"field\":\"asc\"}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for good in ["couchdb/indexes/a.json", "couchdb/collections/c-1_X/indexes/a.json"] {
            assert_eq!(check_place(Path::new(good)), Ok(()), "{good}");
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
            assert!(check_place(Path::new(bad)).is_err(), "{bad}");
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
            ("{", "a file that is not JSON: EOF while parsing an object at line 1 column 1"),
            ("[]", "a file that is an array, not a JSON object"),
            ("{}", "no index"),
            (r#"{"index":{}}"#, "an index without fields"),
            (r#"{"index":[]}"#, "index: an array"),
            (r#"{"index":{"fields":{}}}"#, "fields: an object"),
            (r#"{"index":{"fields":[{"a":"up"}]}}"#, "a field whose order is neither asc nor desc"),
            (r#"{"index":{"fields":[1]}}"#, "a field that is a number"),
            (r#"{"index":{"fields":[],"x":1}}"#, "index entry \"x\""),
            (r#"{"index":{"fields":[]},"type":"text"}"#, "a type that is not \"json\""),
            (r#"{"index":{"fields":[]},"ddoc":1}"#, "ddoc: a number"),
            (r#"{"index":{"fields":[]},"x":1}"#, "entry \"x\""),
        ] {
            assert_eq!(check_content(bad.as_bytes()).unwrap_err().found, found, "{bad}");
        }
    }
}
