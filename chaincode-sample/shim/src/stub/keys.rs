//! Composite keys and the ranges of simple keys.
//!
//! The layout is Fabric's (`shim/stub.go` of fabric-chaincode-go): U+0000, then the object type and
//! each attribute, each followed by U+0000. The leading U+0000 separates them from simple keys.

use crate::stub_error::StubError;

const SEPARATOR: char = '\0';
/// Sorts after every valid attribute.
const LAST: char = char::MAX;
/// The start of an open range of simple keys: after all composite keys.
const FIRST_SIMPLE_KEY: &str = "\u{1}";

/// Builds a composite key.
///
/// ```
/// let key = chaincode_shim::composite_key("owner~asset", &["tom", "a1"]).unwrap();
/// assert_eq!(key, "\0owner~asset\0tom\0a1\0");
/// ```
///
/// # Errors
///
/// When a part contains U+0000 or U+10FFFF.
pub fn composite_key(object_type: &str, attributes: &[&str]) -> Result<String, StubError> {
    let mut key = String::from(SEPARATOR);
    for part in std::iter::once(&object_type).chain(attributes) {
        if let Some(position) = part.find([SEPARATOR, LAST]) {
            return Err(StubError::Invalid(format!(
                "invalid part of a composite key: {part:?} contains U+0000 or U+10FFFF at byte {position}"
            )));
        }
        key.push_str(part);
        key.push(SEPARATOR);
    }
    Ok(key)
}

/// Splits a composite key into its object type and its attributes.
///
/// ```
/// let (object_type, attributes) = chaincode_shim::split_composite_key("\0owner~asset\0tom\0a1\0").unwrap();
/// assert_eq!(object_type, "owner~asset");
/// assert_eq!(attributes, ["tom", "a1"]);
/// ```
///
/// # Errors
///
/// When `key` is not a composite key.
pub fn split_composite_key(key: &str) -> Result<(String, Vec<String>), StubError> {
    let mut parts = key
        .strip_prefix(SEPARATOR)
        .and_then(|rest| rest.strip_suffix(SEPARATOR))
        .map(|parts| parts.split(SEPARATOR).map(str::to_owned))
        .ok_or_else(|| StubError::Invalid(format!("not a composite key: {key:?}")))?;
    let object_type = parts.next().unwrap_or_default();
    Ok((object_type, parts.collect()))
}

/// The range of all composite keys that start with these parts.
pub(super) fn composite_range(object_type: &str, attributes: &[&str]) -> Result<(String, String), StubError> {
    let start = composite_key(object_type, attributes)?;
    let end = format!("{start}{LAST}");
    Ok((start, end))
}

/// The range of all composite keys.
pub(super) fn all_composite_keys() -> (String, String) {
    (SEPARATOR.to_string(), format!("{SEPARATOR}{LAST}"))
}

/// The range from `start` (empty: the first simple key) up to, but excluding, `end` (empty: no
/// upper bound).
pub(super) fn simple_range(start: &str, end: &str) -> Result<(String, String), StubError> {
    for key in [start, end] {
        if key.starts_with(SEPARATOR) {
            return Err(StubError::Invalid(format!(
                "invalid bound of a key range: {key:?} starts with U+0000, as composite keys do; \
                 use the queries for partial composite keys"
            )));
        }
    }
    let start = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
    Ok((start.to_owned(), end.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composite_key_splits_into_its_parts() {
        let key = composite_key("t", &["a", "", "ä"]).unwrap();
        assert_eq!(key, "\0t\0a\0\0ä\0");
        let parts = split_composite_key(&key).unwrap();
        assert_eq!(parts, ("t".to_owned(), ["a", "", "ä"].map(str::to_owned).to_vec()));
        let bare = composite_key("t", &[]).unwrap();
        assert_eq!(split_composite_key(&bare).unwrap(), ("t".to_owned(), vec![]));
    }

    #[test]
    fn invalid_parts_and_keys_are_rejected() {
        assert!(composite_key("t", &["a\0b"]).is_err());
        assert!(composite_key("t\u{10FFFF}", &[]).is_err());
        for not_composite in ["", "a", "\0", "\0a", "a\0"] {
            assert!(split_composite_key(not_composite).is_err(), "{not_composite:?}");
        }
    }

    #[test]
    fn a_range_of_simple_keys_excludes_composite_keys() {
        let open = simple_range("", "").unwrap();
        assert_eq!(open, ("\u{1}".to_owned(), String::new()));
        assert!(simple_range("\0a", "").is_err());
        assert!(simple_range("a", "\0").is_err());
    }
}
