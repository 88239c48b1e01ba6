//! What a run tells: its steps with their times while it works, its cases at the end.
//!
//! Decides nothing: outcomes come from [`crate::check`], the exit code from [`ExitCode`].

pub mod document;
pub mod evidence;
pub mod html;
pub mod junit;
pub mod timeline;

use crate::check::{CaseReport, Outcome};
use crate::runtime::Death;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Every case that applies passed.
    Passed = 0,
    /// At least one case failed.
    Failed = 1,
    /// The cases could not be run: a mistake in the options, a missing need, a network that did
    /// not start, an interruption.
    CouldNotRun = 2,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// What came of every case, in their order.
#[derive(Debug, Default)]
pub struct Report {
    /// The cases.
    pub cases: Vec<CaseReport>,
    /// Nodes and servers that ended by themselves meanwhile.
    pub deaths: Vec<Death>,
    /// What of the run could not be removed, and what to do about it.
    pub left: Vec<String>,
}

impl Report {
    /// [`ExitCode::Failed`] when a case failed, none passed, a node ended by itself, or something is
    /// left behind.
    pub fn exit_code(&self) -> ExitCode {
        let failed = self.cases.iter().any(|case| matches!(case.outcome, Outcome::Failed { .. }));
        let passed = self.cases.iter().any(|case| matches!(case.outcome, Outcome::Passed));
        if passed && !failed && self.deaths.is_empty() && self.left.is_empty() {
            ExitCode::Passed
        } else {
            ExitCode::Failed
        }
    }

    /// A line for each case, what ended by itself, and a line that counts the cases.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let (mut passed, mut failed, mut not_run) = (0, 0, 0);
        for CaseReport { name, outcome, time } in &self.cases {
            let milliseconds = time.as_millis();
            // Writing to a string can't fail.
            let _ = match outcome {
                Outcome::Passed => {
                    passed += 1;
                    writeln!(text, "  passed   {milliseconds:>5} ms  {name}")
                }
                Outcome::Failed { expected, seen } => {
                    failed += 1;
                    writeln!(text, "  FAILED   {milliseconds:>5} ms  {name}\n{}", indent("expected", expected))
                        .and_then(|()| writeln!(text, "{}", indent("seen", seen)))
                }
                Outcome::NotRun { reason } => {
                    not_run += 1;
                    writeln!(text, "  not run            {name}: {reason}")
                }
            };
        }
        for death in &self.deaths {
            let _ = writeln!(text, "{death}");
        }
        for left in &self.left {
            let _ = writeln!(text, "left behind: {left}");
        }
        let _ = write!(text, "{passed} passed, {failed} failed, {not_run} not run");
        text
    }
}

/// Prints a line to stdout. A reader who has gone, such as `head`, is no reason to end.
pub fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints the program's own log to stderr: warnings; from `-vv` on, what it does to the nodes.
pub fn log(verbosity: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbosity {
        0 | 1 => LevelFilter::WARN,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let own = tracing_subscriber::filter::Targets::new().with_target("fabric_harness", level);
    let format = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(colors)
        .with_writer(std::io::stderr);
    // A second subscriber, as in a test, is refused; the first one stays.
    let _ = tracing_subscriber::registry().with(own).with(format).try_init();
}

/// An error and what caused it, each part once.
pub fn error_text<E: std::error::Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn indent(label: &str, text: &str) -> String {
    let mut lines = text.lines();
    let mut indented = format!("             {label:>8}: {}", lines.next().unwrap_or_default());
    for line in lines {
        indented.push_str("\n                       ");
        indented.push_str(line);
    }
    indented
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn case(name: &str, outcome: Outcome) -> CaseReport {
        CaseReport { name: name.to_owned(), outcome, time: Duration::from_millis(12) }
    }

    fn report(cases: Vec<CaseReport>) -> Report {
        Report { cases, ..Report::default() }
    }

    #[test]
    fn one_failure_fails_the_run_and_a_case_that_did_not_run_is_no_pass() {
        let failed = Outcome::Failed { expected: "a".to_owned(), seen: "b\nc".to_owned() };
        let not_run = || Outcome::NotRun { reason: "needs two organizations".to_owned() };
        let mixed = report(vec![case("one", Outcome::Passed), case("two", failed), case("three", not_run())]);
        assert_eq!(mixed.exit_code(), ExitCode::Failed);
        assert!(mixed.summary().ends_with("1 passed, 1 failed, 1 not run"), "{}", mixed.summary());
        assert_eq!(report(vec![case("three", not_run())]).exit_code(), ExitCode::Failed);
        assert_eq!(report(Vec::new()).exit_code(), ExitCode::Failed);
        let mut passed = report(vec![case("one", Outcome::Passed), case("three", not_run())]);
        assert_eq!(passed.exit_code(), ExitCode::Passed);
        let (how, log) = ("exit status: 2".to_owned(), "panic".to_owned());
        passed.deaths.push(Death { name: "peer0".to_owned(), how, cause: None, log });
        assert_eq!(passed.exit_code(), ExitCode::Failed);
        assert!(passed.summary().contains("peer0 ended: exit status: 2"), "{}", passed.summary());
    }
}
