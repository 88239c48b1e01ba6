//! Small rules of Hyperledger Fabric that several crates must apply in the same way: Go durations, hashes,
//! IDs, signatures, limits. Opens no sockets and starts no programs; the only files that it looks at are those
//! of [`program`].
//!
//! What needs more than the standard library is behind a feature: `hash` (SHA-256) for `block`,
//! `transaction` and `package::package_id`, `signature` (P-256) for `signature`.

#[cfg(feature = "hash")]
pub mod block;
pub mod der;
pub mod duration;
pub mod limits;
pub mod package;
pub mod program;
#[cfg(feature = "signature")]
pub mod signature;
#[cfg(feature = "hash")]
pub mod transaction;

/// Lowercase hexadecimal of a digest, as Fabric writes IDs.
#[cfg(feature = "hash")]
fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}
