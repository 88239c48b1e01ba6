//! The nodes' logs: the lines around each failure, and the end of each log.

use crate::evidence::Evidence;
use crate::journal::time_of;
use crate::report::document::{CaseRecord, Document};
use maud::{Markup, html};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::SystemTime;

/// Number of lines that are shown from the end of each log.
const LAST: usize = 200;

/// Maximum number of lines of a node that are shown for a failed case.
const AROUND: usize = 100;

/// The log lines of each node during a case.
pub(super) fn around(document: &Document, case: &CaseRecord, evidence: &Evidence) -> Markup {
    let meanwhile = document.meanwhile(case);
    let logs = evidence.logs().map(|(path, bytes)| (path, String::from_utf8_lossy(bytes)));
    let logs: Vec<_> = logs.filter(|(_, text)| !between(text, &meanwhile).is_empty()).collect();
    html! {
        @if !logs.is_empty() {
            h3 { "Logs meanwhile" }
        }
        @for (path, text) in &logs {
            @let lines = between(text, &meanwhile);
            (log(path, &format!("{} lines", lines.len()), &lines[lines.len().saturating_sub(AROUND)..], false))
        }
    }
}

/// The lines of a log in this time. A line without a time belongs to the line before.
fn between<'a>(text: &'a str, times: &RangeInclusive<SystemTime>) -> Vec<&'a str> {
    let mut is_within = false;
    let within = |line: &&str| {
        if let Some(time) = time_of(line) {
            is_within = times.contains(&time);
        }
        is_within
    };
    text.lines().filter(within).collect()
}

/// The end of each log. Those that `about` names are open.
pub(super) fn ends(evidence: &Evidence, about: &str) -> Markup {
    let end = |(path, bytes): (&Path, &[u8])| {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST)..];
        let count = format!("the last {} of {} lines", last.len(), lines.len());
        let name = path.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
        log(path, &count, last, !name.is_empty() && about.contains(&*name))
    };
    html! {
        @for log in evidence.logs().map(end) { (log) }
    }
}

fn log(path: &Path, count: &str, lines: &[&str], open: bool) -> Markup {
    html! {
        details open[open] {
            summary { (path.display()) " " span.faint { (count) } }
            div.inside { pre { (lines.join("\n")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_time_belong_to_the_line_before() {
        let text = "old\n2026-01-31 12:00:00.100 UTC a\nmore of a\n2026-01-31 12:00:00.300 UTC b\nmore of b\n\
                    2026-01-31 12:00:00.900 UTC c\n";
        let time = |text: &str| time_of(text).unwrap();
        let (begin, end) = (time("2026-01-31 12:00:00.200 UTC"), time("2026-01-31 12:00:00.400 UTC"));
        assert_eq!(between(text, &(begin..=end)), ["2026-01-31 12:00:00.300 UTC b", "more of b"]);
    }
}
