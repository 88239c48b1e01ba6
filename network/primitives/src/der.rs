//! Writes ASN.1 DER elements.

/// One element: tag, length, content. The content may have any length.
///
/// ```
/// use fabric_primitives::der;
///
/// assert_eq!(der::element(der::OCTET_STRING, b"ab"), [4, 2, b'a', b'b']);
/// ```
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut element = Vec::with_capacity(content.len() + significant.len() + 2);
    element.push(tag);
    if content.len() >= 0x80 {
        // At most eight bytes of length.
        element.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    element.extend_from_slice(significant);
    element.extend_from_slice(content);
    element
}

/// An integer that is not negative, from its big-endian bytes. Leading zeros are removed, and one is added
/// when the first bit would make the number negative.
pub fn unsigned(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let mut content = number[start..].to_vec();
    if content.first().is_none_or(|byte| *byte >= 0x80) {
        content.insert(0, 0);
    }
    element(INTEGER, &content)
}

/// Tag of an integer.
pub const INTEGER: u8 = 0x02;
/// Tag of a bit string.
pub const BIT_STRING: u8 = 0x03;
/// Tag of an octet string.
pub const OCTET_STRING: u8 = 0x04;
/// Tag of a sequence.
pub const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_as_many_bytes_as_they_need() {
        for (length, head) in [
            (0, &[4, 0][..]),
            (0x7f, &[4, 0x7f]),
            (0x80, &[4, 0x81, 0x80]),
            (0xff, &[4, 0x81, 0xff]),
            (0x100, &[4, 0x82, 1, 0]),
            (0x1_0000, &[4, 0x83, 1, 0, 0]),
        ] {
            let element = element(OCTET_STRING, &vec![7; length]);
            assert_eq!(&element[..head.len()], head);
            assert_eq!(element.len(), head.len() + length);
        }
    }

    #[test]
    fn unsigned_integers_have_no_needless_zero_and_no_sign() {
        for (number, expected) in [
            (&[][..], &[2, 1, 0][..]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 1], &[2, 1, 1]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0, 0x7f, 0], &[2, 2, 0x7f, 0]),
        ] {
            assert_eq!(unsigned(number), expected);
        }
    }
}
