//! Normalizes selectors as CouchDB does (`mango_selector:normalize`), because the steps affect
//! results: operators, then field names pushed inward through boolean operators, then negations.
//! The last two steps do not enter operators on array elements or keys.

use std::borrow::Cow;

use fancy_regex::Regex;

use super::json::{Json, Number};

/// A selector or part of a selector.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    And(Vec<Selector>),
    Or(Vec<Selector>),
    Nor(Vec<Selector>),
    Not(Box<Selector>),
    /// A condition on the value at a path; the empty path is the value itself.
    At(Vec<String>, Box<Selector>),
    Compare(Comparison, Json),
    In(Vec<Json>),
    NotIn(Vec<Json>),
    Exists(bool),
    Type(String),
    Modulo(i128, i128),
    Regex(Box<Regex>),
    BeginsWith(String),
    All(Vec<Json>),
    Size(i128),
    ElementMatch(Box<Selector>),
    AllMatch(Box<Selector>),
    KeyMatch(Box<Selector>),
    /// A condition for a text index.
    Text(Json),
    /// Without a text index, CouchDB matches everything.
    Anything,
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// A CouchDB error: HTTP status, name and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, reason: impl Into<String>) -> Self {
        Self { status: 400, error, reason: reason.into() }
    }

    /// An unexpected error of CouchDB.
    pub(crate) fn unexpected(reason: impl Into<String>) -> Self {
        Self { status: 500, error: "unknown_error", reason: reason.into() }
    }

    fn bad_field(selector: &str) -> Self {
        Self::new("bad_field", format!("Invalid field normalization on selector: {selector}"))
    }

    fn bad_argument(operator: &str, argument: &Json) -> Self {
        Self::new("bad_arg", format!("Bad argument for operator {operator}: {}", argument.erlang()))
    }
}

/// Parses a selector. `None` is the empty selector, which matches everything.
pub(crate) fn normalize(selector: &Json) -> Result<Option<Selector>, Refusal> {
    let Json::Object(fields) = selector else {
        return Err(Refusal::new(
            "invalid_selector_json",
            format!("Selector must be a JSON object, not: {}", selector.erlang()),
        ));
    };
    if fields.is_empty() {
        return Ok(None);
    }
    let normalized = negations(paths(operators(selector)?, "")?)?;
    match normalized {
        // On its own, an operator without arguments is an empty key range.
        Selector::And(selectors) | Selector::Or(selectors) if selectors.is_empty() => {
            Ok(Some(Selector::Or(vec![Selector::In(Vec::new())])))
        }
        Selector::At(path, _) if path.is_empty() => {
            Err(Refusal::new("invalid_selector", "One or more conditions is missing a field name."))
        }
        normalized => Ok(Some(normalized)),
    }
}

/// Until field names are pushed inward, a field is a path of one unsplit name.
fn operators(json: &Json) -> Result<Selector, Refusal> {
    let Json::Object(fields) = json else { return Ok(equal(json)) };
    let mut conditions = fields.iter().map(|(name, argument)| condition(name, argument));
    match fields.len() {
        0 => Ok(equal(json)),
        1 => conditions.next().unwrap_or_else(|| Ok(equal(json))),
        _ => Ok(Selector::And(conditions.collect::<Result<_, _>>()?)),
    }
}

fn equal(json: &Json) -> Selector {
    Selector::Compare(Comparison::Equal, json.clone())
}

