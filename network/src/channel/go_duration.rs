//! Durations as Go writes them, which is how Fabric keeps them in a configuration.

use std::time::Duration;

/// Writes a duration as Go's `Duration.String` does: `500ms`, `2s`, `1m0s`, `1.5s`.
pub(super) fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => decimal(nanoseconds, 3) + "µs",
        1_000_000..1_000_000_000 => decimal(nanoseconds, 6) + "ms",
        _ => {
            let (minutes, rest) = (duration.as_secs() / 60, nanoseconds % 60_000_000_000);
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let seconds = decimal(rest, 9) + "s";
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, _) => format!("{minutes}m{seconds}"),
                (_, _) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// A number divided by 10^`places`, without trailing zeros.
fn decimal(number: u128, places: usize) -> String {
    let digits = format!("{number:0width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (20_000_000, "20ms"),
            (500_000_000, "500ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (180_000_000_000, "3m0s"),
            (245_001_000_000, "4m5.001s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
