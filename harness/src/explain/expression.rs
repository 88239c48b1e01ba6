//! Regular expressions of the catalogue. There are hundreds, and a log has megabytes: one search finds the
//! literals that they need, and only those whose literal is in the text are compiled and run.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Shorter literals are too frequent to exclude anything.
const SHORTEST: usize = 4;

/// A valid regular expression that is compiled when it is used.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Expression {
    text: String,
    /// A text that is in each match. Empty if there is none.
    literal: String,
    regex: OnceLock<Option<Regex>>,
}

impl TryFrom<String> for Expression {
    type Error = Box<regex_syntax::Error>;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let literal = literal_of(&regex_syntax::parse(&text)?);
        let literal = if literal.len() < SHORTEST { String::new() } else { literal };
        Ok(Self { text, literal, regex: OnceLock::new() })
    }
}

impl Expression {
    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// `None` if it is too large to compile.
    pub(super) fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }
}

/// The longest text that is in each match.
fn literal_of(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).into_owned(),
        HirKind::Capture(capture) => literal_of(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => literal_of(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().map(literal_of).max_by_key(String::len).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Finds which expressions may match a text.
pub(super) struct Index {
    literals: Vec<&'static str>,
    /// `None` if it could not be built: then every expression may match.
    search: Option<AhoCorasick>,
}

impl Index {
    pub(super) fn of(expressions: impl Iterator<Item = &'static Expression>) -> Self {
        let literals: BTreeSet<&str> = expressions.map(|expression| expression.literal.as_str()).collect();
        let literals: Vec<&str> = literals.into_iter().filter(|literal| !literal.is_empty()).collect();
        let search = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&literals).ok();
        Self { literals, search }
    }

    /// The literals that are in this text.
    pub(super) fn of_text(&self, text: &str) -> Present {
        let Some(search) = &self.search else { return Present(None) };
        let mut seen = vec![false; self.literals.len()];
        for found in search.find_overlapping_iter(text) {
            seen[found.pattern().as_usize()] = true;
        }
        Present(Some(self.literals.iter().zip(seen).filter_map(|(literal, seen)| seen.then_some(*literal)).collect()))
    }
}

/// The literals in a text. `None`: all may be.
pub(super) struct Present(Option<BTreeSet<&'static str>>);

impl Present {
    /// Whether a match of this expression may be in the text.
    pub(super) fn may_match(&self, expression: &Expression) -> bool {
        let Self(literals) = self;
        expression.literal.is_empty()
            || literals.as_ref().is_none_or(|literals| literals.contains(expression.literal.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_of_an_expression_is_in_each_match() {
        let literal = |text: &str| Expression::try_from(text.to_owned()).unwrap().literal;
        assert_eq!(literal(r"dial tcp (?P<address>\S+): connect: connection refused"), ": connect: connection refused");
        assert_eq!(literal(r"(?P<reason>no TLS certificate sent)$"), "no TLS certificate sent");
        assert_eq!(literal(r"channel (not found)? here"), "channel ");
        // Any of the alternatives, or the case, may differ.
        assert_eq!(literal("one thing|another thing"), "");
        assert_eq!(literal("(?i)incorrect number"), "");
        assert_eq!(literal(r"\d+ no"), "");
    }
}
