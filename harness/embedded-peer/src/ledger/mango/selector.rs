//! Selectors, brought into the form that they are matched in. What CouchDB does on the way is visible in results, so
//! the steps are its steps (`mango_selector:normalize`): operators, then field names pushed inward through boolean
//! operators, then negations, but neither of the last two inside an operator on array elements or keys.

use fancy_regex::Regex;

use super::json::{Json, Number};

/// A selector or a part of one.
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
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// An error of CouchDB: its name and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: &'static str,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, reason: impl Into<String>) -> Self {
        Self { error, reason: reason.into() }
    }

    fn bad_argument(operator: &str, argument: &Json) -> Self {
        Self::new("bad_arg", format!("Bad argument for operator {operator}: {}", argument.erlang()))
    }
}

/// Reads a selector. None is the empty one, which takes everything.
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
    let normalized = negations(paths(operators(selector)?, &[])?);
    match normalized {
        Selector::At(path, _) if path.is_empty() => {
            Err(Refusal::new("invalid_selector", "One or more conditions is missing a field name."))
        }
        normalized => Ok(Some(normalized)),
    }
}

/// Before its names are pushed inward, a field is a path of one name, not yet taken apart.
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
        // Only text indexes serve it, and Fabric has none.
        "$text" => Err(Refusal::new("no_usable_index", "There is no index available for this selector.")),
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
            Regex::new(pattern).map(|regex| Selector::Regex(Box::new(regex))).map_err(|_| bad())
        }
        ("$size", Json::Number(Number::Integer(size))) if *size >= 0 => Ok(Selector::Size(*size)),
        ("$mod", Json::Array(numbers)) => match numbers.as_slice() {
            [Json::Number(Number::Integer(divisor)), Json::Number(Number::Integer(remainder))] => {
                Ok(Selector::Modulo(*divisor, *remainder))
            }
            _ => Err(bad()),
        },
        ("$exists" | "$type" | "$beginsWith" | "$regex" | "$size" | "$mod", _) => Err(bad()),
        _ => Err(Refusal::new("invalid_operator", format!("Invalid operator: {name}"))),
    }
}

/// Pushes field names down to the conditions that they are for.
fn paths(selector: Selector, path: &[String]) -> Result<Selector, Refusal> {
    let all = |selectors: Vec<Selector>| {
        selectors.into_iter().map(|selector| paths(selector, path)).collect::<Result<Vec<_>, _>>()
    };
    let inside = |selector: Selector| paths(selector, &[]).map(Box::new);
    let at = |selector| Ok(Selector::At(path.to_vec(), Box::new(selector)));
    match selector {
        Selector::And(selectors) => Ok(Selector::And(all(selectors)?)),
        Selector::Or(selectors) => Ok(Selector::Or(all(selectors)?)),
        Selector::Nor(selectors) => Ok(Selector::Nor(all(selectors)?)),
        Selector::Not(selector) => Ok(Selector::Not(Box::new(paths(*selector, path)?))),
        Selector::ElementMatch(selector) => at(Selector::ElementMatch(inside(*selector)?)),
        Selector::AllMatch(selector) => at(Selector::AllMatch(inside(*selector)?)),
        Selector::KeyMatch(selector) => at(Selector::KeyMatch(inside(*selector)?)),
        Selector::At(names, selector) => {
            let mut longer = path.to_vec();
            for name in &names {
                longer.extend(split(name)?);
            }
            paths(*selector, &longer)
        }
        terminal => at(terminal),
    }
}

/// Takes a field's name apart at its dots. A backslash makes a dot part of the name.
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

/// Moves negations down to the conditions. Not into what is below a field: that has its own rules.
fn negations(selector: Selector) -> Selector {
    match selector {
        Selector::Not(selector) => negate(*selector),
        Selector::Nor(selectors) => Selector::And(selectors.into_iter().map(negate).collect()),
        Selector::And(selectors) => Selector::And(selectors.into_iter().map(negations).collect()),
        Selector::Or(selectors) => Selector::Or(selectors.into_iter().map(negations).collect()),
        other => other,
    }
}

fn negate(selector: Selector) -> Selector {
    match selector {
        Selector::Not(selector) => negations(*selector),
        Selector::Nor(selectors) => Selector::Or(selectors.into_iter().map(negations).collect()),
        Selector::And(selectors) => Selector::Or(selectors.into_iter().map(negate).collect()),
        Selector::Or(selectors) => Selector::And(selectors.into_iter().map(negate).collect()),
        Selector::Compare(comparison, argument) => Selector::Compare(comparison.opposite(), argument),
        Selector::In(values) => Selector::NotIn(values),
        Selector::NotIn(values) => Selector::In(values),
        Selector::Exists(exists) => Selector::Exists(!exists),
        Selector::At(path, selector) => Selector::At(path, Box::new(negate(*selector))),
        other => Selector::Not(Box::new(other)),
    }
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
