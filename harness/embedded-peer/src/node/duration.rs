//! Durations of core.yaml and orderer.yaml.

use std::time::Duration;

use fabric_primitives::duration;
use serde::Deserialize as _;
use serde::de::Error as _;

/// Reads `2s`, `1m30s`, `10ms`, `1.5h`; a number without a unit counts nanoseconds.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom(format!("invalid duration `{text}`")))
}

/// `None` for a negative duration.
fn parse(text: &str) -> Option<Duration> {
    let nanoseconds = duration::parse_setting(text).ok()?;
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
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
