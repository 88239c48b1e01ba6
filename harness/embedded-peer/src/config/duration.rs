//! Durations as Go writes them: `2s`, `1m30s`, `1.5h`.

use std::time::Duration;

/// A duration of Go's `time.ParseDuration`, if it is positive.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if let Some(negative) = rest.strip_prefix('-') {
        parse(negative)?;
        return Err(format!("Attempted to set the batch timeout to a non-positive value: {text}"));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds = 0.0_f64;
    if rest == "0" {
        rest = "";
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = match &after[..length] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return Err(wrong()),
        };
        nanoseconds += number * unit;
        rest = &after[length..];
    }
    let duration = Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())?;
    if duration.is_zero() {
        return Err("Attempted to set the batch timeout to a non-positive value: 0s".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, milliseconds) in
            [("2s", 2_000), ("100ms", 100), ("1m30s", 90_000), ("1.5h", 5_400_000), ("+1s", 1_000), (".5s", 500)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "2", "s", "2 s", "1x", "-2s", "0", "0s", "1..5s", "9999999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
