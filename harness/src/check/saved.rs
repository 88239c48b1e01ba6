//! Values that a case takes from its payload, and their use in later cases.
//!
//! `${case.NAME}` in a text stands for a saved value, `$${` for a literal `${`. Every other `$` stands for itself. A
//! string in JSON that is only `${case.NAME}` becomes the saved value, whatever its type.

use super::Difference;
use super::cases::Case;
use super::data::{Place, visit_json};
use fabric_primitives::duration;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The saved values, by name.
#[derive(Debug, Default)]
pub struct Saved(BTreeMap<String, Value>);

/// The values to save: each name with the path of its value, or without one for the whole payload as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Save(BTreeMap<String, Option<JsonPath>>);

impl Save {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the values from a payload.
    pub(super) fn take(&self, payload: &[u8], saved: &mut Saved) -> Result<(), Difference> {
        for (name, path) in &self.0 {
            let text = String::from_utf8_lossy(payload);
            let value = match path {
                None => std::str::from_utf8(payload).ok().map(Value::from),
                Some(path) => serde_json::from_slice(payload).ok().and_then(|json| path.find(&json).cloned()),
            };
            let wanted = || path.as_ref().map_or_else(|| "text".to_owned(), |path| format!("JSON with {path}"));
            let missing = || Difference {
                expected: format!("{} as the payload, to save {name}", wanted()),
                seen: format!("the payload {text}"),
            };
            saved.0.insert(name.clone(), value.ok_or_else(missing)?);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Save {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SaveVisitor;
        impl<'de> Visitor<'de> for SaveVisitor {
            type Value = Save;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name such as \"id\", or names with JSON paths: { id = \"$.ID\" }")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Save, E> {
                Ok(Save(BTreeMap::from([(checked(name)?, None)])))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Save, A::Error> {
                let mut save = Save::default();
                while let Some((name, path)) = map.next_entry::<String, String>()? {
                    save.0.insert(checked(&name)?, Some(path.parse().map_err(A::Error::custom)?));
                }
                Ok(save)
            }
        }
        deserializer.deserialize_any(SaveVisitor)
    }
}

fn checked<E: Error>(name: &str) -> Result<String, E> {
    if !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)) {
        return Ok(name.to_owned());
    }
    Err(E::custom(format!("invalid name `{name}`; use letters, digits, `-` and `_`")))
}

/// The path of a value in JSON: `$`, `$.ID`, `$.owners[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(String);

impl JsonPath {
    fn find<'a>(&self, json: &'a Value) -> Option<&'a Value> {
        json.pointer(&self.pointer())
    }

    /// The same as a JSON pointer (RFC 6901).
    fn pointer(&self) -> String {
        let escaped = self.0[1..].replace('~', "~0").replace('/', "~1");
        escaped.replace(['.', '['], "/").replace(']', "")
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_step = |step: &str| {
            let (name, indexes) = step.split_at(step.find('[').unwrap_or(step.len()));
            let mut indexes = indexes.split_inclusive(']');
            !name.contains(']')
                && indexes.all(|index| {
                    let index = index.strip_prefix('[').and_then(|index| index.strip_suffix(']'));
                    index.is_some_and(|index| index.parse::<usize>().is_ok())
                })
        };
        let valid = text.strip_prefix('$').is_some_and(|rest| {
            let mut steps = rest.split('.');
            let first = steps.next().unwrap_or_default();
            (first.is_empty() || first.starts_with('['))
                && is_step(first)
                && steps.all(|step| !step.is_empty() && !step.starts_with('[') && is_step(step))
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("invalid path `{text}`; give a path such as $.ID or $[0].owner"))
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How long a case is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until(pub Duration);

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nanoseconds = duration::parse(&text).ok().and_then(|number| u64::try_from(number).ok());
        let duration = nanoseconds.filter(|number| *number > 0).map(Duration::from_nanos);
        duration
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("invalid duration `{text}`; give one such as 10s or 500ms")))
    }
}

/// Why a text cannot be filled.
#[derive(Debug, PartialEq, Eq)]
enum Unknown {
    /// A value that was not saved.
    Value(String),
    /// Something other than `${case.NAME}`.
    Other(String),
}

/// Replaces the references in a text; `value` returns the values.
fn filled(text: &str, value: &mut impl FnMut(&str) -> Option<Value>) -> Result<Value, Unknown> {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            rest = &reference[2..];
            continue;
        }
        whole.push_str(before);
        let end = reference.find('}').map_or(reference.len(), |end| end + 1);
        let (reference, after) = reference.split_at(end);
        let name = reference.strip_prefix("${case.").and_then(|name| name.strip_suffix('}'));
        let name = name.ok_or_else(|| Unknown::Other(reference.to_owned()))?;
        let found = value(name).ok_or_else(|| Unknown::Value(name.to_owned()))?;
        if before.is_empty() && after.is_empty() && whole.is_empty() {
            return Ok(found);
        }
        match found {
            Value::String(found) => whole.push_str(&found),
            found => whole.push_str(&found.to_string()),
        }
        rest = after;
    }
    whole.push_str(rest);
    Ok(Value::String(whole))
}

impl Case {
    /// The case with saved values in place of the references to them; the name of one that was not saved.
    pub(super) fn filled(&self, saved: &Saved) -> Result<Self, String> {
        let mut case = self.clone();
        let mut value = |name: &str| saved.0.get(name).cloned();
        case.fill(&mut value).map_err(|unknown| match unknown {
            Unknown::Value(name) | Unknown::Other(name) => name,
        })?;
        Ok(case)
    }

