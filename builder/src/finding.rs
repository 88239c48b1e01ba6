//! One error or warning about a package or a peer's settings: the place, what was found, and what
//! was expected.

use std::fmt;

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The chaincode would be unreachable: the build fails.
    Error,
    /// The build continues, but a part of the package has no effect, or connections will fail.
    Warning,
    /// The package works; its operator should know about this.
    Advice,
}

/// An error or warning. `Display` prints one line: `PLACE: FIELD: found …, expected …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// The file in the package, or the peer's variable (and its file).
    pub file: String,
    /// The field of connection.json or of another file. Empty: the whole file.
    pub field: &'static str,
    /// What was found, shortened; never key material.
    pub found: String,
    /// What was expected, and what to do.
    pub expected: String,
}

impl Finding {
    /// The same finding about a package for any peer, whose settings may fix an error.
    #[cfg(feature = "package")]
    pub(crate) fn for_any_peer(self) -> Self {
        let severity = if self.severity == Severity::Error { Severity::Warning } else { self.severity };
        Self { severity, ..self }
    }

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

    pub(crate) fn advice(
        file: impl Into<String>,
        field: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Advice, ..Self::error(file, field, found, expected) }
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
