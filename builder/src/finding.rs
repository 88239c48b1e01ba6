//! One thing that is wrong, or may be, with what a package or a peer's settings say: which file
//! or variable, which field, what stands there, what should, and what to do. Finds nothing itself.

use std::fmt;

/// Longest part of a foreign text that is ever shown, in characters.
const SHOWN: usize = 96;
/// As much of a path or an ID, whose end matters most.
const SHOWN_WHOLE: usize = 512;

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

/// A foreign text in quotes: control characters escaped, shortened when long.
pub(crate) fn quoted(text: &str) -> String {
    quoted_up_to(SHOWN, text)
}

/// As [`quoted`], for paths and IDs: only one that is longer than any real one is shortened.
pub(crate) fn quoted_whole(text: &str) -> String {
    quoted_up_to(SHOWN_WHOLE, text)
}

fn quoted_up_to(limit: usize, text: &str) -> String {
    if text.contains("PRIVATE KEY") {
        return "(a private key)".to_owned();
    }
    let mut shown = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            character if character.is_control() || is_invisible(character) => {
                shown.extend(character.escape_unicode());
            }
            character => shown.push(character),
        }
    }
    shown.push('"');
    shown
}

/// Characters that reorder or hide text in a terminal.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_keeps_one_short_line() {
        assert_eq!(quoted("a\nb\u{202e}\"c"), r#""a\u{a}b\u{202e}\"c""#);
        let long = quoted(&"x".repeat(500));
        assert_eq!(long.chars().count(), SHOWN + 3);
        assert_eq!(quoted("-----BEGIN EC PRIVATE KEY-----\nMHc"), "(a private key)");
        assert_eq!(quoted_whole(&"x".repeat(500)).chars().count(), 502);
        assert_eq!(quoted_whole(&"x".repeat(9000)).chars().count(), SHOWN_WHOLE + 3);
    }
}
