//! Go's durations ("3s", "1m30s", "500ms"), in which connection.json tells the peer how long to
//! wait for a connection. Keeps no time itself.

/// Why a text is no duration. The text says what Go expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a number with a unit of ns, us, ms, s, m or h, such as \"3s\" or \"1m30s\"")]
pub struct NotADuration;

const UNITS: [(&str, u64); 8] = [
    // The longer name of those that begin alike stands first.
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go's `time.ParseDuration` does, in nanoseconds.
///
/// # Errors
/// [`NotADuration`], also when it is longer than the 292 years that fit.
pub fn parse(text: &str) -> Result<i64, NotADuration> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(NotADuration);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        total += part;
        if total > i64::MAX as u128 {
            return Err(NotADuration);
        }
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| NotADuration)?;
    Ok(if negative { -total } else { total })
}

/// One number and its unit, in nanoseconds, and what follows.
fn component(text: &str) -> Result<(u128, &str), NotADuration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(NotADuration);
    }
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(unit_end);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name).ok_or(NotADuration)?;
    let unit = u128::from(*unit);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotADuration)? };
    let mut nanoseconds = whole.checked_mul(unit).ok_or(NotADuration)?;
    let mut digit_value = unit;
    for digit in fraction.bytes() {
        digit_value /= 10;
        nanoseconds += u128::from(digit - b'0') * digit_value;
    }
    Ok((nanoseconds, rest))
}

/// Writes nanoseconds as the shortest duration of one unit: `3s`, `1500ms`.
pub fn format(nanoseconds: i64) -> String {
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if nanoseconds % unit == 0 {
            return format!("{}{name}", nanoseconds / unit);
        }
    }
    format!("{nanoseconds}ns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("3s", 3_000_000_000),
            ("+1.5h", 5_400_000_000_000),
            ("-.5s", -500_000_000),
            ("1m30s", 90_000_000_000),
            ("10us", 10_000),
            ("10\u{b5}s", 10_000),
            ("1.ms", 1_000_000),
            ("2562047h", 9_223_369_200_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
        }
        for text in ["", "3", "s", ".s", "3 s", "3S", "1.2.3s", "3d", "-", "9999999h", "1s2"] {
            assert_eq!(parse(text), Err(NotADuration), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_durations_read_back(nanoseconds in 0..i64::MAX) {
            prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,40}[a-zµ]{0,3}[0-9.]{0,9}[a-z]{0,2}") {
            let _ = parse(&text);
        }
    }
}
