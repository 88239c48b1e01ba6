//! Foreign text in messages: quoted, escaped, shortened, and without private keys. Everything that a
//! package or a peer's settings contain goes through here before it is printed.

use std::path::Path;

/// Longest part of a foreign text that is ever shown, in characters.
const SHOWN: usize = 96;
/// As much of a path or an ID, whose end matters most.
const SHOWN_WHOLE: usize = 512;

/// A foreign text in quotes: control characters escaped, shortened when long.
pub(crate) fn quoted(text: &str) -> String {
    quoted_up_to(SHOWN, text)
}

/// As [`quoted`], for paths and IDs: only one that is longer than any real one is shortened.
pub(crate) fn quoted_path(text: &str) -> String {
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

/// A path for a message: as it is when harmless, quoted and escaped when not.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let quoted = quoted_path(&text);
    if quoted.len() == text.len() + 2 && !text.contains([' ', ':']) { text.into_owned() } else { quoted }
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
        assert_eq!(quoted_path(&"x".repeat(500)).chars().count(), 502);
        assert_eq!(quoted_path(&"x".repeat(9000)).chars().count(), SHOWN_WHOLE + 3);
    }
}
