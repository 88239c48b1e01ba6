//! The little of DER that has to be written here. What is read is x509-parser's matter.

/// An element of that tag.
pub(super) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut element = vec![tag];
    if content.len() < 0x80 {
        element.extend_from_slice(significant);
    } else {
        // Eight bytes at most.
        element.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
        element.extend_from_slice(significant);
    }
    element.extend_from_slice(content);
    element
}

/// How long tag and length of an element are.
pub(super) fn header_length(element: &[u8]) -> Option<usize> {
    let length = *element.get(1)?;
    Some(if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) })
}
