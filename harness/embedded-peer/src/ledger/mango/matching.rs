//! Matches documents against selectors (`mango_selector:match`).

use std::cmp::Ordering;

use super::collate::compare;
use super::json::{Json, Number};
use super::selector::{Comparison, Selector, by_byte};

/// How to compare values; document IDs are compared by bytes.
type Order = fn(&Json, &Json) -> Ordering;

/// The field that holds a document's key.
pub(crate) const ID: &str = "_id";

impl Selector {
    /// Whether the value matches.
    pub(crate) fn matches(&self, value: &Json) -> bool {
        self.holds(value, compare)
    }

    fn holds(&self, value: &Json, order: Order) -> bool {
        match self {
            Self::And(selectors) => selectors.iter().all(|selector| selector.holds(value, order)),
            Self::Or(selectors) => {
                selectors.is_empty() || selectors.iter().any(|selector| selector.holds(value, order))
            }
            Self::Not(selector) => !selector.holds(value, order),
            // A Nor remains only inside operators on elements, which treat CouchDB's error as a
            // mismatch.
            Self::Nor(_) => false,
            Self::At(path, selector) => at(path, selector, value, order),
            Self::Compare(comparison, argument) => comparison.holds(order(value, argument)),
            Self::In(arguments) => is_in(arguments, value, order),
            Self::NotIn(arguments) => arguments.is_empty() || !is_in(arguments, value, order),
            Self::Exists(exists) => *exists,
            Self::Text(_) | Self::Anything => true,
            Self::Type(name) => name == type_name(value),
            Self::Modulo(divisor, remainder) => match value {
                Json::Number(Number::Integer(value)) => value.checked_rem(*divisor) == Some(*remainder),
                _ => false,
            },
            Self::Regex(regex) => match value {
                Json::String(text) => regex.is_match(by_byte(text).as_ref()).unwrap_or(false),
                _ => false,
            },
            Self::BeginsWith(prefix) => match value {
                Json::String(text) => text.starts_with(prefix.as_str()),
                _ => false,
            },
            Self::All(arguments) => all(arguments, value),
            Self::Size(size) => match value {
                Json::Array(values) => i128::try_from(values.len()).is_ok_and(|length| length == *size),
                _ => false,
            },
            Self::ElementMatch(_) | Self::AllMatch(_) | Self::KeyMatch(_) => self.holds_inside(value, order),
        }
    }

    fn holds_inside(&self, value: &Json, order: Order) -> bool {
        match (self, value) {
            (Self::ElementMatch(selector), Json::Array(values)) => {
                !selector.is_top_level_only() && values.iter().any(|value| selector.holds(value, order))
            }
            (Self::AllMatch(selector), Json::Array(values)) if !values.is_empty() => {
                !selector.is_top_level_only() && values.iter().all(|value| selector.holds(value, order))
            }
            (Self::KeyMatch(selector), Json::Object(fields)) => {
                !selector.is_top_level_only()
                    && fields.keys().any(|name| selector.holds(&Json::String(name.clone()), order))
            }
            _ => false,
        }
    }

    /// Whether it contains an operator that CouchDB supports only at the top level.
    fn is_top_level_only(&self) -> bool {
        match self {
            Self::Nor(_) => true,
            Self::And(selectors) | Self::Or(selectors) => selectors.iter().any(Self::is_top_level_only),
            Self::Not(selector) | Self::At(_, selector) => selector.is_top_level_only(),
            _ => false,
        }
    }
}

fn at(path: &[String], selector: &Selector, value: &Json, order: Order) -> bool {
    match value.field(path) {
        Some(found) if path == [ID] => selector.holds(found, by_bytes),
        Some(found) => selector.holds(found, order),
        None => matches!(selector, Selector::Exists(false)) && value.lacks(path),
    }
}

/// Erlang's term order, if one term is a string: strings sort last.
fn by_bytes(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        (Json::String(left), Json::String(right)) => left.cmp(right),
        (Json::String(_), _) => Ordering::Greater,
        (_, Json::String(_)) => Ordering::Less,
        _ => compare(left, right),
    }
}

fn is_in(arguments: &[Json], value: &Json, order: Order) -> bool {
    arguments.iter().any(|argument| match value {
        Json::Array(values) => values.iter().any(|value| order(value, argument).is_eq()),
        _ => order(value, argument).is_eq(),
    })
}

fn all(arguments: &[Json], value: &Json) -> bool {
    let Json::Array(values) = value else { return false };
    match arguments {
        [] => false,
        [argument @ Json::Array(_)] if argument == value => true,
        _ => arguments.iter().all(|argument| values.contains(argument)),
    }
}

const fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}
