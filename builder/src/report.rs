//! What the programs say on stderr, the only place where a peer looks: lines that are short (it
//! stops reading at 64 KiB), one summary at info, and the reason for a failure at any level; and, on
//! stdout, what a person asked for.

use std::io::{self, Write};

use crate::error::BuilderError;
use crate::exit::Exit;
use crate::finding::{Finding, Severity};

/// The variable with the least important level that is shown.
pub const LEVEL_VARIABLE: &str = "CORE_PEER_CC_BUILDER_LOG_LEVEL";

/// Longest line, in bytes.
const MAX_LINE: usize = 2000;
/// Most findings that are shown.
const MAX_FINDINGS: usize = 50;

/// How important a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Why it failed: always shown.
    Error,
    /// What may go wrong.
    Warning,
    /// The default: one line of summary.
    #[default]
    Info,
    /// Every step.
    Debug,
}

/// Prints on stdout what was asked for. Who stops reading has read enough.
pub fn show<W: Write>(text: &str, report: &mut Report<W>) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            report.error(&format!("standard output: {error}"));
            Exit::Io
        }
        _ => Exit::Success,
    }
}

/// Writes the lines that are important enough.
#[derive(Debug)]
pub struct Report<W> {
    level: Level,
    to: W,
}

impl<W: Write> Report<W> {
    /// Begins with the text of [`LEVEL_VARIABLE`]; absent or empty means info.
    pub fn new(level: Option<&str>, to: W) -> Self {
        let known = match level.unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "info" => Some(Level::Info),
            "debug" => Some(Level::Debug),
            "warn" | "warning" => Some(Level::Warning),
            "error" | "fatal" | "panic" => Some(Level::Error),
            _ => None,
        };
        let mut report = Self { level: known.unwrap_or_default(), to };
        if let (None, Some(level)) = (known, level) {
            report.warning(&format!(
                "{LEVEL_VARIABLE}: found {}, expected DEBUG, INFO, WARN or ERROR",
                crate::quote::quoted(level)
            ));
        }
        report
    }

    /// Why it failed.
    pub fn error(&mut self, text: &str) {
        self.line(Level::Error, "error: ", text);
    }

    /// What may go wrong.
    pub fn warning(&mut self, text: &str) {
        self.line(Level::Warning, "warning: ", text);
    }

    /// The one line of summary.
    pub fn info(&mut self, text: &str) {
        self.line(Level::Info, "", text);
    }

    /// A step.
    pub fn debug(&mut self, text: &str) {
        self.line(Level::Debug, "debug: ", text);
    }

    /// A failure, every finding behind it first.
    pub fn failure(&mut self, program: &str, error: &BuilderError) {
        self.findings(error.findings());
        self.error(&format!("{program}: {error}"));
    }

    /// Findings, the errors before the warnings: of very many only the first are shown.
    pub fn findings(&mut self, findings: &[Finding]) {
        let of = |severity| findings.iter().filter(move |finding| finding.severity == severity);
        for finding in of(Severity::Error).chain(of(Severity::Warning)).take(MAX_FINDINGS) {
            match finding.severity {
                Severity::Error => self.error(&finding.to_string()),
                Severity::Warning => self.warning(&finding.to_string()),
            }
        }
        if let Some(more @ 1..) = findings.len().checked_sub(MAX_FINDINGS) {
            self.warning(&format!("and {more} more"));
        }
    }

    fn line(&mut self, level: Level, mark: &str, text: &str) {
        if level > self.level {
            return;
        }
        let mut end = text.len().min(MAX_LINE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let rest = if end < text.len() { "…" } else { "" };
        let text = text[..end].replace(['\n', '\r'], " ");
        // In one piece, and a peer that no longer reads is no reason to fail.
        let _ = self.to.write_all(format!("{mark}{text}{rest}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(level: Option<&str>) -> String {
        let mut out = Vec::new();
        let mut report = Report::new(level, &mut out);
        report.debug("d");
        report.info("i");
        report.warning("w");
        report.error("e");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn levels() {
        assert_eq!(shown(None), "i\nwarning: w\nerror: e\n");
        assert_eq!(shown(Some("DEBUG")), "debug: d\ni\nwarning: w\nerror: e\n");
        assert_eq!(shown(Some("Warn")), "warning: w\nerror: e\n");
        assert_eq!(shown(Some("ERROR")), "error: e\n");
        assert!(shown(Some("loud")).starts_with("warning: CORE_PEER_CC_BUILDER_LOG_LEVEL: found \"loud\""));
    }

    #[test]
    fn no_number_of_warnings_hides_an_error() {
        let mut findings = vec![Finding::warning("w", "", "x", "y"); 60];
        findings.push(Finding::error("e", "", "x", "y"));
        let mut out = Vec::new();
        Report::new(None, &mut out).findings(&findings);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("error: e: found x, expected y\nwarning: w: "), "{text}");
        assert!(text.ends_with("\nwarning: and 11 more\n"), "{text}");
    }

    #[test]
    fn lines_stay_lines_and_short() {
        let mut out = Vec::new();
        Report::new(None, &mut out).error(&format!("a\nb{}", "é".repeat(40_000)));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("error: a bé") && text.ends_with("…\n"));
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 2100);
    }
}
