//! JSON objects as Go's `encoding/json` reads them into a struct: names are case-insensitive, the last
//! of equal names wins, null means absent. The peer reads connection.json this way.

use serde_json::{Map, Value};

/// Parses a text as one JSON object. The error says what was found instead.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("a byte order mark (save the file as UTF-8 without it)".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(kind(&other).to_owned()),
        Err(error) => Err(format!("invalid JSON ({error})")),
    }
}

/// The name of a JSON value's type, with an article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Folds a name as Go does to find a struct's field: ASCII case, and the two other characters whose
/// simple case folding is an ASCII letter.
pub(crate) fn folded(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            character => character.to_ascii_lowercase(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_as_in_go() {
        assert_eq!(folded("Tls_Required"), "tls_required");
        assert_eq!(folded("addre\u{17f}\u{17f}"), "address");
        assert_eq!(folded("client_\u{212a}ey"), "client_key");
    }

    #[test]
    fn only_complete_objects_are_accepted() {
        assert!(object(b"{\"a\":1}").is_ok());
        assert_eq!(object(b"[1]").unwrap_err(), "an array");
        assert!(object(b"{} {}").unwrap_err().contains("line 1 column 4"));
        assert!(object("\u{feff}{}".as_bytes()).unwrap_err().contains("byte order mark"));
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes()).unwrap_err().contains("recursion limit"));
    }
}
