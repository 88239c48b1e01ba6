//! `report.html`: the run on one page that needs nothing else, for a person.

use super::document::{CaseRecord, Document};
use crate::report::evidence::Evidence;
use std::fmt::Write as _;

/// The last lines of each log that are shown.
const LOG_LINES: usize = 200;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e;--none:#9a6700;--bar:#0969da}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}\
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}\
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.passed{color:var(--good)}.failed,.could-not-run{color:var(--bad)}.not-run{color:var(--none)}\
pre{overflow:auto;padding:.6rem;border:1px solid var(--line);border-radius:4px;font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere}\
.bar{background:var(--bar);height:.7rem;border-radius:2px;min-width:2px}.track{width:45%}\
.nodes{display:flex;flex-wrap:wrap;gap:1rem}.organization{border:1px solid var(--line);border-radius:6px;padding:.5rem .8rem}\
.node{border:1px solid var(--line);border-radius:4px;padding:.1rem .5rem;margin:.3rem 0;font-family:monospace}\
.finding{border-left:4px solid var(--none);padding-left:.8rem;margin:1rem 0}";

/// The page. The logs of `evidence` are shown when the run did not pass.
pub fn to_html(document: &Document, evidence: &Evidence) -> String {
    let mut page = String::new();
    // Writing to a string can't fail.
    let _ = write_page(&mut page, document, evidence);
    page
}

fn write_page(page: &mut String, document: &Document, evidence: &Evidence) -> std::fmt::Result {
    let outcome = document.outcome;
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{outcome}: {}</title><style>{STYLE}</style></head><body>\
         <h1><span class=\"{}\">{outcome}</span>: topology {} on {}, Fabric {}</h1>\
         <p>{}, chaincode TLS {}{}</p>",
        escape(&document.topology),
        class(outcome),
        escape(&document.topology),
        document.runtime,
        escape(&document.fabric),
        escape(&document.ended),
        escape(&document.chaincode_tls),
        document.first_query.map(|time| format!(", first query's answer after {time} ms")).unwrap_or_default(),
    )?;
    write_problems(page, document)?;
    write_cases(page, &document.cases)?;
    write_steps(page, document)?;
    write_network(page, document)?;
    if outcome != "passed" {
        write_logs(page, evidence)?;
    }
    page.push_str("</body></html>\n");
    Ok(())
}

fn write_problems(page: &mut String, document: &Document) -> std::fmt::Result {
    for text in document.error.iter().chain(&document.deaths).chain(&document.left) {
        write!(page, "<pre class=\"failed\">{}</pre>", escape(text))?;
    }
    if !document.findings.is_empty() {
        page.push_str("<h2>Likely causes</h2>");
    }
    for finding in &document.findings {
        write!(
            page,
            "<div class=\"finding\"><b>{}</b> ({}:{})<pre>{}</pre><p>{}</p><p><b>What to do:</b> {}</p></div>",
            escape(&finding.name),
            escape(&finding.place),
            finding.line,
            escape(&finding.excerpt),
            escape(&finding.cause),
            escape(&finding.cure),
        )?;
    }
    Ok(())
}

fn write_cases(page: &mut String, cases: &[CaseRecord]) -> std::fmt::Result {
    if cases.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Cases</h2><table><tr><th>outcome</th><th>ms</th><th>case</th></tr>");
    for case in cases {
        write!(
            page,
            "<tr><td class=\"{}\">{}</td><td class=\"n\">{}</td><td>{}",
            class(case.outcome),
            case.outcome,
            case.time,
            escape(&case.name)
        )?;
        let details = [("expected", &case.expected), ("seen", &case.seen), ("not run", &case.reason)];
        for (name, text) in details {
            if let Some(text) = text {
                write!(page, "<pre>{name}: {}</pre>", escape(text))?;
            }
        }
        page.push_str("</td></tr>");
    }
    page.push_str("</table>");
    Ok(())
}

/// Each step as a bar from where it began, in parts of the whole time.
fn write_steps(page: &mut String, document: &Document) -> std::fmt::Result {
    let whole = document.steps.iter().map(|step| step.begin + step.time).max().unwrap_or_default().max(1);
    page.push_str("<h2>Steps</h2><table><tr><th>step</th><th>ms</th><th class=\"track\"></th></tr>");
    for step in &document.steps {
        write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"track\"><div class=\"bar\" style=\"margin-left:{}%;width:{}%\"></div></td></tr>",
            escape(step.name),
            step.time,
            step.begin * 100 / whole,
            step.time * 100 / whole,
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn write_network(page: &mut String, document: &Document) -> std::fmt::Result {
    page.push_str("<h2>Network</h2><div class=\"nodes\">");
    for organization in &document.organizations {
        write!(page, "<div class=\"organization\"><b>{}</b>", escape(&organization.msp_id))?;
        for node in &organization.nodes {
            write!(page, "<div class=\"node\">{}</div>", escape(node))?;
        }
        page.push_str("</div>");
    }
    page.push_str("</div>");
    Ok(())
}

fn write_logs(page: &mut String, evidence: &Evidence) -> std::fmt::Result {
    page.push_str("<h2>Logs</h2>");
    for (path, bytes) in evidence.logs() {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        write!(
            page,
            "<details><summary>{}, the last {} of {} lines</summary><pre>{}</pre></details>",
            escape(&path.display().to_string()),
            last.len(),
            lines.len(),
            escape(&last.join("\n"))
        )?;
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
