//! Finds known failures in logs and client errors, with cause and fix.
//!
//! The failures are data, in `catalogue.toml`. This module only reads texts; it calls no node.

#[cfg(feature = "cli")]
mod command;
#[cfg(feature = "cli")]
mod ranked;

#[cfg(feature = "cli")]
pub use command::{ExplainOptions, explain};
#[cfg(feature = "cli")]
pub(crate) use ranked::{Part, find_ranked};

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The longest part of a line that is shown, in characters.
const EXCERPT: usize = 240;

/// The catalogue, which is part of the program. A test checks that it is valid.
static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| toml::from_str(include_str!("catalogue.toml")).unwrap_or_default());

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    #[serde(rename = "failure")]
    failures: Vec<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    name: String,
    patterns: Vec<Expression>,
    #[serde(default)]
    except: Vec<Expression>,
    cause: String,
    fix: String,
    #[serde(default)]
    hides: Vec<String>,
}

/// A regular expression in the catalogue.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Expression(Regex);

impl TryFrom<String> for Expression {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Regex::new(&text).map(Self)
    }
}

/// A known failure that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The failure's name, such as `unknown-authority`.
    pub name: String,
    /// The name of the text that it was found in.
    pub place: String,
    /// The number of the first matching line, from 1.
    pub line: usize,
    /// That line, shortened.
    pub excerpt: String,
    /// What happened.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

/// Finds known failures in texts, each given with its name. Each failure is reported once, for its first
/// match. Causes come before symptoms; a symptom whose cause was found is omitted.
///
/// ```
/// let log = "ClientHandshake -> tls: failed to verify certificate: x509: certificate signed by unknown authority";
/// let answer = "error creating grpc connection to cc:9999: failed to create new connection: context deadline exceeded";
/// let found = fabric_harness::explain::find([("peer.log", log), ("client", answer)]);
/// assert_eq!(found.len(), 1);
/// assert!(found[0].fix.contains("root_cert"));
/// ```
pub fn find<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Finding> {
    let texts: Vec<(&str, &str)> = texts.into_iter().collect();
    let seen: Vec<(&Failure, Finding)> = CATALOGUE
        .failures
        .iter()
        .filter_map(|failure| texts.iter().find_map(|(place, text)| failure.seen_in(place, text)))
        .collect();
    without_symptoms(&seen)
}

/// The findings without those that another one hides.
fn without_symptoms(seen: &[(&Failure, Finding)]) -> Vec<Finding> {
    let hidden: BTreeSet<&str> = seen.iter().flat_map(|(failure, _)| &failure.hides).map(String::as_str).collect();
    seen.iter().filter(|(failure, _)| !hidden.contains(failure.name.as_str())).map(|(_, found)| found.clone()).collect()
}

impl Failure {
    fn seen_in(&self, place: &str, text: &str) -> Option<(&Self, Finding)> {
        let (start, captures) = self
            .patterns
            .iter()
            .filter_map(|expression| {
                let mut all = expression.0.captures_iter(text).filter_map(|found| Some((found.get(0)?.start(), found)));
                all.find(|(start, _)| !self.except.iter().any(|except| except.0.is_match(line_at(text, *start))))
            })
            .min_by_key(|(start, _)| *start)?;
        let before = &text[..start];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let whole = line_at(text, start);
        Some((
            self,
            Finding {
                name: self.name.clone(),
                place: place.to_owned(),
                line,
                excerpt: excerpt(whole, start - begin),
                cause: filled_in(&self.cause, &captures),
                fix: filled_in(&self.fix, &captures),
            },
        ))
    }
}

/// The line that contains this byte.
fn line_at(text: &str, at: usize) -> &str {
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[begin..].lines().next().unwrap_or_default()
}

/// Replaces `${name}` with the match of the group of that name.
fn filled_in(text: &str, captures: &Captures<'_>) -> String {
    let mut filled = String::new();
    captures.expand(text, &mut filled);
    filled
}

/// At most [`EXCERPT`] characters of a line, including the one at byte `at`.
pub(crate) fn excerpt(line: &str, at: usize) -> String {
    let characters = line.chars().count();
    if characters <= EXCERPT {
        return line.trim().to_owned();
    }
    let before = line.get(..at).map_or(0, |text| text.chars().count());
    let skip = before.saturating_sub(EXCERPT / 4).min(characters - EXCERPT);
    let middle: String = line.chars().skip(skip).take(EXCERPT).collect();
    let (head, tail) = (if skip > 0 { "…" } else { "" }, if skip + EXCERPT < characters { "…" } else { "" });
    format!("{head}{}{tail}", middle.trim())
}

#[cfg(test)]
mod tests;
