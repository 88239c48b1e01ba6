//! The log on stderr, which the peer copies to its own log, and output on stdout. Lines are short: a
//! peer stops reading at a line of 64 KiB.

use std::io::{self, Write};

use crate::error::BuilderError;
use crate::exit::Exit;
use crate::finding::{Finding, Severity};

/// The variable with the log level.
pub const LEVEL_VARIABLE: &str = "CORE_PEER_CC_BUILDER_LOG_LEVEL";

/// Length limit of a line, in bytes.
const MAX_LINE: usize = 2000;
/// Limit on printed findings.
const MAX_FINDINGS: usize = 50;

/// A log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Why the program failed: always printed.
    Error,
    /// Possible problems.
    Warning,
    /// The default: a one-line summary.
    #[default]
    Info,
    /// Every step.
    Debug,
}

/// Prints to stdout. A closed pipe is not an error.
pub fn print<W: Write>(text: &str, report: &mut Report<W>) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            report.error(&format!("cannot write to stdout: {error}"));
            Exit::Io
        }
        _ => Exit::Success,
    }
}

/// Writes the lines of the selected level and above.
///
/// ```
/// use ccaas_builder::report::Report;
///
/// let mut lines = Vec::new();
/// let mut report = Report::new(Some("WARN"), &mut lines);
/// report.info("started");
/// report.warning("no TLS");
/// assert_eq!(lines, b"warning: no TLS\n");
/// ```
#[derive(Debug)]
pub struct Report<W> {
    level: Level,
    to: W,
}

impl<W: Write> Report<W> {
    /// Creates a report with the value of [`LEVEL_VARIABLE`]; absent or empty means info.
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

    /// Logs an error.
    pub fn error(&mut self, text: &str) {
        self.line(Level::Error, "error: ", text);
    }

    /// Logs a warning.
    pub fn warning(&mut self, text: &str) {
        self.line(Level::Warning, "warning: ", text);
    }

    /// Logs the summary.
    pub fn info(&mut self, text: &str) {
        self.line(Level::Info, "", text);
    }

    /// Logs a step.
    pub fn debug(&mut self, text: &str) {
        self.line(Level::Debug, "debug: ", text);
    }

    /// Logs the findings of an error, then the error itself.
    pub fn failure(&mut self, program: &str, error: &BuilderError) {
        self.findings(error.findings());
        self.error(&format!("{program}: {error}"));
    }

    /// Logs findings, errors first; only the first 50.
    pub fn findings(&mut self, findings: &[Finding]) {
        let of = |is_error| findings.iter().filter(move |finding| (finding.severity == Severity::Error) == is_error);
        for finding in of(true).chain(of(false)).take(MAX_FINDINGS) {
            match finding.severity {
                Severity::Error => self.error(&finding.to_string()),
                Severity::Warning | Severity::Advice => self.warning(&finding.to_string()),
            }
        }
        if let Some(more @ 1..) = findings.len().checked_sub(MAX_FINDINGS) {
            self.warning(&format!("{more} more findings not shown"));
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
        // In one write. The exit code does not depend on whether the peer reads it.
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
    fn errors_come_before_warnings() {
        let mut findings = vec![Finding::warning("w", "", "x", "y"); 60];
        findings.push(Finding::error("e", "", "x", "y"));
        let mut out = Vec::new();
        Report::new(None, &mut out).findings(&findings);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("error: e: found x, expected y\nwarning: w: "), "{text}");
        assert!(text.ends_with("\nwarning: 11 more findings not shown\n"), "{text}");
    }

    #[test]
    fn a_message_is_one_short_line() {
        let mut out = Vec::new();
        Report::new(None, &mut out).error(&format!("a\nb{}", "é".repeat(40_000)));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("error: a bé") && text.ends_with("…\n"));
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 2100);
    }
}
