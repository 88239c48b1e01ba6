//! JSON objects the way Go's `encoding/json` reads them into a struct: names match without
//! regard to case, the last of equal names wins, null is absent. The peer reads connection.json so;
//! a file that only looks right to a stricter reader would be another one to the peer.

use serde_json::{Map, Value};

/// Reads a whole text as one JSON object; the error says where it stops being one.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("starts with a byte order mark; save it as UTF-8 without one".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("is {}, not a JSON object", kind(&other))),
        Err(error) => Err(format!("is not JSON: {error}")),
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

/// A name folded as Go folds it to find a struct's field: ASCII case, and the two other
/// characters whose simple case folding is an ASCII letter.
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
    fn folds_like_go() {
        assert_eq!(folded("Tls_Required"), "tls_required");
        assert_eq!(folded("addre\u{17f}\u{17f}"), "address");
        assert_eq!(folded("client_\u{212a}ey"), "client_key");
    }

    #[test]
    fn only_whole_objects_are_taken() {
        assert!(object(b"{\"a\":1}").is_ok());
        assert!(object(b"[1]").unwrap_err().contains("an array"));
        assert!(object(b"{} {}").unwrap_err().contains("line 1 column 4"));
        assert!(object("\u{feff}{}".as_bytes()).unwrap_err().contains("byte order mark"));
        let deep = "[".repeat(100_000);
        assert!(object(deep.as_bytes()).unwrap_err().contains("recursion limit"));
    }
}
