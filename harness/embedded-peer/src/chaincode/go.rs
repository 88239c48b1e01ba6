//! Texts as Go's standard library words them, since Fabric's error messages carry them to clients.

use std::io;
use std::process::ExitStatus;

/// What is wrong with a text that should be a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DurationError(String);

/// Parses a duration as Go's `time.ParseDuration`: `1.5s`, `-2h3m`, `300ms`. In nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError(format!("time: invalid duration {text:?}"));
    let (negative, mut rest) = match text.as_bytes().first() {
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
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at(number_length);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 40 {
            return Err(invalid());
        }
        let unit_length = after.chars().take_while(|character| !character.is_ascii_digit() && *character != '.');
        let (unit, after) = after.split_at(unit_length.map(char::len_utf8).sum());
        if unit.is_empty() {
            return Err(DurationError(format!("time: missing unit in duration {text:?}")));
        }
        let scale = unit_in_nanoseconds(unit)
            .ok_or_else(|| DurationError(format!("time: unknown unit {unit:?} in duration {text:?}")))?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = total.checked_add(whole.checked_mul(scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        let mut digit_scale = scale;
        for digit in fraction.bytes() {
            digit_scale /= 10;
            total += i128::from(digit - b'0') * digit_scale;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

fn unit_in_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// The text of an operating system's error, without Rust's number behind it.
pub(crate) fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// How a program ended, unless it succeeded: `exit status 3`, `signal: killed`.
pub(crate) fn exit_error(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;

    if status.success() {
        return None;
    }
    if let Some(code) = status.code() {
        return Some(format!("exit status {code}"));
    }
    let dumped = if status.core_dumped() { " (core dumped)" } else { "" };
    Some(
        status.signal().map_or_else(|| status.to_string(), |signal| format!("signal: {}{dumped}", signal_name(signal))),
    )
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// The name of a JSON value's kind, as in Go's type errors.
pub(crate) fn json_kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}

/// What is wrong with a JSON text, in Go's words where they are the same for every text.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// A member of a JSON object, found as Go's decoder does: by its name, else whatever its case.
pub(crate) fn json_member<'a>(
    object: &'a serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> Option<&'a serde_json::Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("10s", 10_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("-2m", -120_000_000_000),
            ("+3µs", 3_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_go_s_words() {
        for (text, words) in [
            ("10", "time: missing unit in duration \"10\""),
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("10x", "time: unknown unit \"x\" in duration \"10x\""),
            ("s", "time: invalid duration \"s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("2000000h1000000h", "time: invalid duration \"2000000h1000000h\""),
        ] {
            assert_eq!(parse_duration(text).map_err(|error| error.to_string()), Err(words.to_owned()), "{text}");
        }
    }
}
