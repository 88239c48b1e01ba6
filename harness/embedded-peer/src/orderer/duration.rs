//! Go's durations as text, as Fabric's configurations have them.

use std::time::Duration;

/// Reads `2s`, `1m30s`, `10ms`, `1.5h`; digits alone are nanoseconds. Nothing for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_nanos);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let value: f64 = value.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(value * seconds).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        for (text, expected) in [
            ("2s", Duration::from_secs(2)),
            ("1m30s", Duration::from_secs(90)),
            ("10ms", Duration::from_millis(10)),
            ("1.5h", Duration::from_mins(90)),
            ("250us", Duration::from_micros(250)),
            ("7", Duration::from_nanos(7)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in ["s", "x", "2 s", "-2s", "2x", "1..5s", "1e400h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
