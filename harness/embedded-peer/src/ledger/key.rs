//! Keys of the state: strings, or SHA-256 digests for hashes. Short keys are stored inline, so that
//! a search in a map touches no other memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The maximum length of an inline key.
const INLINE: usize = 38;

/// Bytes in Go's string order: byte by byte.
#[derive(Clone)]
pub(crate) struct Key(Bytes);

#[derive(Clone)]
enum Bytes {
    Inline { length: u8, bytes: [u8; INLINE] },
    Shared(Arc<[u8]>),
}

impl Key {
    pub(crate) fn new(key: &[u8]) -> Self {
        let Ok(length) = u8::try_from(key.len()) else {
            return Self(Bytes::Shared(key.into()));
        };
        let mut bytes = [0; INLINE];
        let Some(place) = bytes.get_mut(..key.len()) else {
            return Self(Bytes::Shared(key.into()));
        };
        place.copy_from_slice(key);
        Self(Bytes::Inline { length, bytes })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Shared(bytes) => bytes,
        }
    }

    /// The text of a string key; empty for a digest.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self::new(key.as_bytes())
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

// Hashes like a slice, so that lookups by slice work.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_bytes() {
        let mut keys: Vec<Key> =
            ["b", "", "a", &"a".repeat(38), &"a".repeat(39), &"a".repeat(300), "\u{10ffff}", "\u{0}x"]
                .into_iter()
                .map(Key::from)
                .collect();
        keys.sort();
        let lengths: Vec<usize> = keys.iter().map(|key| key.as_str().len()).collect();
        assert_eq!(lengths, [0, 2, 1, 38, 39, 300, 1, 4]);
    }
}
