//! The nodes' logs: the lines around each failure, and the end of each log.

use crate::evidence::Evidence;
use crate::journal::time_of;
use crate::report::document::{CaseRecord, Document};
use maud::{Markup, html};
use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::SystemTime;

/// Number of lines that are shown from the end of each log.
const LAST: usize = 200;

/// Maximum number of lines of a node that are shown for a failed case.
const AROUND: usize = 100;

/// The logs, with the time of each line.
pub(super) struct Logs<'a>(Vec<Log<'a>>);

struct Log<'a> {
    path: &'a Path,
    text: Cow<'a, str>,
    /// Each line's place in the text and its time, in order. A line without a time has that of the line before.
    lines: Vec<(Range<usize>, SystemTime)>,
}

impl<'a> Logs<'a> {
    pub(super) fn of(evidence: &'a Evidence) -> Self {
        Self(evidence.logs().map(|(path, bytes)| Log::new(path, String::from_utf8_lossy(bytes))).collect())
    }

    /// The log lines of each node during a case.
    pub(super) fn around(&self, document: &Document, case: &CaseRecord) -> Markup {
        let meanwhile = document.meanwhile(case);
        let logs: Vec<_> = self.0.iter().map(|log| (log.path, log.between(&meanwhile))).collect();
        html! {
            @if logs.iter().any(|(_, lines)| !lines.is_empty()) {
                h3 { "Logs meanwhile" }
            }
            @for (path, lines) in logs.iter().filter(|(_, lines)| !lines.is_empty()) {
                (log(path, &format!("{} lines", lines.len()), &lines[lines.len().saturating_sub(AROUND)..], false))
            }
        }
    }
}

impl<'a> Log<'a> {
    fn new(path: &'a Path, text: Cow<'a, str>) -> Self {
        let (mut lines, mut latest) = (Vec::new(), SystemTime::UNIX_EPOCH);
        let mut begin = 0;
        for line in text.lines() {
            // Lines of concurrent writers may be out of order by a moment.
            latest = time_of(line).map_or(latest, |time| time.max(latest));
            lines.push((begin..begin + line.len(), latest));
            begin += line.len() + text[begin + line.len()..].find('\n').map_or(0, |newline| newline + 1);
        }
        Self { path, text, lines }
    }

    /// The lines in this time.
    fn between(&self, times: &RangeInclusive<SystemTime>) -> Vec<&str> {
        let from = self.lines.partition_point(|(_, time)| time < times.start());
        let until = self.lines.partition_point(|(_, time)| time <= times.end());
        let within = self.lines.get(from..until).unwrap_or_default();
        within.iter().map(|(line, _)| &self.text[line.clone()]).collect()
    }
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
        let log = Log::new(Path::new("logs/a.log"), Cow::Borrowed(text));
        assert_eq!(log.between(&(begin..=end)), ["2026-01-31 12:00:00.300 UTC b", "more of b"]);
    }
}
