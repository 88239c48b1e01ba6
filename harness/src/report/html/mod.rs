//! `report.html`: the results of a run on one page. It contains no scripts, and its policy forbids them, because
//! messages may contain any text.

mod logs;
mod network;
mod sequence;
mod steps;

use super::document::{CaseRecord, Document};
use super::text::counts;
use crate::evidence::Evidence;
use logs::Logs;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Forbids scripts and external resources.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page. It shows the logs of `evidence` if the run did not pass.
pub(crate) fn to_html(document: &Document, evidence: &Evidence) -> String {
    // Control characters, such as terminal escapes, are replaced.
    let is_shown = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let page = page(document, evidence).into_string();
    page.chars().map(|character| if is_shown(character) { character } else { '\u{fffd}' }).collect()
}

/// The most failed cases, and the most others, that are shown with messages and logs. report.json has all.
const DETAILED: usize = 100;

fn page(document: &Document, evidence: &Evidence) -> Markup {
    let Document { outcome, topology, runtime, cases, before, .. } = document;
    let logs = Logs::of(evidence);
    let (failed, others): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.outcome == "failed");
    let more = |cases: &[_]| cases.len().saturating_sub(DETAILED);
    let short = more(&failed) + more(&others);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (outcome) ": " (topology) " on " (runtime) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { span class=(class(outcome)) { (outcome) } ": " (topology) " on " (runtime) }
                (facts(document))
                (problems(document))
                @if !cases.is_empty() {
                    h2 { "Cases" }
                    @if !document.chaincode_messages.is_empty() {
                        p.faint { "Messages between peers and chaincode: " (document.chaincode_messages) "." }
                    }
                    @if short > 0 {
                        p.faint { "Messages and logs of " (short) " cases are left out here; report.json has the messages of all." }
                    }
                    @for cases in [failed, others] {
                        @for (number, case) in cases.into_iter().enumerate() {
                            (case_details(document, case, &logs, number < DETAILED))
                        }
                    }
                }
                (package_section(document))
                h2 { "Steps" }
                (steps::drawing(document))
                (network_section(document))
                @if !before.is_empty() {
                    h2 { "Before the cases" }
                    details open[cases.is_empty()] {
                        summary { (before.len()) " messages" }
                        div.inside { (sequence::drawing(before, 0.0)) }
                    }
                }
                @if *outcome != "passed" {
                    h2 { "Logs" }
                    (logs::ends(evidence, document.error.as_deref().unwrap_or_default()))
                }
            }
        }
    }
}

fn facts(document: &Document) -> Markup {
    let whole = document.steps.iter().map(|step| step.begin + step.time).max().unwrap_or_default();
    let facts = [
        ("cases", if document.cases.is_empty() { String::new() } else { counts(document) }),
        ("Fabric", document.fabric.clone()),
        ("chaincode TLS", document.chaincode_tls.clone()),
        ("first query's answer after", document.first_query.map(duration).unwrap_or_default()),
        ("whole run", duration(whole)),
        ("ended", document.ended.clone()),
    ];
    html! {
        div.facts {
            @for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
                span { (name) " " b { (value) } }
            }
        }
    }
}

fn problems(document: &Document) -> Markup {
    html! {
        @for text in document.error.iter().chain(&document.exits).chain(&document.left) {
            pre.problem { (text) }
        }
        @if !document.findings.is_empty() {
            h2 { "Likely causes" }
        }
        @for finding in &document.findings {
            div.finding {
                p { b { (finding.cause) } }
                p { b { "Fix:" } " " (finding.fix) }
                p.faint { (finding.name) ", seen in " (finding.place) ":" (finding.line) }
                pre { (finding.excerpt) }
            }
        }
    }
}

fn case_details(document: &Document, case: &CaseRecord, logs: &Logs<'_>, in_full: bool) -> Markup {
    let failed = case.outcome == "failed";
    #[allow(clippy::cast_precision_loss, reason = "a run's milliseconds are far from 52 bits")]
    let begin = case.begin as f64;
    html! {
        details open[failed && in_full] {
            summary {
                span class={ "outcome " (class(case.outcome)) } { (case.outcome) }
                span.time { @if case.outcome != "not run" { (duration(case.time)) } }
                (case.name)
                @if let Some(reason) = &case.reason { " " span.faint { (reason) } }
                @if let Some(warning) = case.warning { " " span.not-run { "warning: " (warning) } }
            }
            div.inside {
                @if let (Some(expected), Some(seen)) = (&case.expected, &case.seen) {
                    div.pair {
                        div { h3 { "Expected" } pre { (expected) } }
                        div { h3 { "Seen" } pre { (seen) } }
                    }
                }
                @if failed && case.calls() { (causes(case)) }
                @if in_full && !case.messages.is_empty() { (sequence::drawing(&case.messages, begin)) }
                @if in_full && failed { (logs.around(document, case)) }
            }
        }
    }
}