fn condition(name: &str, argument: &Json) -> Result<Selector, Refusal> {
    let bad = || Refusal::bad_argument(name, argument);
    let list = || match argument {
        Json::Array(values) => Ok(values.clone()),
        _ => Err(bad()),
    };
    let selectors = || list()?.iter().map(operators).collect::<Result<Vec<_>, _>>();
    let nested = || match argument {
        Json::Object(_) => operators(argument).map(Box::new),
        _ => Err(bad()),
    };
    let comparison = |comparison| Ok(Selector::Compare(comparison, argument.clone()));
    match name {
        "$and" => Ok(Selector::And(selectors()?)),
        "$or" => Ok(Selector::Or(selectors()?)),
        "$nor" => Ok(Selector::Nor(selectors()?)),
        "$not" => Ok(Selector::Not(nested()?)),
        "$in" => Ok(Selector::In(list()?)),
        "$nin" => Ok(Selector::NotIn(list()?)),
        "$all" => Ok(Selector::All(list()?)),
        "$elemMatch" => Ok(Selector::ElementMatch(nested()?)),
        "$allMatch" => Ok(Selector::AllMatch(nested()?)),
        "$keyMapMatch" => Ok(Selector::KeyMatch(nested()?)),
        "$lt" => comparison(Comparison::Less),
        "$lte" => comparison(Comparison::LessOrEqual),
        "$eq" => comparison(Comparison::Equal),
        "$ne" => comparison(Comparison::NotEqual),
        "$gte" => comparison(Comparison::GreaterOrEqual),
        "$gt" => comparison(Comparison::Greater),
        "$where" | "$geoWithin" | "$geoIntersects" | "$near" | "$nearSphere" => {
            Err(Refusal::new("not_supported", format!("Unsupported operator: {name}")))
        }
        "$text" => match argument {
            Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(Selector::Text(argument.clone())),
            _ => Err(bad()),
        },
        "$default" => Err(Refusal::bad_field(&default_field(&argument.erlang()))),
        _ if name.starts_with('$') => terminal(name, argument),
        _ => Ok(Selector::At(vec![name.to_owned()], Box::new(operators(argument)?))),
    }
}

/// Operators with an argument of one type.
fn terminal(name: &str, argument: &Json) -> Result<Selector, Refusal> {
    let bad = || Refusal::bad_argument(name, argument);
    match (name, argument) {
        ("$exists", Json::Bool(exists)) => Ok(Selector::Exists(*exists)),
        ("$type", Json::String(name)) => Ok(Selector::Type(name.clone())),
        ("$beginsWith", Json::String(prefix)) => Ok(Selector::BeginsWith(prefix.clone())),
        ("$regex", Json::String(pattern)) => {
            Regex::new(&by_byte(pattern)).map(|regex| Selector::Regex(Box::new(regex))).map_err(|_| bad())
        }
        ("$size", Json::Number(Number::Integer(size))) if *size >= 0 => Ok(Selector::Size(*size)),
        ("$mod", Json::Array(numbers)) => match numbers.as_slice() {
            [Json::Number(Number::Integer(0)), Json::Number(Number::Integer(_))] => {
                Err(Refusal::unexpected("badarith"))
            }
            [Json::Number(Number::Integer(divisor)), Json::Number(Number::Integer(remainder))] => {
                Ok(Selector::Modulo(*divisor, *remainder))
            }
            _ => Err(bad()),
        },
        ("$exists" | "$type" | "$regex" | "$size" | "$mod", _) => Err(bad()),
        _ => Err(Refusal::new("invalid_operator", format!("Invalid operator: {name}"))),
    }
}

/// Pushes field names down to their conditions.
fn paths(selector: Selector, path: &str) -> Result<Selector, Refusal> {
    let all = |selectors: Vec<Selector>| {
        selectors.into_iter().map(|selector| paths(selector, path)).collect::<Result<Vec<_>, _>>()
    };
    let inside = |selector: Selector| paths(selector, "").map(Box::new);
    let at = |selector| Ok(Selector::At(if path.is_empty() { Vec::new() } else { split(path)? }, Box::new(selector)));
    match selector {
        Selector::And(selectors) => Ok(Selector::And(all(selectors)?)),
        Selector::Or(selectors) => Ok(Selector::Or(all(selectors)?)),
        Selector::Nor(selectors) => Ok(Selector::Nor(all(selectors)?)),
        Selector::Not(selector) => Ok(Selector::Not(Box::new(paths(*selector, path)?))),
        Selector::ElementMatch(selector) => at(Selector::ElementMatch(inside(*selector)?)),
        Selector::AllMatch(selector) => at(Selector::AllMatch(inside(*selector)?)),
        Selector::KeyMatch(selector) => at(Selector::KeyMatch(inside(*selector)?)),
        Selector::At(names, selector) => {
            let name = names.concat();
            let longer = if path.is_empty() { name } else { format!("{path}.{name}") };
            paths(*selector, &longer)
        }
        Selector::Text(_) if path.is_empty() => Ok(selector),
        Selector::Text(argument) => Err(Refusal::bad_field(&text_field(&argument))),
        terminal => at(terminal),
    }
}

