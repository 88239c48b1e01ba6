//! Formats a distinguished name like fabric-chaincode-go's `pkg/cid`: RFC 2253, with Go's order of
//! attribute types, and several values of one type in one part.

use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::x509::X509Name;

/// In the reverse of Go's order.
const TYPES: [(Oid<'static>, &str); 9] = [
    (oid!(2.5.4.5), "SERIALNUMBER"),
    (oid!(2.5.4.3), "CN"),
    (oid!(2.5.4.17), "POSTALCODE"),
    (oid!(2.5.4.9), "STREET"),
    (oid!(2.5.4.8), "ST"),
    (oid!(2.5.4.7), "L"),
    (oid!(2.5.4.11), "OU"),
    (oid!(2.5.4.10), "O"),
    (oid!(2.5.4.6), "C"),
];

/// The types of which Go keeps only the last value.
const SINGLE: [&str; 2] = ["SERIALNUMBER", "CN"];

pub(super) fn text(name: &X509Name<'_>) -> String {
    let part = |(attribute_type, label): (Oid<'static>, &str)| {
        let values = name.iter_by_oid(&attribute_type).filter_map(|value| value.as_str().ok());
        let mut values: Vec<_> = values.map(|value| format!("{label}={}", escaped(value))).collect();
        if SINGLE.contains(&label) {
            values.drain(..values.len().saturating_sub(1));
        }
        (!values.is_empty()).then(|| values.join("+"))
    };
    let parts: Vec<_> = TYPES.into_iter().filter_map(part).collect();
    parts.join(",")
}

fn escaped(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (index, letter) in value.char_indices() {
        let at_edge = (index == 0 && matches!(letter, ' ' | '#')) || (index == last && letter == ' ');
        if at_edge || matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escaped(r#" a,b+"c" "#), r#"\ a\,b\+\"c\"\ "#);
        assert_eq!(escaped("#a#"), r"\#a#");
        assert_eq!(escaped("é "), "é\\ ");
        assert_eq!(escaped(""), "");
    }
}