/// The names of a case's causes, which are described above, or what its logs say.
fn causes(case: &CaseRecord) -> Markup {
    html! {
        h3 { "Cause" }
        p { @if case.causes.is_empty() { "no known cause" } @else { (case.causes.join(", ")) } }
        @for line in &case.log {
            p.faint { (line.place) ":" (line.line) }
            pre { (line.text) }
        }
    }
}

fn package_section(document: &Document) -> Markup {
    html! {
        @if !document.replaced.is_empty() || !document.resolved.is_empty() {
            h2 { "Package" }
        }
        @for address in &document.resolved {
            div { "The peers resolve " b { (address) } ", the package's address, to the chaincode server." }
        }
        @if !document.replaced.is_empty() {
            p { "Replaced on the peers of this run, in the package's connection.json:" }
        }
        @for field in &document.replaced {
            div { b { (field.field) } " " (field.package) " → " (field.run) }
        }
    }
}

/// A time in milliseconds, or from a second in seconds.
fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..10_000 => format!("{}.{:02} s", milliseconds / 1000, milliseconds % 1000 / 10),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

fn network_section(document: &Document) -> Markup {
    html! {
        h2 { "Network" }
        (network::drawing(document))
        @for channel in &document.channels {
            div.faint { "channel " b { (channel.name) } ": " (channel.organizations.join(", ")) }
        }
        @if document.couchdb {
            div.faint { "The world state of each peer is in a CouchDB." }
        }
    }
}

fn class(outcome: &str) -> String {
    outcome.replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::tests::hostile;

    #[test]
    fn failed_cases_are_first_and_open() {
        let mut document = hostile("x");
        document.cases.reverse();
        let page = to_html(&document, &Evidence::default());
        let [failed, other] = [
            "<details open><summary><span class=\"outcome failed\">",
            "<details><summary><span class=\"outcome not-run\">",
        ]
        .map(|case| page.find(case).unwrap_or_else(|| panic!("no {case} in {page}")));
        assert!(failed < other);
    }

    #[test]
    fn messages_of_the_first_cases_are_drawn() {
        let cases = |count: usize| {
            let mut document = hostile("x");
            document.cases = (0..count).map(|_| hostile("x").cases.remove(0)).collect();
            document.before.clear();
            document
        };
        let drawings = |count: usize| {
            let page = to_html(&cases(count), &Evidence::default());
            assert_eq!(page.matches("Expected").count(), count);
            (
                page.matches("aria-label=\"1 messages\"").count(),
                page.contains("Messages and logs of 5 cases are left out"),
            )
        };
        assert_eq!(drawings(DETAILED), (DETAILED, false));
        assert_eq!(drawings(DETAILED + 5), (DETAILED, true));
    }

    #[test]
    fn long_times_are_in_seconds() {
        for (time, expected) in
            [(0, "0 ms"), (999, "999 ms"), (1000, "1.00 s"), (1239, "1.23 s"), (9999, "9.99 s"), (61_250, "61.2 s")]
        {
            assert_eq!(duration(time), expected);
        }
        let mut document = hostile("x");
        document.cases[0].time = 12_345;
        document.steps[0].time = 61_250;
        document.steps[0].begin = 1500;
        let page = to_html(&document, &Evidence::default());
        for expected in [">12.3 s<", ">61.2 s, failed<", "whole run <b>62.7 s</b>", ">50.0 s<"] {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
    }

    /// Texts come from chaincodes, nodes and users.
    #[test]
    fn texts_are_escaped() {
        let mut evidence = Evidence::default();
        evidence.add("logs/<script>x</script>.log", "<script>log</script>\n\u{1b}[31m</pre><img src=x onerror=y>");
        let page = to_html(&hostile("</style><script>alert('\"&')</script>\u{1b}"), &evidence);
        for tag in ["<script", "<img", "\u{1b}"] {
            assert!(!page.contains(tag), "{tag}:\n{page}");
        }
        assert_eq!(page.matches("</style>").count(), 1);
        assert_eq!(page.matches("</pre>").count(), page.matches("<pre").count());
        let expected = "&lt;/style&gt;&lt;script&gt;alert('&quot;&amp;')&lt;/script&gt;\u{fffd}";
        assert!(page.matches(expected).count() > 10, "{page}");
        assert!(page.contains("default-src 'none'"));
    }
}