/// A field's condition as Erlang prints it, for CouchDB's default text field.
fn default_field(condition: &str) -> String {
    let name = Json::String("$default".to_owned()).erlang();
    format!("{{[{{{name},{condition}}}]}}")
}

fn text_field(argument: &Json) -> String {
    let name = Json::String("$text".to_owned()).erlang();
    default_field(&format!("{{[{{{name},{}}}]}}", argument.erlang()))
}

/// CouchDB matches bytes, so a non-ASCII character is not a letter, and a dot matches only one of
/// its bytes. Replaces each such byte with a neutral character.
pub(crate) fn by_byte(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let meaningless = |byte: u8| char::from_u32(0xe000 + u32::from(byte)).unwrap_or('\u{e000}');
    Cow::Owned(text.bytes().map(|byte| if byte.is_ascii() { char::from(byte) } else { meaningless(byte) }).collect())
}

/// Splits a field name at its dots. A backslash escapes a dot.
pub(crate) fn split(field: &str) -> Result<Vec<String>, Refusal> {
    let mut names = vec![String::new()];
    let mut characters = field.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(String::new()),
            '\\' if characters.peek() == Some(&'.') => {
                characters.next();
                if let Some(name) = names.last_mut() {
                    name.push('.');
                }
            }
            '\\' => {}
            other => {
                if let Some(name) = names.last_mut() {
                    name.push(other);
                }
            }
        }
    }
    if names.iter().any(String::is_empty) {
        return Err(Refusal::new("invalid_field_name", format!("Invalid field name: {field}")));
    }
    Ok(names)
}

/// Moves negations down to the conditions, but not below a field, which has its own rules.
fn negations(selector: Selector) -> Result<Selector, Refusal> {
    match selector {
        Selector::Not(selector) => negate(*selector),
        Selector::Nor(selectors) => Ok(Selector::And(each(selectors, negate)?)),
        Selector::And(selectors) => Ok(Selector::And(each(selectors, negations)?)),
        Selector::Or(selectors) => Ok(Selector::Or(each(selectors, negations)?)),
        Selector::Text(_) => Ok(Selector::Anything),
        other => Ok(other),
    }
}

fn each(selectors: Vec<Selector>, change: fn(Selector) -> Result<Selector, Refusal>) -> Result<Vec<Selector>, Refusal> {
    selectors.into_iter().map(change).collect()
}

fn negate(selector: Selector) -> Result<Selector, Refusal> {
    Ok(match selector {
        Selector::Not(selector) => negations(*selector)?,
        Selector::Nor(selectors) => Selector::Or(each(selectors, negations)?),
        Selector::And(selectors) => Selector::Or(each(selectors, negate)?),
        Selector::Or(selectors) => Selector::And(each(selectors, negate)?),
        Selector::Compare(comparison, argument) => Selector::Compare(comparison.opposite(), argument),
        Selector::In(values) => Selector::NotIn(values),
        Selector::NotIn(values) => Selector::In(values),
        Selector::Exists(exists) => Selector::Exists(!exists),
        Selector::At(path, selector) => Selector::At(path, Box::new(negate(*selector)?)),
        Selector::Text(argument) => {
            let reason = format!("Bad argument for operator $not: {}", text_field(&argument));
            return Err(Refusal::new("bad_arg", reason));
        }
        other => Selector::Not(Box::new(other)),
    })
}

impl Comparison {
    const fn opposite(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::GreaterOrEqual => Self::Less,
            Self::Greater => Self::LessOrEqual,
        }
    }
}
