//! The terminal: output lines, colors, the program's log, errors as text, exit codes.
//!
//! Contains nothing about networks or chaincode.

#[cfg(feature = "cli")]
mod log;
#[cfg_attr(not(feature = "cli"), path = "no_progress.rs")]
pub mod progress;
pub mod timeline;

#[cfg(feature = "cli")]
pub use log::log;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

/// The program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Every case that applies passed.
    Passed = 0,
    /// At least one case failed.
    Failed = 1,
    /// The cases could not be run: invalid options, a missing requirement, a network that did not
    /// start, an interruption.
    CouldNotRun = 2,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Prints an error to stderr and returns its exit code.
pub(crate) fn could_not_run(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::CouldNotRun
}

/// Prints a line to stdout. A closed pipe, such as that of `head`, is not an error.
pub fn print(text: impl fmt::Display) {
    progress::above_list(|| {
        let _ = writeln!(io::stdout().lock(), "{text}");
    });
}

/// ANSI colors, or none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paint(bool);

impl Paint {
    /// Colors if stdout is a terminal that supports them.
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

/// Whether colors are enabled: neither `NO_COLOR` nor `TERM=dumb` is set.
fn wants_colors() -> bool {
    let is_plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_plain && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An error with its causes, without repetitions.
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

/// Implements `Debug` of an error as its text with its causes, since that is what `unwrap` prints in a test.
macro_rules! debug_as_text {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&$crate::console::error_text(self))
            }
        }
    };
}
pub(crate) use debug_as_text;

/// The size limit of a text that a user writes, in bytes.
const TEXT_LIMIT: u64 = 1024 * 1024;

/// Reads a user's file: a regular file of at most `limit` bytes, so that a pipe or a device neither blocks nor fills
/// the memory. Follows links.
pub(crate) fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    ccaas_builder::package::read_file(path, limit)
}

/// As [`read_file`], a text of at most 1 MiB.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_file(path, TEXT_LIMIT)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_text_file_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("text"), "a").unwrap();
        std::os::unix::fs::symlink(path("text"), path("link")).unwrap();
        std::fs::write(path("bytes"), b"\xff").unwrap();
        std::fs::write(path("large"), "x".repeat(1024 * 1024 + 1)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RWXU).unwrap();
        for name in ["text", "link"] {
            assert_eq!(read_text(&path(name)).unwrap(), "a");
        }
        for (file, expected) in [
            (path("bytes"), "not a text in UTF-8"),
            (path("large"), "larger than 1 MiB"),
            (path("pipe"), "not a regular file, but a named pipe"),
            (path("."), "not a regular file, but a directory"),
            ("/dev/zero".into(), "not a regular file, but a device"),
        ] {
            assert_eq!(read_text(&file).unwrap_err().to_string(), expected);
        }
    }
}
