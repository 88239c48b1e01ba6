//! `report.html`: the results of a run on one page. It contains no scripts, and its policy forbids them, because
//! messages may contain any text.

mod logs;
mod network;
mod sequence;
mod steps;

use super::document::{CaseRecord, Document};
use super::text::counts;
use crate::evidence::Evidence;
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

fn page(document: &Document, evidence: &Evidence) -> Markup {
    let Document { outcome, topology, runtime, cases, before, .. } = document;
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
                    @for case in cases {
                        (case_details(document, case, evidence))
                    }
                }
                h2 { "Steps, in ms" }
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
        ("first query's answer after", document.first_query.map(|time| format!("{time} ms")).unwrap_or_default()),
        ("whole run", format!("{whole} ms")),
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

fn case_details(document: &Document, case: &CaseRecord, evidence: &Evidence) -> Markup {
    let failed = case.outcome == "failed";
    #[allow(clippy::cast_precision_loss, reason = "a run's milliseconds are far from 52 bits")]
    let begin = case.begin as f64;
    html! {
        details open[failed] {
            summary {
                span class={ "outcome " (class(case.outcome)) } { (case.outcome) }
                span.time { @if case.outcome != "not run" { (case.time) " ms" } }
                (case.name)
                @if let Some(reason) = &case.reason { " " span.faint { (reason) } }
            }
            div.inside {
                @if let (Some(expected), Some(seen)) = (&case.expected, &case.seen) {
                    div.pair {
                        div { h3 { "Expected" } pre { (expected) } }
                        div { h3 { "Seen" } pre { (seen) } }
                    }
                }
                @if !case.messages.is_empty() { (sequence::drawing(&case.messages, begin)) }
                @if failed { (logs::around(document, case, evidence)) }
            }
        }
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