    /// Checks that every reference is to a value that an earlier case saves, of which these are the names, and adds
    /// those of this case.
    pub(super) fn check_references(&self, names: &mut BTreeSet<String>) -> Result<(), String> {
        let mut value = |name: &str| names.contains(name).then_some(Value::Null);
        self.clone().fill(&mut value).map_err(|unknown| match unknown {
            Unknown::Value(name) => {
                let known = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "a value".to_owned() } else { format!("it, only {known}") };
                format!("unknown ${{case.{name}}}: no case before this one saves {known}")
            }
            Unknown::Other(reference) => {
                format!("unknown {reference}; write `$${{` for a literal `${{`, and ${{case.NAME}} for a saved value")
            }
        })?;
        names.extend(self.save.0.keys().cloned());
        Ok(())
    }

    fn fill(&mut self, value: &mut impl FnMut(&str) -> Option<Value>) -> Result<(), Unknown> {
        let mut visit = |place: Place<'_>| -> Result<(), Unknown> {
            match place {
                Place::Text(text) => {
                    *text = match filled(text, value)? {
                        Value::String(filled) => filled,
                        other => other.to_string(),
                    }
                }
                Place::Json(json) => {
                    if let Value::String(text) = &*json {
                        *json = filled(text, value)?;
                    }
                }
            }
            Ok(())
        };
        let calls = [&mut self.submit, &mut self.evaluate];
        for data in calls.into_iter().flatten().flatten().chain(self.transient.values_mut()) {
            data.visit(&mut visit)?;
        }
        for text in [&mut self.payload_text, &mut self.error].into_iter().flatten() {
            visit(Place::Text(text))?;
        }
        let event = self.event.as_mut().and_then(|event| event.payload.as_mut());
        for payload in self.payload.as_mut().into_iter().chain(event) {
            visit_json(&mut payload.0, &mut visit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CaseFile;
    use super::*;
    use serde_json::json;

    fn case(text: &str) -> Case {
        let text = format!(
            "[[case]]\nname = 'first'\nevaluate = ['F']\nsave = {{ id = '$', size = '$', all = '$' }}\n[[case]]\nname = 'c'\n{text}"
        );
        CaseFile::from_toml("t", &text).unwrap().cases.remove(1)
    }

    fn saved() -> Saved {
        Saved(BTreeMap::from([
            ("id".into(), json!("a\"1")),
            ("size".into(), json!(5)),
            ("all".into(), json!({"a": [1]})),
        ]))
    }

    #[test]
    fn saved_values_are_used_in_texts_and_json() {
        let case = case(
            "submit = ['F', 'x-${case.id}-${case.size}', '$${case.id} $ $$', { json = { id = '${case.id}', n = '${case.size}', \
             t = 'n${case.size}' } }]\ntransient = { t = '${case.all}' }\npayload = { ID = ['${case.size}'] }\n\
             event = { name = 'E', payload = '${case.id}' }",
        );
        let case = case.filled(&saved()).unwrap();
        let arguments: Vec<String> =
            case.call().arguments().iter().map(|argument| String::from_utf8(argument.bytes()).unwrap()).collect();
        assert_eq!(arguments, ["F", "x-a\"1-5", "${case.id} $ $$", r#"{"id":"a\"1","n":5,"t":"n5"}"#]);
        assert_eq!(case.transient["t"].bytes(), br#"{"a":[1]}"#);
        assert_eq!(case.payload.unwrap().0, json!({"ID": [5]}));
        assert_eq!(case.event.unwrap().payload.unwrap().0, json!("a\"1"));
    }

    #[test]
    fn a_value_that_was_not_saved_is_named() {
        let case = case("evaluate = ['F']\nerror = 'no ${case.id}'");
        assert_eq!(case.filled(&Saved::default()).unwrap_err(), "id");
        assert_eq!(case.filled(&saved()).unwrap().error.as_deref(), Some("no a\"1"));
    }

    #[test]
    fn values_are_taken_from_a_payload() {
        let save = |text: &str| toml::from_str::<BTreeMap<String, Save>>(text).unwrap().remove("save").unwrap();
        let mut saved = Saved::default();
        let payload = br#"{"ID": "a1", "owners": [{"a/b": 7}, [true]]}"#;
        save("save = 'whole'").take(b"text", &mut saved).unwrap();
        let paths = save("save = { id = '$.ID', deep = '$.owners[0].a/b', last = '$.owners[1][0]', json = '$' }");
        paths.take(payload, &mut saved).unwrap();
        assert_eq!(saved.0["whole"], json!("text"));
        assert_eq!((&saved.0["id"], &saved.0["deep"], &saved.0["last"]), (&json!("a1"), &json!(7), &json!(true)));
        assert!(saved.0["json"].is_object());
        let missing = save("save = { id = '$.Id' }").take(payload, &mut saved).unwrap_err();
        assert_eq!(missing.expected, "JSON with $.Id as the payload, to save id");
        assert!(missing.seen.contains("a1"), "{missing}");
        assert!(save("save = 'id'").take(b"\xff", &mut saved).is_err());
    }

    #[test]
    fn only_paths_that_can_be_followed_are_valid() {
        for path in ["", "ID", "$ID", "$.", "$..a", "$.a[", "$.a[x]", "$.a]", "$[0]x", "$.a.[0]"] {
            assert!(path.parse::<JsonPath>().is_err(), "{path}");
        }
        for path in ["$", "$.a", "$[0]", "$[0][1].a.b[2]"] {
            assert!(path.parse::<JsonPath>().is_ok(), "{path}");
        }
    }
}
