//! Finds known failures in logs and client errors, with cause and fix.
//!
//! The failures are data, in `catalogue/`. This module only reads texts; it calls no node.

#[cfg(feature = "cli")]
mod command;
mod expression;
mod output;
#[cfg(feature = "cli")]
mod ranked;

#[cfg(feature = "cli")]
pub use command::{ExplainOptions, explain};
#[cfg(feature = "cli")]
pub(crate) use ranked::find_ranked;

use expression::{Expression, Index, Present};
use regex::Captures;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{LazyLock, OnceLock};

/// The longest part of a line that is shown, in characters.
const EXCERPT: usize = 240;

/// The areas of the catalogue, in the order of the findings: causes before symptoms.
const AREAS: [(&str, &str); 9] = [
    ("External builders and packages", include_str!("catalogue/packages.toml")),
    ("Connections and TLS", include_str!("catalogue/connections.toml")),
    ("Chaincode servers", include_str!("catalogue/servers.toml")),
    ("Identities and signatures", include_str!("catalogue/identities.toml")),
    ("Chaincode definitions", include_str!("catalogue/definitions.toml")),
    ("Endorsement and commit", include_str!("catalogue/transactions.toml")),
    ("World state and private data", include_str!("catalogue/data.toml")),
    ("Channels and orderers", include_str!("catalogue/channels.toml")),
    ("Command-line tools", include_str!("catalogue/tools.toml")),
];

/// The failures of all areas. The catalogue is part of the program, and a test checks that it is valid.
static FAILURES: LazyLock<Vec<Failure>> = LazyLock::new(|| {
    let areas = AREAS.iter().filter_map(|(_, text)| toml::from_str::<Area>(text).ok());
    areas.flat_map(|area| area.failures).collect()
});

static PATTERNS: LazyLock<Index> = LazyLock::new(|| Index::of(FAILURES.iter().flat_map(|failure| &failure.patterns)));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Area {
    #[serde(rename = "failure")]
    failures: Vec<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    name: String,
    /// A line that matches one of them is this failure.
    patterns: Vec<Expression>,
    /// Lines that are not this failure, such as those of a network that is starting.
    #[serde(default)]
    except: Vec<Expression>,
    /// Lines that show that the failure is over: earlier matches in the same text do not count.
    #[serde(default)]
    over: Vec<Expression>,
    /// What happened. `${name}` inserts the match of the group of that name, which each pattern has.
    cause: String,
    /// What to do, in the same format.
    fix: String,
    /// Failures that are only symptoms if this one was found too.
    #[serde(default)]
    hides: Vec<String>,
    /// The program of the builder whose output before the match is quoted in the cause.
    output: Option<Program>,
    /// Where the cause was read or seen. Required if no test reproduces the failure.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the catalogue and for tests"))]
    reference: Option<String>,
}

/// A program of an external builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Program {
    Detect,
    Build,
    Release,
    Run,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Build => "build",
            Self::Release => "release",
            Self::Run => "run",
        }
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
    let texts: Vec<Text<'a>> = texts.into_iter().map(|(place, log)| Text::whole(place, log)).collect();
    let all: Vec<&Text<'_>> = texts.iter().collect();
    let seen: Vec<(&Failure, Finding)> =
        FAILURES.iter().filter_map(|failure| Some((failure, failure.seen_in(&all, &all)?))).collect();
    without_symptoms(&seen)
}

/// The findings without those that another one hides.
fn without_symptoms(seen: &[(&Failure, Finding)]) -> Vec<Finding> {
    let hidden: BTreeSet<&str> = seen.iter().flat_map(|(failure, _)| &failure.hides).map(String::as_str).collect();
    seen.iter().filter(|(failure, _)| !hidden.contains(failure.name.as_str())).map(|(_, found)| found.clone()).collect()
}

/// A text to search: a whole one, or some of its lines.
pub(crate) struct Text<'a> {
    place: &'a str,
    log: Cow<'a, str>,
    /// The number of each line; empty for a whole text.
    numbers: Vec<usize>,
    /// Computed once, although a text may be searched for each failed case.
    present: OnceLock<Present>,
}

impl<'a> Text<'a> {
    /// A whole text and its name.
    pub(crate) fn whole(place: &'a str, log: &'a str) -> Self {
        Self { place, log: Cow::Borrowed(log), numbers: Vec::new(), present: OnceLock::new() }
    }

    /// Some lines of the text of this name, with their numbers.
    #[cfg(feature = "cli")]
    pub(crate) fn lines<'t>(place: &'a str, lines: impl IntoIterator<Item = (usize, &'t str)>) -> Self {
        let (mut log, mut numbers) = (String::new(), Vec::new());
        for (number, line) in lines {
            log.push_str(line);
            log.push('\n');
            numbers.push(number);
        }
        Self { place, log: Cow::Owned(log), numbers, present: OnceLock::new() }
    }

    fn may_match(&self, pattern: &Expression) -> bool {
        self.present.get_or_init(|| PATTERNS.of_text(&self.log)).may_match(pattern)
    }
}

impl Failure {
    /// The first match, in the first of these texts that has one. The output of a builder may be in any of all texts:
    /// a client's error comes first, but only the peer's log has the output.
    fn seen_in(&self, texts: &[&Text<'_>], all: &[&Text<'_>]) -> Option<Finding> {
        let (text, start, captures) = texts.iter().find_map(|text| {
            let (start, captures) = self.first_in(text)?;
            Some((text, start, captures))
        })?;
        let before = &text.log[..start];
        let number = before.bytes().filter(|byte| *byte == b'\n').count();
        let cause = filled_in(&self.cause, &captures);
        let output = self.output.and_then(|program| {
            output::output_of(program, before).or_else(|| {
                let mut logs = all.iter().filter_map(|text| Some(&text.log[..self.first_in(text)?.0]));
                logs.find_map(|log| output::output_of(program, log))
            })
        });
        Some(Finding {
            name: self.name.clone(),
            place: text.place.to_owned(),
            line: text.numbers.get(number).copied().unwrap_or(number + 1),
            excerpt: excerpt(line_at(&text.log, start), start - before.rfind('\n').map_or(0, |at| at + 1)),
            cause: output.map_or_else(|| cause.clone(), |output| format!("{output} {cause}")),
            fix: filled_in(&self.fix, &captures),
        })
    }

    /// The position and the groups of the first match that counts.
    fn first_in<'t>(&self, text: &'t Text<'_>) -> Option<(usize, Captures<'t>)> {
        let mut candidates = self.patterns.iter().filter(|pattern| text.may_match(pattern)).peekable();
        candidates.peek()?;
        let log: &str = &text.log;
        let over = self.over.iter().filter_map(|over| over.regex()?.find_iter(log).last()).map(|last| last.end()).max();
        let counts = |start: usize| {
            over.is_none_or(|over| start >= over)
                && !self.except.iter().any(|except| except.is_match(line_at(log, start)))
        };
        let firsts = candidates.filter_map(|pattern| {
            let mut all = pattern.regex()?.captures_iter(log).filter_map(|found| Some((found.get(0)?.start(), found)));
            all.find(|(start, _)| counts(*start))
        });
        firsts.min_by_key(|(start, _)| *start)
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
