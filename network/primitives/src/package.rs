//! The label and the ID of a chaincode package.

/// Whether a peer accepts this label: an ASCII letter or digit, then letters, digits and `_ . + -`
/// (`LabelRegexp` in Fabric's `core/chaincode/persistence/chaincode_package.go`).
///
/// ```
/// use fabric_primitives::package::is_label;
///
/// assert!(is_label("basic_1.0"));
/// assert!(!is_label("basic 1.0"));
/// ```
pub fn is_label(label: &str) -> bool {
    label.starts_with(|first: char| first.is_ascii_alphanumeric())
        && label.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
}

/// The ID of a package: its label, a colon, and the SHA-256 of its bytes as 64 lowercase hexadecimal digits
/// (`PackageID` in Fabric's `core/chaincode/persistence/persistence.go`). The label is not checked.
///
/// ```
/// assert_eq!(
///     fabric_primitives::package::package_id("basic_1.0", b""),
///     "basic_1.0:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/// );
/// ```
#[cfg(feature = "hash")]
pub fn package_id(label: &str, package: &[u8]) -> String {
    use sha2::Digest as _;

    format!("{label}:{}", crate::hexadecimal(&sha2::Sha256::digest(package)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_that_a_peer_accepts() {
        for label in ["a", "basic_1.0", "0+x-y"] {
            assert!(is_label(label), "{label}");
        }
        for label in ["", "_a", "a b", "a/b", "é", "a\n"] {
            assert!(!is_label(label), "{label:?}");
        }
    }
}
