//! Compares JSON with expected JSON.

use serde_json::{Number, Value};

/// Compares JSON. Objects may have additional members; everything else must be equal. Numbers are compared by
/// value: `5` equals `5.0`.
///
/// # Errors
///
/// The first difference, with its path (`$[0].Owner`).
pub(super) fn match_json(expected: &Value, seen: &Value) -> Result<(), String> {
    match_at("$", expected, seen)
}

fn match_at(place: &str, expected: &Value, seen: &Value) -> Result<(), String> {
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => expected.iter().try_for_each(|(name, expected)| {
            let seen = seen.get(name).ok_or_else(|| format!("{place}.{name} is missing"))?;
            match_at(&format!("{place}.{name}"), expected, seen)
        }),
        (Value::Array(expected), Value::Array(seen)) => {
            if expected.len() != seen.len() {
                return Err(format!("{place} has {} elements, not {}", seen.len(), expected.len()));
            }
            let mut pairs = expected.iter().zip(seen).enumerate();
            pairs.try_for_each(|(index, (expected, seen))| match_at(&format!("{place}[{index}]"), expected, seen))
        }
        (Value::Number(expected), Value::Number(seen)) if is_same(expected, seen) => Ok(()),
        _ if expected == seen => Ok(()),
        _ => Err(format!("{place} is {seen}, not {expected}")),
    }
}

/// Compares integers exactly, and other numbers as `f64`.
#[allow(clippy::float_cmp, reason = "both were read from decimal digits")]
fn is_same(one: &Number, other: &Number) -> bool {
    let is_whole = |number: &Number| number.is_i64() || number.is_u64();
    one == other || !(is_whole(one) && is_whole(other)) && one.as_f64() == other.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_matches_with_further_members_but_not_with_others() {
        let seen = json!([{ "ID": "a", "Size": 5, "Owner": "x" }]);
        assert_eq!(match_json(&json!([{ "ID": "a", "Size": 5 }]), &seen), Ok(()));
        assert_eq!(match_json(&json!([{ "Size": 6 }]), &seen).unwrap_err(), "$[0].Size is 5, not 6");
        assert_eq!(match_json(&json!([{ "Color": "b" }]), &seen).unwrap_err(), "$[0].Color is missing");
        assert_eq!(match_json(&json!([]), &seen).unwrap_err(), "$ has 1 elements, not 0");
        assert_eq!(
            match_json(&json!({}), &seen).unwrap_err(),
            "$ is [{\"ID\":\"a\",\"Owner\":\"x\",\"Size\":5}], not {}"
        );
    }

    #[test]
    fn numbers_are_compared_by_their_values() {
        assert_eq!(match_json(&json!(5), &json!(5.0)), Ok(()));
        assert_eq!(match_json(&json!(0.5), &json!(0.50)), Ok(()));
        assert!(match_json(&json!(5), &json!(5.5)).is_err());
        assert!(match_json(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)).is_err());
    }
}
