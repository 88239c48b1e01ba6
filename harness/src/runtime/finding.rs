//! What a check of this machine found, for `doctor`.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It limits what is possible here.
    Warning,
    /// It makes runs fail.
    Problem,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was checked, in one word.
    pub what: &'static str,
    /// What was found, and what to do.
    pub text: String,
}

impl Finding {
    pub(crate) fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, text: text.into() }
    }

    pub(crate) fn warning(what: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, what, text: text.into() }
    }

    pub(crate) fn problem(what: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Problem, what, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        // One line, whatever an engine or a program printed.
        let text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(formatter, "{level:<8} {:<13} {text}", self.what)
    }
}
