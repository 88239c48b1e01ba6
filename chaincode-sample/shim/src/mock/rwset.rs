//! The read-write set of a transaction.

use std::collections::BTreeMap;

/// A read of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The chaincode.
    pub chaincode: String,
    /// The collection; empty for the world state.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The number of the block that wrote the value, from 1; `None` if the key was missing.
    pub version: Option<u64>,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the value.
    Put(Vec<u8>),
    /// Deletes the key.
    Delete,
    /// Deletes the key and all its previous values.
    Purge,
    /// Sets the key's endorsement policy.
    Policy(Vec<u8>),
}

/// A write of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The chaincode.
    pub chaincode: String,
    /// The collection; empty for the world state.
    pub collection: String,
    /// The key.
    pub key: String,
    /// The change.
    pub change: Change,
}

/// Chaincode, collection (empty for the world state) and key.
pub(super) type Slot = (String, String, String);

pub(super) fn slot(chaincode: &str, collection: &str, key: &str) -> Slot {
    (chaincode.to_owned(), collection.to_owned(), key.to_owned())
}

/// A range that was read, with its keys and their versions.
#[derive(Debug, Clone)]
pub(super) struct RangeRead {
    pub(super) chaincode: String,
    pub(super) collection: String,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) keys: Vec<(String, u64)>,
}

/// Everything that a transaction read and wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadWriteSet {
    pub(super) reads: Vec<Read>,
    pub(super) ranges: Vec<RangeRead>,
    /// The last change of each key's value, and of its policy (`true`).
    changes: BTreeMap<(Slot, bool), Change>,
}

impl ReadWriteSet {
    pub(super) fn write(&mut self, slot: Slot, change: Change) {
        let is_policy = matches!(change, Change::Policy(_));
        self.changes.insert((slot, is_policy), change);
    }

    /// The last changes, ordered by chaincode, collection and key.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Slot, &Change)> {
        self.changes.iter().map(|((slot, _), change)| (slot, change))
    }

    pub(super) fn has_writes(&self) -> bool {
        !self.changes.is_empty()
    }
}
