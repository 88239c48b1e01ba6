//! The multipart form of a request to join or update a channel: one file, and nothing else.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use multer::Multipart;

/// A form is invalid. The texts are those of Fabric and of Go's `mime/multipart`.
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

/// The content of the form's only part, which must be a file with the name `key`.
pub(super) async fn file(content_type: &str, body: Bytes, key: &'static str) -> Result<Bytes, FormError> {
    let boundary = multer::parse_boundary(content_type).ok().filter(|boundary| !boundary.is_empty());
    let boundary = boundary.ok_or(FormError::Boundary)?;
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    let mut form = Multipart::new(body, boundary);
    let (mut parts, mut found) = (0, None);
    while let Some(part) = form.next_field().await.map_err(|_| FormError::Truncated)? {
        let is_wanted = part.file_name().is_some() && part.name() == Some(key);
        let content = part.bytes().await.map_err(|_| FormError::Truncated)?;
        parts += 1;
        if is_wanted {
            found.get_or_insert(content);
        }
    }
    let content = found.ok_or(FormError::Missing(key))?;
    if parts == 1 { Ok(content) } else { Err(FormError::TooMany) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b0";

    fn one(name: &str, file: bool, content: &str) -> String {
        let file = if file { "; filename=\"f\"" } else { "" };
        format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n")
    }

    async fn read(content_type: &str, body: &str) -> Result<Bytes, FormError> {
        file(content_type, Bytes::copy_from_slice(body.as_bytes()), "k").await
    }

    #[tokio::test]
    async fn the_content_of_the_file_is_unchanged() {
        let body = [one("k", true, "\0\r\n--b\u{7f}"), "--b0--\r\n".into()].concat();
        assert_eq!(read(TYPE, &body).await, Ok(Bytes::from_static(b"\0\r\n--b\x7f")));
        let quoted = "multipart/form-data; charset=x; boundary=\"b0\"";
        assert!(read(quoted, &body).await.is_ok());
    }

    #[tokio::test]
    async fn other_forms_are_rejected_with_fabrics_errors() {
        let end = "--b0--\r\n";
        let other = [one("x", true, ""), end.into()].concat();
        assert_eq!(read(TYPE, &other).await, Err(FormError::Missing("k")));
        let value = [one("k", false, ""), end.into()].concat();
        assert_eq!(read(TYPE, &value).await, Err(FormError::Missing("k")));
        let two = [one("k", true, ""), one("x", false, ""), end.into()].concat();
        assert_eq!(read(TYPE, &two).await, Err(FormError::TooMany));
        for body in ["", "--b0", "--b0\r\n", "--b0\r\nA: b\r\n\r\nx", &one("k", true, "x")] {
            assert_eq!(read(TYPE, body).await, Err(FormError::Truncated), "{body:?}");
        }
        assert_eq!(read("multipart/form-data", "").await, Err(FormError::Boundary));
        assert_eq!(read("multipart/form-data; boundary=", "").await, Err(FormError::Boundary));
    }
}
