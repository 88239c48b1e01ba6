//! Fills `${name}` in a text. It knows nothing of YAML except quoting a string.

/// A value as YAML's double-quoted string: every JSON string is one.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Replaces each `${name}` with its value, which the caller quotes. An empty value alone on a line leaves an
/// empty line.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "the template has ${{{name}}}, which has no value");
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in() {
        let values = [("a", "1".to_owned()), ("b", quoted("x: \"y\"\n"))];
        assert_eq!(fill("${a}, ${b}, ${a}.", &values), "1, \"x: \\\"y\\\"\\n\", 1.");
    }

    #[test]
    fn a_value_is_not_searched_for_names() {
        let values = [("a", "${b}".to_owned()), ("b", "no".to_owned())];
        assert_eq!(fill("${a}", &values), "${b}");
    }
}
