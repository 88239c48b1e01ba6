//! Finds known failures in texts of different weight.

use super::{FAILURES, Failure, Finding, Text, without_symptoms};
use std::collections::BTreeSet;

/// As [`find`](super::find), in texts of decreasing weight. What later texts show counts only if earlier ones show nothing, or if it
/// explains what they show.
pub(crate) fn find_ranked(ranks: &[Vec<&Text<'_>>]) -> Vec<Finding> {
    let all: Vec<&Text<'_>> = ranks.iter().flatten().copied().collect();
    let mut seen: Vec<Option<Finding>> = vec![None; FAILURES.len()];
    for texts in ranks {
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

    fn names(ranks: &[&str]) -> Vec<String> {
        let texts: Vec<Text<'_>> = ranks.iter().map(|text| Text::whole("place", text)).collect();
        let ranks: Vec<Vec<&Text<'_>>> = texts.iter().map(|text| vec![text]).collect();
        find_ranked(&ranks).into_iter().map(|finding| finding.name).collect()
    }

    #[test]
    fn a_later_text_counts_if_it_explains_an_earlier_one_or_if_that_shows_nothing() {
        let timeout = "failed to create new connection: context deadline exceeded";
        let handshake = "x509: certificate signed by unknown authority";
        let conflict = "MVCC_READ_CONFLICT";
        assert_eq!(names(&[timeout, handshake]), ["unknown-authority"]);
        assert_eq!(names(&[timeout, conflict]), ["dial-timeout"]);
        assert_eq!(names(&["nothing known", conflict]), ["conflict"]);
        assert_eq!(names(&["", conflict, timeout]), ["conflict"]);
    }

    #[test]
    fn a_finding_in_some_lines_has_the_number_of_its_line() {
        let text = Text::lines("peer.log", [(7, "nothing"), (90, "MVCC_READ_CONFLICT")]);
        let found = find_ranked(&[vec![&text]]);
        assert_eq!((found[0].place.as_str(), found[0].line), ("peer.log", 90));
    }
}
