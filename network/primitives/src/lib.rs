//! Primitives of Hyperledger Fabric that several programs need: Go durations, hashes, IDs, names, signatures, limits. The
//! crate opens no sockets and starts no programs.
//!
//! Features: `hash` (SHA-256) for `block`, `transaction` and `package`; `signature` (P-256) for
//! `signature`.

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "hash"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "hash")]
pub mod block;
pub mod der;
pub mod duration;
pub mod handshakes;
pub mod limits;
pub mod names;
#[cfg(feature = "hash")]
pub mod package;
pub mod program;
#[cfg(feature = "signature")]
pub mod signature;
pub mod text;
#[cfg(feature = "hash")]
pub mod transaction;

/// Lowercase hexadecimal of a digest, as Fabric writes IDs.
#[cfg(feature = "hash")]
fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}
