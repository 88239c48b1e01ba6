//! The multipart form in a request to join a channel: one file, and nothing else.

/// Why a form is refused; the texts are Fabric's and those of Go's `mime/multipart`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("cannot read form from request body: multipart: boundary is empty")]
    Boundary,
    #[error("cannot read form from request body: multipart: NextPart: EOF")]
    Truncated,
    #[error("form does not contains part key: {0}")]
    Missing(&'static str),
    #[error("form contains too many parts")]
    TooMany,
}

/// The bytes of the form's one file, which must be called `key`.
pub(super) fn file<'a>(content_type: &str, body: &'a [u8], key: &'static str) -> Result<&'a [u8], FormError> {
    let boundary = boundary(content_type)?;
    let parts = parts(body, &boundary)?;
    let is_file = |part: &&Part<'_>| part.is_file;
    let Some(part) = parts.iter().filter(is_file).find(|part| part.name == key) else {
        return Err(FormError::Missing(key));
    };
    if parts.len() != 1 {
        return Err(FormError::TooMany);
    }
    Ok(part.content)
}

fn boundary(content_type: &str) -> Result<String, FormError> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) =
        parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary")).ok_or(FormError::Boundary)?;
    let value = value.trim().trim_matches('"');
    if value.is_empty() { Err(FormError::Boundary) } else { Ok(value.to_owned()) }
}

struct Part<'a> {
    name: String,
    is_file: bool,
    content: &'a [u8],
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, FormError> {
    let first = format!("--{boundary}");
    let following = format!("\r\n--{boundary}");
    let begin = find(body, first.as_bytes()).ok_or(FormError::Truncated)?;
    let mut rest = &body[begin + first.len()..];
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let line = find(rest, b"\r\n").ok_or(FormError::Truncated)?;
        rest = &rest[line + 2..];
        let end_of_headers = find(rest, b"\r\n\r\n").ok_or(FormError::Truncated)?;
        let (headers, after) = (&rest[..end_of_headers], &rest[end_of_headers + 4..]);
        let end = find(after, following.as_bytes()).ok_or(FormError::Truncated)?;
        parts.push(part(headers, &after[..end]));
        rest = &after[end + following.len()..];
    }
}

fn part<'a>(headers: &[u8], content: &'a [u8]) -> Part<'a> {
    let headers = String::from_utf8_lossy(headers);
    let disposition = headers.lines().filter_map(|line| line.split_once(':'));
    let mut disposition = disposition.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let value = disposition.next().map(|(_, value)| value).unwrap_or_default();
    let parameter = |wanted: &str| {
        let mut parameters = value.split(';').filter_map(|parameter| parameter.split_once('='));
        let found = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    Part { name: parameter("name").unwrap_or_default(), is_file: parameter("filename").is_some(), content }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b0";

    fn one(name: &str, file: bool, content: &str) -> String {
        let file = if file { "; filename=\"f\"" } else { "" };
        format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn the_one_file_is_taken_byte_by_byte() {
        let body = [one("k", true, "\0\r\n--b\u{7f}"), "--b0--\r\n".into()].concat();
        assert_eq!(file(TYPE, body.as_bytes(), "k"), Ok(&b"\0\r\n--b\x7f"[..]));
        let quoted = "multipart/form-data; charset=x; boundary=\"b0\"";
        assert!(file(quoted, body.as_bytes(), "k").is_ok());
    }

    #[test]
    fn other_forms_are_refused_with_the_reason() {
        let end = "--b0--\r\n";
        let other = [one("x", true, ""), end.into()].concat();
        assert_eq!(file(TYPE, other.as_bytes(), "k"), Err(FormError::Missing("k")));
        let value = [one("k", false, ""), end.into()].concat();
        assert_eq!(file(TYPE, value.as_bytes(), "k"), Err(FormError::Missing("k")));
        let two = [one("k", true, ""), one("x", false, ""), end.into()].concat();
        assert_eq!(file(TYPE, two.as_bytes(), "k"), Err(FormError::TooMany));
        for body in ["", "--b0", "--b0\r\n", "--b0\r\nA: b\r\n\r\nx", &one("k", true, "x")] {
            assert_eq!(file(TYPE, body.as_bytes(), "k"), Err(FormError::Truncated), "{body:?}");
        }
        assert_eq!(file("multipart/form-data", b"", "k"), Err(FormError::Boundary));
        assert_eq!(file("multipart/form-data; boundary=", b"", "k"), Err(FormError::Boundary));
    }
}
