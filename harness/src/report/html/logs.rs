//! The nodes' logs: around each failure, and the end of each.

use super::escape;
use crate::evidence::Evidence;
use crate::journal::time_of;
use crate::report::document::{CaseRecord, Document};
use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// The last lines of each log that are shown.
const LAST: usize = 200;

/// The lines of one node around a failed case that are shown.
const AROUND: usize = 100;

/// What each node logged while the case ran.
pub(super) fn write_around(
    page: &mut String,
    document: &Document,
    case: &CaseRecord,
    evidence: &Evidence,
) -> fmt::Result {
    let meanwhile = document.meanwhile(case);
    let mut is_first = true;
    for (path, bytes) in evidence.logs() {
        let text = String::from_utf8_lossy(bytes);
        let lines = between(&text, &meanwhile);
        if lines.is_empty() {
            continue;
        }
        if is_first {
            page.push_str("<h3>Logs meanwhile</h3>");
            is_first = false;
        }
        let shown = &lines[lines.len().saturating_sub(AROUND)..];
        write_log(page, &path.display().to_string(), &format!("{} lines", lines.len()), shown, false)?;
    }
    Ok(())
}

/// The lines of a log that were written in this time. One without a time belongs to the line before.
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

/// The end of each log; open are those that `about` names.
pub(super) fn write_ends(page: &mut String, evidence: &Evidence, about: &str) -> fmt::Result {
    page.push_str("<h2>Logs</h2>");
    for (path, bytes) in evidence.logs() {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST)..];
        let count = format!("the last {} of {} lines", last.len(), lines.len());
        let name = path.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
        write_log(page, &path.display().to_string(), &count, last, !name.is_empty() && about.contains(&*name))?;
    }
    Ok(())
}

fn write_log(page: &mut String, name: &str, count: &str, lines: &[&str], open: bool) -> fmt::Result {
    write!(
        page,
        "<details{}><summary>{} <span class=\"faint\">{count}</span></summary><div class=\"inside\"><pre>{}</pre></div></details>",
        if open { " open" } else { "" },
        escape(name),
        escape(&lines.join("\n"))
    )
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
