//! CouchDB's order of JSON values: null, false, true, numbers, strings by the Unicode Collation Algorithm, arrays,
//! objects (`couch_ejson_compare`).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use icu_collator::options::CollatorOptions;
use icu_collator::{Collator, CollatorBorrowed};

use super::json::{Json, Number};

/// ICU's root collation with CouchDB's options. `None` only if the compiled data is broken.
static COLLATOR: LazyLock<Option<CollatorBorrowed<'static>>> =
    LazyLock::new(|| Collator::try_new(icu_collator::CollatorPreferences::default(), CollatorOptions::default()).ok());

/// Compares two values.
pub(crate) fn compare(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => compare_numbers(*left, *right),
        (Json::String(left), Json::String(right)) => compare_strings(left, right),
        (Json::Array(left), Json::Array(right)) => left
            .iter()
            .zip(right)
            .map(|(left, right)| compare(left, right))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| left.len().cmp(&right.len())),
        (Json::Object(left), Json::Object(right)) => compare_objects(left, right),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn compare_objects(left: &BTreeMap<String, Json>, right: &BTreeMap<String, Json>) -> Ordering {
    left.iter()
        .zip(right)
        .map(|((name, value), (other_name, other_value))| {
            compare_strings(name, other_name).then_with(|| compare(value, other_value))
        })
        .find(|order| order.is_ne())
        .unwrap_or_else(|| left.len().cmp(&right.len()))
}

/// Strings that differ only in ignorable characters are equal.
pub(crate) fn compare_strings(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    COLLATOR.as_ref().map_or_else(|| left.cmp(right), |collator| collator.compare(left, right))
}

fn compare_numbers(left: Number, right: Number) -> Ordering {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => left.cmp(&right),
        _ => left.float().partial_cmp(&right.float()).unwrap_or(Ordering::Equal),
    }
}

const fn rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::Bool(false) => 1,
        Json::Bool(true) => 2,
        Json::Number(_) => 3,
        Json::String(_) => 4,
        Json::Array(_) => 5,
        Json::Object(_) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in CouchDB's documentation of view collation.
    #[test]
    fn values_have_couchdb_order() {
        let ordered = [
            "null",
            "false",
            "true",
            "1",
            "2",
            "3.0",
            "4",
            r#""a""#,
            r#""A""#,
            r#""aa""#,
            r#""b""#,
            r#""B""#,
            r#""ba""#,
            r#""bb""#,
            r#"["a"]"#,
            r#"["b"]"#,
            r#"["b","c"]"#,
            r#"["b","c","a"]"#,
            r#"["b","d"]"#,
            r#"["b","d","e"]"#,
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"b":1}"#,
            r#"{"b":2}"#,
            r#"{"b":2,"c":2}"#,
        ];
        let values: Vec<Json> = ordered.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for (place, left) in values.iter().enumerate() {
            for (other, right) in values.iter().enumerate() {
                assert_eq!(compare(left, right), place.cmp(&other), "{} and {}", left.text(), right.text());
            }
        }
    }

    #[test]
    fn punctuation_comes_before_digits_and_accents_after_their_letters() {
        let ordered =
            ["_", "-", ",", ";", ":", "!", "?", ".", "'", "(", "@", "*", "/", "&", "#", "%", "`", "^", "+", "<"];
        for pair in ordered.windows(2) {
            assert_eq!(compare_strings(pair[0], pair[1]), Ordering::Less, "{} and {}", pair[0], pair[1]);
        }
        for pair in ["~", "$", "0", "1", "a", "A", "\u{e4}", "b", "z"].windows(2) {
            assert_eq!(compare_strings(pair[0], pair[1]), Ordering::Less, "{} and {}", pair[0], pair[1]);
        }
        assert_eq!(compare_strings("\u{e4}", "a\u{308}"), Ordering::Equal);
    }
}
