//! Untrusted text in messages: quoted, escaped, shortened, and with private keys left out.

use std::path::Path;

/// Longest text shown, in characters.
const MAX_TEXT: usize = 96;
/// Longest path or package ID shown, in characters: longer than real ones, since their ends matter.
const MAX_PATH: usize = 512;

/// Quotes a text: control characters are escaped, long texts shortened.
pub(crate) fn quoted(text: &str) -> String {
    quoted_up_to(MAX_TEXT, text)
}

/// Quotes a path or package ID like [`quoted`], with a higher length limit.
pub(crate) fn quoted_path(text: &str) -> String {
    quoted_up_to(MAX_PATH, text)
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

/// A path for a message: unchanged if it is harmless, otherwise quoted and escaped.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let quoted = quoted_path(&text);
    if quoted.len() == text.len() + 2 && !text.contains([' ', ':']) { text.into_owned() } else { quoted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_short_line() {
        assert_eq!(quoted("a\nb\u{202e}\"c"), r#""a\u{a}b\u{202e}\"c""#);
        let long = quoted(&"x".repeat(500));
        assert_eq!(long.chars().count(), MAX_TEXT + 3);
        assert_eq!(quoted("-----BEGIN EC PRIVATE KEY-----\nMHc"), "(a private key)");
        assert_eq!(quoted_path(&"x".repeat(500)).chars().count(), 502);
        assert_eq!(quoted_path(&"x".repeat(9000)).chars().count(), MAX_PATH + 3);
    }
}
