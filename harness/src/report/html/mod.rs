//! `report.html`: the run on one page that needs nothing else, for a person. No script is in it, and a
//! browser is told to run none, whatever a chaincode may have written into a message.

mod logs;
mod network;
mod sequence;
mod steps;

use super::document::{CaseRecord, Document};
use super::text::counts;
use crate::evidence::Evidence;
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// Neither scripts nor anything from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page. The logs of `evidence` are shown when the run did not pass.
pub fn to_html(document: &Document, evidence: &Evidence) -> String {
    let mut page = String::new();
    // Writing to a string can't fail.
    let _ = write_page(&mut page, document, evidence);
    page
}

fn write_page(page: &mut String, document: &Document, evidence: &Evidence) -> std::fmt::Result {
    let outcome = document.outcome;
    write_head(page, document)?;
    write_problems(page, document)?;
    write_cases(page, document, evidence)?;
    page.push_str("<h2>Steps, in ms</h2>");
    steps::write(page, document)?;
    write_network(page, document)?;
    if !document.before.is_empty() {
        page.push_str("<h2>Before the cases</h2>");
        let (open, count) = (if document.cases.is_empty() { " open" } else { "" }, document.before.len());
        write!(page, "<details{open}><summary>{count} messages</summary><div class=\"inside\">")?;
        sequence::write(page, &document.before, 0.0)?;
        page.push_str("</div></details>");
    }
    if outcome != "passed" {
        logs::write_ends(page, evidence, document.error.as_deref().unwrap_or_default())?;
    }
    page.push_str("</body></html>\n");
    Ok(())
}

fn write_head(page: &mut String, document: &Document) -> std::fmt::Result {
    let Document { outcome, topology, runtime, fabric, ended, chaincode_tls, .. } = document;
    let (topology, fabric) = (escape(topology), escape(fabric));
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{outcome}: {topology} on {runtime}</title><style>{STYLE}</style></head><body>\
         <h1><span class=\"{}\">{outcome}</span>: {topology} on {runtime}</h1><div class=\"facts\">",
        class(outcome),
    )?;
    let whole = document.steps.iter().map(|step| step.begin + step.time).max().unwrap_or_default();
    let first = document.first_query.map(|time| format!("{time} ms")).unwrap_or_default();
    let facts = [
        ("cases", if document.cases.is_empty() { String::new() } else { counts(document) }),
        ("Fabric", fabric),
        ("chaincode TLS", escape(chaincode_tls)),
        ("first query's answer after", first),
        ("whole run", format!("{whole} ms")),
        ("ended", escape(ended)),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        write!(page, "<span>{name} <b>{value}</b></span>")?;
    }
    page.push_str("</div>");
    Ok(())
}

fn write_problems(page: &mut String, document: &Document) -> std::fmt::Result {
    for text in document.error.iter().chain(&document.deaths).chain(&document.left) {
        write!(page, "<pre class=\"problem\">{}</pre>", escape(text))?;
    }
    if !document.findings.is_empty() {
        page.push_str("<h2>Likely causes</h2>");
    }
    for finding in &document.findings {
        write!(
            page,
            "<div class=\"finding\"><p><b>{}</b></p><p><b>What to do:</b> {}</p>\
             <p class=\"faint\">{}, seen in {}:{}</p><pre>{}</pre></div>",
            escape(&finding.cause),
            escape(&finding.cure),
            escape(&finding.name),
            escape(&finding.place),
            finding.line,
            escape(&finding.excerpt),
        )?;
    }
    Ok(())
}

fn write_cases(page: &mut String, document: &Document, evidence: &Evidence) -> std::fmt::Result {
    if document.cases.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Cases</h2>");
    if !document.chaincode_messages.is_empty() {
        write!(
            page,
            "<p class=\"faint\">Messages between peers and chaincode: {}.</p>",
            escape(&document.chaincode_messages)
        )?;
    }
    document.cases.iter().try_for_each(|case| write_case(page, document, case, evidence))
}

fn write_case(page: &mut String, document: &Document, case: &CaseRecord, evidence: &Evidence) -> std::fmt::Result {
    let failed = case.outcome == "failed";
    let time = if case.outcome == "not run" { String::new() } else { format!("{} ms", case.time) };
    write!(
        page,
        "<details{}><summary><span class=\"outcome {}\">{}</span><span class=\"time\">{time}</span>{}{}</summary><div class=\"inside\">",
        if failed { " open" } else { "" },
        class(case.outcome),
        case.outcome,
        escape(&case.name),
        case.reason
            .as_ref()
            .map(|reason| format!(" <span class=\"faint\">{}</span>", escape(reason)))
            .unwrap_or_default(),
    )?;
    if let (Some(expected), Some(seen)) = (&case.expected, &case.seen) {
        write!(
            page,
            "<div class=\"pair\"><div><h3>Expected</h3><pre>{}</pre></div><div><h3>Seen</h3><pre>{}</pre></div></div>",
            escape(expected),
            escape(seen)
        )?;
    }
    if !case.messages.is_empty() {
        #[allow(clippy::cast_precision_loss, reason = "a run's milliseconds are far from 52 bits")]
        sequence::write(page, &case.messages, case.begin as f64)?;
    }
    if failed {
        logs::write_around(page, document, case, evidence)?;
    }
    page.push_str("</div></details>");
    Ok(())
}

fn write_network(page: &mut String, document: &Document) -> std::fmt::Result {
    page.push_str("<h2>Network</h2>");
    network::write(page, document)?;
    for channel in &document.channels {
        let members = channel.organizations.join(", ");
        write!(page, "<div class=\"faint\">channel <b>{}</b>: {}</div>", escape(&channel.name), escape(&members))?;
    }
    if document.couchdb {
        page.push_str("<div class=\"faint\">The world state of each peer is in a CouchDB.</div>");
    }
    Ok(())
}

fn class(outcome: &str) -> String {
    outcome.replace(' ', "-")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Terminal escapes and other controls mean nothing here.
            control if control.is_control() && control != '\n' && control != '\t' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::tests::hostile;

    /// Names, messages, logs: whatever comes from a chaincode, a node or a user.
    #[test]
    fn what_others_wrote_stays_text() {
        let mut evidence = Evidence::default();
        evidence.add("logs/<script>x</script>.log", "<script>log</script>\n\u{1b}[31m</pre><img src=x onerror=y>");
        let page = to_html(&hostile("</style><script>alert('\"&')</script>\u{1b}"), &evidence);
        for tag in ["<script", "<img", "\u{1b}"] {
            assert!(!page.contains(tag), "{tag}:\n{page}");
        }
        assert_eq!(page.matches("</style>").count(), 1);
        assert_eq!(page.matches("</pre>").count(), page.matches("<pre").count());
        let expected = "&lt;/style&gt;&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;\u{fffd}";
        assert!(page.matches(expected).count() > 10, "{page}");
        assert!(page.contains("default-src 'none'"));
    }
}
