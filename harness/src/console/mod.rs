//! What the program has to do with a terminal: lines, colors, its log, errors as text, exit codes.
//!
//! Decides nothing about a run.

pub mod progress;
pub mod timeline;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

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

/// Prints an error.
pub(crate) fn could_not_run(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::CouldNotRun
}

/// Prints a line to stdout. A reader who has gone, such as `head`, is no reason to end.
pub fn say(text: impl fmt::Display) {
    progress::aside(|| {
        let _ = writeln!(io::stdout().lock(), "{text}");
    });
}

/// Colors, for a terminal that wants them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paint(bool);

impl Paint {
    /// Colors when stdout is a terminal that wants them.
    pub fn for_stdout() -> Self {
        Self(io::stdout().is_terminal() && wants_colors())
    }

    fn with(self, code: u8, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(32, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(31, text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.with(2, text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.with(1, text)
    }
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

/// The most bytes of a file that a user writes.
const TEXT_LIMIT: u64 = 1024 * 1024;

/// Reads a text file of at most a megabyte.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TEXT_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MB"));
    }
    Ok(text)
}
