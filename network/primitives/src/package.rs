//! The ID of a chaincode package.

use sha2::{Digest as _, Sha256};

/// The ID of a package: its label, a colon, and the SHA-256 of its bytes as 64 lowercase hexadecimal digits
/// (`PackageID` in Fabric's `core/chaincode/persistence/persistence.go`). The label is not checked.
///
/// ```
/// assert_eq!(
///     fabric_primitives::package::package_id("basic_1.0", b""),
///     "basic_1.0:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/// );
/// ```
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", crate::hexadecimal(&Sha256::digest(package)))
}
