//! Go's durations as text, such as `3s`, `1m30s` or `500ms`, which Fabric's configurations hold. A duration is
//! a signed number of nanoseconds in 64 bits, as in Go: up to about 292 years.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is not a duration. The texts are those of Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Malformed, or longer than 64 bits of nanoseconds allow.
    #[error("time: invalid duration {}", quoted(.0))]
    Invalid(String),
    /// A number has no unit.
    #[error("time: missing unit in duration {}", quoted(.0))]
    MissingUnit(String),
    /// A number has a unit other than `ns`, `us`, `µs`, `ms`, `s`, `m` and `h`.
    #[error("time: unknown unit {} in duration {}", quoted(.unit), quoted(.duration))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        duration: String,
    },
}

/// The magnitude of the least duration; the greatest is one less.
const MOST: u128 = 1 << 63;

/// Parses a duration as Go's `time.ParseDuration` does: an optional sign, then numbers with a unit each;
/// `0` needs no unit. The result is in nanoseconds, rounded toward zero.
///
/// The arithmetic is exact. Go computes a fraction in floating point, which can differ by a nanosecond when
/// the fraction has more than 15 digits.
///
/// ```
/// use fabric_primitives::duration::parse;
///
/// assert_eq!(parse("-1.5h"), Ok(-5_400_000_000_000));
/// assert_eq!(parse("10").unwrap_err().to_string(), "time: missing unit in duration \"10\"");
/// ```
///
/// # Errors
/// [`DurationError`], also when the duration does not fit.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split(rest, |c| !c.is_ascii_digit());
        let (fraction, after) =
            after.strip_prefix('.').map_or(("", after), |after| split(after, |c| !c.is_ascii_digit()));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let (unit, after) = split(after, |c| c == '.' || c.is_ascii_digit());
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let scale = nanoseconds(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), duration: text.to_owned() })?;
        total += integer(whole).ok_or_else(invalid)? * scale + part(fraction, scale);
        if total > MOST {
            return Err(invalid());
        }
        rest = after;
    }
    let total = i128::try_from(total).map_err(|_| invalid())?;
    i64::try_from(if is_negative { -total } else { total }).map_err(|_| invalid())
}

/// Parses a duration of core.yaml, orderer.yaml or their environment variables: as [`parse`], and a number
/// without a unit counts nanoseconds (`ToDurationE` of `github.com/spf13/cast`, which Fabric's reader of
/// configurations uses).
///
/// # Errors
/// As [`parse`].
pub fn parse_setting(text: &str) -> Result<i64, DurationError> {
    if text.contains(['n', 's', 'u', 'µ', 'm', 'h']) { parse(text) } else { parse(&format!("{text}ns")) }
}

/// Formats nanoseconds as Go's `Duration.String` does: `500ms`, `2s`, `1m0s`, `-1.5s`. [`parse`] reads it back.
pub fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let magnitude = nanoseconds.unsigned_abs();
    let text = match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => decimal(magnitude, 3) + "µs",
        1_000_000..1_000_000_000 => decimal(magnitude, 6) + "ms",
        _ => {
            let (minutes, rest) = (magnitude / 60_000_000_000, magnitude % 60_000_000_000);
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let seconds = decimal(rest, 9) + "s";
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, _) => format!("{minutes}m{seconds}"),
                (_, _) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// As [`format()`], of a duration of Rust's standard library. One that does not fit becomes the longest that does.
pub fn format_std(duration: Duration) -> String {
    format(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// The text up to the first character that ends it, and the rest.
fn split(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A number of at most 63 bits; `None` when it is larger.
fn integer(digits: &str) -> Option<u128> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse().ok().filter(|number| *number <= MOST)
}

/// The nanoseconds of a decimal fraction of a unit. Digits after the 25th are ignored: together they are
/// less than a nanosecond.
fn part(digits: &str, unit: u128) -> u128 {
    let (mut numerator, mut denominator) = (0, 1);
    for digit in digits.bytes().take(25) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    numerator * unit / denominator
}

fn nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A number divided by 10^`places`, without trailing zeros.
fn decimal(number: u64, places: usize) -> String {
    let digits = format!("{number:0width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A text in quotes, as Go's package `time` writes it: what is not printable ASCII as the hexadecimal numbers
/// of its bytes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if !c.is_ascii() || c < ' ' {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\x{byte:02x}");
            }
            continue;
        }
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_parsed_as_go_parses_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("7ns", 7),
            ("2s", 2_000_000_000),
            ("3s", 3_000_000_000),
            ("10s", 10_000_000_000),
            ("+1s", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("-.5s", -500_000_000),
            ("+1.5h", 5_400_000_000_000),
            ("1m30s", 90_000_000_000),
            ("-2m", -120_000_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("10us", 10_000),
            ("10\u{b5}s", 10_000),
            ("+3\u{3bc}s", 3_000),
            ("250us", 250_000),
            ("10ms", 10_000_000),
            ("100ms", 100_000_000),
            ("1.ms", 1_000_000),
            ("2562047h", 9_223_369_200_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("0.100000000000000000000h", 360_000_000_000),
            ("1.1s", 1_100_000_000),
            ("0.000000001s", 1),
        ] {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_go_rejects_is_rejected() {
        for text in [
            "",
            "3",
            "2",
            "s",
            ".s",
            "3 s",
            "2 s",
            "3S",
            "1.2.3s",
            "1..5s",
            "3d",
            "1x",
            "-",
            "9999999h",
            "1s2",
            "1e400h",
            "x",
            "9999999999999999999999h",
            "9223372036854775808ns",
            "-9223372036854775809ns",
            "--1s",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_error_texts_are_those_of_go() {
        for (text, error) in [
            ("10", "time: missing unit in duration \"10\""),
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("10x", "time: unknown unit \"x\" in duration \"10x\""),
            ("s", "time: invalid duration \"s\""),
            ("1.2.3s", "time: missing unit in duration \"1.2.3s\""),
            ("2000000h1000000h", "time: invalid duration \"2000000h1000000h\""),
            (
                "1\"\\\t\u{e9}",
                "time: unknown unit \"\\\"\\\\\\x09\\xc3\\xa9\" in duration \"1\\\"\\\\\\x09\\xc3\\xa9\"",
            ),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_setting_without_a_unit_counts_nanoseconds() {
        assert_eq!(parse_setting("7"), Ok(7));
        assert_eq!(parse_setting("0"), Ok(0));
        assert_eq!(parse_setting("1m30s"), Ok(90_000_000_000));
        for text in ["", "x", "2x"] {
            assert!(parse_setting(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_formatted_as_go_formats_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (20_000_000, "20ms"),
            (500_000_000, "500ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (-1_500_000_000, "-1.5s"),
            (60_000_000_000, "1m0s"),
            (180_000_000_000, "3m0s"),
            (245_001_000_000, "4m5.001s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format(nanoseconds), text);
        }
        assert_eq!(format_std(Duration::from_secs(90)), "1m30s");
        assert_eq!(format_std(Duration::MAX), "2562047h47m16.854775807s");
    }

    proptest! {
        #[test]
        fn formatted_durations_are_parsed_back(nanoseconds: i64) {
            prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,40}[a-zµ]{0,3}[0-9.]{0,9}[a-z]{0,2}") {
            let _ = parse(&text);
            let _ = parse_setting(&text);
        }
    }
}
