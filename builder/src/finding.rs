//! One thing that is wrong, or may be, with what a package or a peer's settings say: which file
//! or variable, which field, what stands there, what should, and what to do. Finds nothing itself.

use std::fmt;

/// Whether a [`Finding`] stops the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The chaincode could not be reached with this: the build fails.
    Error,
    /// The build goes on, and the operator should know.
    Warning,
}

/// Something wrong, in one line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it stops the build.
    pub severity: Severity,
    /// The file in the package, or the variable (and its file) on the peer.
    pub file: String,
    /// The field of connection.json, or of whichever file it is. Empty when it is the whole file.
    pub field: &'static str,
    /// What stands there, shortened, never key material.
    pub found: String,
    /// What should stand there, and what to do.
    pub expected: String,
}

impl Finding {
    pub(crate) fn error(
        file: impl Into<String>,
        field: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, file: file.into(), field, found: found.into(), expected: expected.into() }
    }

    pub(crate) fn warning(
        file: impl Into<String>,
        field: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, field, found, expected) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}
