//! Go's number parsing with its error texts.

/// `strconv.ParseUint(text, 10, 64)`.
///
/// # Errors
///
/// Go's text.
pub(crate) fn parse_uint(text: &str) -> Result<u64, String> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_digits { "value out of range" } else { "invalid syntax" };
    let number = if is_digits { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_parsed_like_in_go() {
        assert_eq!(parse_uint("18446744073709551615"), Ok(u64::MAX));
        let error = |text| parse_uint(text).unwrap_err();
        assert_eq!(
            error("18446744073709551616"),
            "strconv.ParseUint: parsing \"18446744073709551616\": value out of range"
        );
        for text in ["", "-1", "+1", "0x1", "1 ", "one"] {
            assert_eq!(error(text), format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"));
        }
    }
}
