//! Finds known failures in texts of different weight.

use super::{FAILURES, Failure, Finding, Text, without_symptoms};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Some lines of a text, with their numbers.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    place: &'a str,
    text: Cow<'a, str>,
    /// The number of each line; empty for a whole text.
    numbers: Vec<usize>,
}

impl<'a> Part<'a> {
    /// A whole text and its name.
    pub(crate) fn whole(place: &'a str, text: &'a str) -> Self {
        Self { place, text: Cow::Borrowed(text), numbers: Vec::new() }
    }

    /// No line yet of the text of this name.
    pub(crate) fn lines(place: &'a str) -> Self {
        Self { place, text: Cow::Owned(String::new()), numbers: Vec::new() }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, number: usize, line: &str) {
        let text = self.text.to_mut();
        text.push_str(line);
        text.push('\n');
        self.numbers.push(number);
    }
}

/// As [`find`](super::find), in texts of decreasing weight. What later texts show counts only if earlier ones show nothing, or if it
/// explains what they show.
pub(crate) fn find_ranked(ranks: &[Vec<Part<'_>>]) -> Vec<Finding> {
    let ranks: Vec<Vec<Text<'_>>> = ranks
        .iter()
        .map(|parts| parts.iter().map(|part| Text::new(part.place, &part.text, &part.numbers)).collect())
        .collect();
    let all: Vec<&Text<'_>> = ranks.iter().flatten().collect();
    let mut seen: Vec<Option<Finding>> = vec![None; FAILURES.len()];
    for texts in &ranks {
        let known: BTreeSet<&str> = seen.iter().flatten().map(|finding| finding.name.as_str()).collect();
        let counts = |failure: &Failure| known.is_empty() || failure.hides.iter().any(|name| known.contains(&**name));
        let more: Vec<Option<Finding>> =
            FAILURES.iter().map(|failure| if counts(failure) { failure.seen_in(texts, &all) } else { None }).collect();
        drop(known);
        for (seen, more) in seen.iter_mut().zip(more) {
            *seen = seen.take().or(more);
        }
    }
    let seen: Vec<(&Failure, Finding)> =
        FAILURES.iter().zip(seen).filter_map(|(failure, found)| Some((failure, found?))).collect();
    without_symptoms(&seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ranks: &[Vec<Part<'_>>]) -> Vec<String> {
        find_ranked(ranks).into_iter().map(|finding| finding.name).collect()
    }

    #[test]
    fn a_later_text_counts_if_it_explains_an_earlier_one_or_if_that_shows_nothing() {
        let part = |text: &'static str| vec![Part::whole("place", text)];
        let timeout = "failed to create new connection: context deadline exceeded";
        let handshake = "x509: certificate signed by unknown authority";
        let conflict = "MVCC_READ_CONFLICT";
        assert_eq!(names(&[part(timeout), part(handshake)]), ["unknown-authority"]);
        assert_eq!(names(&[part(timeout), part(conflict)]), ["dial-timeout"]);
        assert_eq!(names(&[part("nothing known"), part(conflict)]), ["conflict"]);
        assert_eq!(names(&[part(""), part(conflict), part(timeout)]), ["conflict"]);
    }

    #[test]
    fn a_finding_in_some_lines_has_the_number_of_its_line() {
        let mut part = Part::lines("peer.log");
        part.push(7, "nothing");
        part.push(90, "MVCC_READ_CONFLICT");
        let found = find_ranked(&[vec![part]]);
        assert_eq!((found[0].place.as_str(), found[0].line), ("peer.log", 90));
    }
}
