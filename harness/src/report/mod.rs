//! What a run tells: its steps with their times while it works, its cases at the end, and what passed
//! between client, peers and chaincode.
//!
//! Decides nothing: outcomes come from [`crate::check`], the exit code from [`ExitCode`].

pub mod document;
pub mod evidence;
pub mod html;
pub mod junit;
pub mod messages;
pub mod progress;
pub mod text;
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
}

/// Prints a line to stdout. A reader who has gone, such as `head`, is no reason to end.
pub fn say(text: impl fmt::Display) {
    progress::aside(|| {
        let _ = writeln!(io::stdout().lock(), "{text}");
    });
}

/// Colors, when stdout is a terminal that wants them.
pub fn paint() -> text::Paint {
    text::Paint(io::stdout().is_terminal() && wants_colors())
}

/// Whether the user has not said otherwise, by `NO_COLOR` or `TERM=dumb`.
fn wants_colors() -> bool {
    let is_plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_plain && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints the program's own log to stderr: warnings; from `-vv` on, what it does to the nodes;
/// from `-vvvv` on, every message as it passes.
pub fn log(verbosity: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match verbosity {
        0 | 1 => LevelFilter::WARN,
        2 | 3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colors = io::stderr().is_terminal() && wants_colors();
    let own = tracing_subscriber::filter::Targets::new().with_target("fabric_harness", level);
    let format = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(colors)
        .with_writer(|| progress::Stderr);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn case(name: &str, outcome: Outcome) -> CaseReport {
        CaseReport {
            name: name.to_owned(),
            outcome,
            begin: tokio::time::Instant::now(),
            time: Duration::from_millis(12),
        }
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
        assert_eq!(report(vec![case("three", not_run())]).exit_code(), ExitCode::Failed);
        assert_eq!(report(Vec::new()).exit_code(), ExitCode::Failed);
        let mut passed = report(vec![case("one", Outcome::Passed), case("three", not_run())]);
        assert_eq!(passed.exit_code(), ExitCode::Passed);
        let (how, log) = ("exit status: 2".to_owned(), "panic".to_owned());
        passed.deaths.push(Death { name: "peer0".to_owned(), how, cause: None, log });
        assert_eq!(passed.exit_code(), ExitCode::Failed);
    }
}
