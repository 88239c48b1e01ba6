//! The results of a run as text for a terminal, made from the [`Document`].

use super::document::{CaseRecord, Document, LogLine, MessageRecord, ReplacedField};
use crate::console::Paint;
use crate::journal::{short, short_id};
use crate::options::{MESSAGES_OF_ALL, MESSAGES_OF_FAILURES};
use std::fmt::Write as _;
use std::path::Path;

const SINCE: &str = "messages, in ms since the run began, with the transaction";

/// A line for each case, from [`MESSAGES_OF_ALL`] also its messages; and what the run replaced in the package.
pub(crate) fn cases(document: &Document, verbosity: u8, paint: Paint) -> String {
    let mut text = String::new();
    if verbosity >= MESSAGES_OF_ALL {
        write_messages(&mut text, "before the cases", &document.before);
    }
    for case in &document.cases {
        let CaseRecord { name, time, .. } = case;
        // Writing to a string cannot fail.
        let _ = match (case.outcome, &case.reason) {
            ("passed", _) => writeln!(text, "  {}   {time:>5} ms  {name}", paint.good("passed")),
            ("failed", _) => writeln!(text, "  {}   {time:>5} ms  {name}", paint.bad("FAILED")),
            (_, reason) => {
                let reason = reason.as_deref().unwrap_or_default();
                writeln!(text, "  {}            {name}: {reason}", paint.faint("not run"))
            }
        };
        if let Some(warning) = case.warning {
            let _ = writeln!(text, "  {}               {warning}", paint.strong("warning"));
        }
        if verbosity >= MESSAGES_OF_ALL && case.outcome == "passed" {
            write_messages(&mut text, "", &case.messages);
        }
    }
    if verbosity >= MESSAGES_OF_ALL {
        write_source(&mut text, document);
    }
    write_package(&mut text, document);
    text
}

fn write_package(text: &mut String, document: &Document) {
    for address in &document.resolved {
        let _ = writeln!(text, "  the peers resolve {address}, the package's address, to the chaincode server");
    }
    if !document.replaced.is_empty() {
        let _ = writeln!(text, "  replaced on the peers of this run, in the package's connection.json:");
    }
    for ReplacedField { field, package, run } in &document.replaced {
        let _ = writeln!(text, "    {field:<21} {package} -> {run}");
    }
}

/// The numbers of cases that passed, failed, and were not run, and of the expectations that were checked.
pub(crate) fn counts(document: &Document) -> String {
    let count = |outcome| document.cases.iter().filter(|case| case.outcome == outcome).count();
    let checked: usize = document.cases.iter().map(|case| case.checked).sum();
    let expectations = if checked == 1 { "expectation" } else { "expectations" };
    format!(
        "{} passed, {} failed, {} not run; {checked} {expectations} checked",
        count("passed"),
        count("failed"),
        count("not run")
    )
}

/// The unexpected exits and leftovers; the failed cases with expected and seen results, and from
/// [`MESSAGES_OF_FAILURES`] their messages; the likely causes.
pub(crate) fn failures(document: &Document, verbosity: u8, paint: Paint) -> String {
    let mut text = String::new();
    for exit in &document.exits {
        let _ = writeln!(text, "\n{exit}");
    }
    for left in &document.left {
        let _ = writeln!(text, "\nleftover: {left}");
    }
    for case in document.cases.iter().filter(|case| case.outcome == "failed") {
        let _ = writeln!(text, "\n{}: {}", paint.bad("FAILED"), case.name);
        for (label, content) in [("expected", &case.expected), ("seen", &case.seen)] {
            let content = content.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{}", labelled(label, content));
        }
        if case.calls() {
            write_causes(&mut text, case);
        }
        if verbosity >= MESSAGES_OF_FAILURES {
            write_messages(&mut text, SINCE, &case.messages);
        }
    }
    if document.error.is_some() && verbosity >= MESSAGES_OF_FAILURES {
        write_messages(&mut text, SINCE, &document.before);
    }
    let has_messages = document.cases.iter().any(|case| case.outcome == "failed") || document.error.is_some();
    if has_messages && verbosity == MESSAGES_OF_FAILURES {
        write_source(&mut text, document);
    }
    for finding in &document.findings {
        let _ = writeln!(text, "\n{}: {}", paint.strong("likely cause"), finding.cause);
        let _ = writeln!(text, "{}", labelled("failure", &finding.name));
        let _ = writeln!(text, "{}", labelled("seen in", &format!("{}:{}", finding.place, finding.line)));
        let _ = writeln!(text, "{}", labelled("fix", &finding.fix));
    }
    text
}

/// The directory of the evidence. `all` if it contains more than the report.
pub(crate) fn places(directory: &Path, all: bool) -> String {
    let report = format!("report: {}", directory.join("report.html").display());
    if all { format!("evidence: {}\n{report}", directory.display()) } else { report }
}

/// The causes of a failed case, which are described after the cases, or what its logs say.
fn write_causes(text: &mut String, case: &CaseRecord) {
    let causes = if case.causes.is_empty() { "no known cause".to_owned() } else { case.causes.join(", ") };
    let _ = writeln!(text, "{}", labelled("cause", &causes));
    for LogLine { place, line, text: content } in &case.log {
        let _ = writeln!(text, "{}", labelled("log", &format!("{place}:{line}\n{content}")));
    }
}

fn write_source(text: &mut String, document: &Document) {
    if !document.chaincode_messages.is_empty() {
        let _ = writeln!(text, "  messages between peers and chaincode: {}", document.chaincode_messages);
    }
}

fn write_messages(text: &mut String, title: &str, messages: &[MessageRecord]) {
    if !title.is_empty() && !messages.is_empty() {
        let _ = writeln!(text, "  {title}:");
    }
    let names: Vec<(String, String)> = messages.iter().map(|one| (short(&one.from), short(&one.to))).collect();
    let from_width = names.iter().map(|(from, _)| from.len()).max().unwrap_or_default();
    let to_width = names.iter().map(|(_, to)| to.len()).max().unwrap_or_default();
    let kind_width = messages.iter().map(|one| one.kind.len()).max().unwrap_or_default();
    for (message, (from, to)) in messages.iter().zip(names) {
        let MessageRecord { at, kind, text: content, transaction, failed, .. } = message;
        let (id, mark) = (short_id(transaction), if *failed { '!' } else { ' ' });
        let line =
            format!("{at:>10.3} {id:8} {from:>from_width$} > {to:<to_width$} {mark} {kind:<kind_width$} {content}");
        let _ = writeln!(text, "  {}", line.trim_end());
    }
}

fn labelled(label: &str, text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().filter(|line| !line.is_empty()).unwrap_or("(nothing)");
    let mut labelled = format!("  {:<12}{first}", format!("{label}:"));
    for line in lines {
        let _ = write!(labelled, "\n{:14}{line}", "");
    }
    labelled
}
