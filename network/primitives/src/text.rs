//! Values of users in messages.

/// The most characters that [`shorten`] keeps.
const SHOWN: usize = 60;

/// A value for a message: at most 60 characters, no control characters, no private key.
///
/// ```
/// use fabric_primitives::text::shorten;
///
/// assert_eq!(shorten("my\ncc"), "my\u{fffd}cc");
/// assert_eq!(shorten(&"x".repeat(400_000)), format!("{}…", "x".repeat(60)));
/// ```
pub fn shorten(value: &str) -> String {
    if value.contains("PRIVATE KEY") {
        return "(a private key)".to_owned();
    }
    cut(value, SHOWN).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A text of at most this number of characters, and `…` if it is longer.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("", 0), "");
        assert_eq!(shorten(&"ä".repeat(60)), "ä".repeat(60));
        assert_eq!(shorten("-----BEGIN PRIVATE KEY-----\nc2VjcmV0"), "(a private key)");
        assert_eq!(shorten(&"ä".repeat(61)).chars().count(), 61);
    }
}
