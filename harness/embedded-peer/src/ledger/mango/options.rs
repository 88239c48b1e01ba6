//! The options of a query in addition to its selector (`mango_opts:validate_find`), after the
//! peer's own parsing.

use std::collections::BTreeMap;

use super::json::{Json, Number};
use super::selector::{Refusal, Selector, normalize, split};

/// Options that CouchDB accepts and that have no effect here.
const WITHOUT_EFFECT: [&str; 10] = [
    "use_index",
    "limit",
    "partition",
    "r",
    "conflicts",
    "stale",
    "update",
    "stable",
    "execution_stats",
    "allow_fallback",
];

/// The parts of a query.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) selector: Option<Selector>,
    pub(super) sort: Vec<Vec<String>>,
    pub(super) descending: bool,
    /// `None` selects all fields.
    pub(super) fields: Option<Vec<Vec<String>>>,
    pub(super) skip: usize,
    pub(super) bookmark: String,
}

/// The query's members, or approximately the error of Go's decoder: it names the first invalid
/// character.
pub(super) fn decode(query: &str) -> Result<BTreeMap<String, Json>, String> {
    // Data after the first value is ignored, as in Go's stream decoder.
    let mut values = serde_json::Deserializer::from_str(query).into_iter::<Json>();
    let decoded = match values.next() {
        None => return Err("EOF".to_owned()),
        Some(Err(error)) if error.is_eof() => return Err("unexpected EOF".to_owned()),
        Some(Err(error)) => {
            let line = query.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            let wrong =
                String::from_utf8_lossy(line.as_bytes().get(error.column().saturating_sub(1)..).unwrap_or_default());
            let wrong = wrong.chars().next().unwrap_or('\u{fffd}');
            return Err(format!("invalid character '{wrong}' looking for beginning of value"));
        }
        Some(Ok(decoded)) => decoded,
    };
    let found = match decoded {
        Json::Object(fields) => {
            return match fields.get("fields") {
                None | Some(Json::Array(_)) => Ok(fields),
                Some(_) => Err("fields definition must be an array".to_owned()),
            };
        }
        Json::Null => return Ok(BTreeMap::new()),
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
    };
    Err(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
}

impl Options {
    pub(super) fn read(query: &BTreeMap<String, Json>) -> Result<Self, Refusal> {
        let selector = query
            .get("selector")
            .ok_or_else(|| Refusal::new("missing_required_key", "Missing required key: selector"))?;
        let selector = normalize(selector)?;
        if let Some(name) = query.get("use_index") {
            check_index(name)?;
        }
        let bookmark = match query.get("bookmark") {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(bookmark)) => bookmark.clone(),
            Some(other) => {
                let reason = format!("Unknown Error: mango_opts :: {{invalid_bookmark,{}}}", other.erlang());
                return Err(Refusal::unexpected(reason));
            }
        };
        let skip = query.get("skip").map_or(Ok(0), non_negative)?;
        let (sort, descending) = query.get("sort").map_or(Ok((Vec::new(), false)), sort)?;
        let fields = query.get("fields").map_or(Ok(None), fields)?;
        let known = |name: &str| {
            WITHOUT_EFFECT.contains(&name) || ["selector", "bookmark", "skip", "sort", "fields"].contains(&name)
        };
        match query.keys().find(|name| !known(name)) {
            Some(name) => Err(Refusal::new("invalid_key", format!("Invalid key {name} for this request."))),
            None => Ok(Self { selector, sort, descending, fields, skip, bookmark }),
        }
    }
}

fn non_negative(value: &Json) -> Result<usize, Refusal> {
    let number = match value {
        Json::Number(Number::Integer(number)) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        let reason = format!("{} is not an integer greater than or equal to zero", value.erlang());
        Refusal::new("invalid_non_neg_integer", reason)
    })
}

fn check_index(index: &Json) -> Result<(), Refusal> {
    let valid = match index {
        Json::Null => true,
        Json::String(name) => match name.split('/').collect::<Vec<_>>().as_slice() {
            [_] | [_, _] => true,
            [design, _, _] => *design == "_design",
            _ => false,
        },
        Json::Array(names) => names.len() <= 2 && names.iter().all(|name| matches!(name, Json::String(_))),
        _ => false,
    };
    if valid {
        Ok(())
    } else {
        Err(Refusal::new("invalid_index_name", format!("Invalid index name: {}", index.erlang())))
    }
}

fn sort(value: &Json) -> Result<(Vec<Vec<String>>, bool), Refusal> {
    let Json::Array(specifications) = value else {
        let reason = format!("Sort must be an array of sort specs, not: {}", value.erlang_pretty());
        return Err(Refusal::new("invalid_sort_json", reason));
    };
    let invalid =
        |value: &Json| Refusal::new("invalid_sort_field", format!("Invalid sort field: {}", value.erlang_pretty()));
    let mut paths = Vec::new();
    let mut directions = Vec::new();
    for specification in specifications {
        let (name, descending) = match specification {
            Json::String(name) if !name.is_empty() => (name, false),
            Json::Object(fields) if fields.len() == 1 => match fields.first_key_value() {
                Some((name, Json::String(direction))) if direction == "asc" => (name, false),
                Some((name, Json::String(direction))) if direction == "desc" => (name, true),
                _ => return Err(invalid(specification)),
            },
            other => return Err(invalid(other)),
        };
        paths.push(split(name)?);
        directions.push(descending);
    }
    directions.dedup();
    match directions.as_slice() {
        [] => Ok((paths, false)),
        [descending] => Ok((paths, *descending)),
        _ => Err(Refusal::new(
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.",
        )),
    }
}

fn fields(value: &Json) -> Result<Option<Vec<Vec<String>>>, Refusal> {
    let Json::Array(names) = value else { return Ok(None) };
    if names.is_empty() {
        return Ok(None);
    }
    let paths = names.iter().map(|name| match name {
        Json::String(name) => split(name),
        other => Err(Refusal::new("invalid_field", format!("Invalid JSON for field spec: {}", other.erlang()))),
    });
    paths.collect::<Result<_, _>>().map(Some)
}
