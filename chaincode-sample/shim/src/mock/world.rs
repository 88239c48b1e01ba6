//! The committed state: values, policies, versions and history.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use fabric_protos::queryresult::KeyModification;

use super::rwset::{Change, RangeRead, ReadWriteSet, Slot, slot};

/// Why a transaction cannot be committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The transaction failed, so that no peer would endorse it.
    #[error("cannot commit a failed transaction: {0}")]
    Failed(String),
    /// A key was written after the transaction read it.
    #[error("MVCC_READ_CONFLICT: the key {0:?} was written after the transaction read it")]
    ReadConflict(String),
    /// A range has changed after the transaction read it.
    #[error("PHANTOM_READ_CONFLICT: the range from {start:?} to {end:?} has changed since the transaction read it")]
    PhantomRead {
        /// The start of the range.
        start: String,
        /// The end of the range.
        end: String,
    },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: Vec<u8>,
    pub(super) policy: Option<Vec<u8>>,
    pub(super) version: u64,
}

#[derive(Debug, Default)]
pub(super) struct World {
    entries: BTreeMap<Slot, Entry>,
    /// By chaincode and key, the latest change last.
    history: BTreeMap<(String, String), Vec<KeyModification>>,
    height: u64,
}

impl World {
    pub(super) fn entry(&self, slot: &Slot) -> Option<&Entry> {
        self.entries.get(slot)
    }

    pub(super) fn value(&self, chaincode: &str, collection: &str, key: &str) -> Option<&[u8]> {
        self.entry(&slot(chaincode, collection, key)).map(|entry| entry.value.as_slice())
    }

    pub(super) fn policy(&self, chaincode: &str, collection: &str, key: &str) -> Option<&[u8]> {
        self.entry(&slot(chaincode, collection, key)).and_then(|entry| entry.policy.as_deref())
    }

    pub(super) fn values(&self, chaincode: &str, collection: &str) -> impl Iterator<Item = (&str, &[u8])> {
        self.range(chaincode, collection, "", "").map(|(key, entry)| (key, entry.value.as_slice()))
    }

    /// The keys from `start` up to, but excluding, `end` (empty: no upper bound), in order.
    pub(super) fn range<'a>(
        &'a self,
        chaincode: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Box<dyn Iterator<Item = (&'a str, &'a Entry)> + 'a> {
        let first = slot(chaincode, collection, start);
        let namespace = (first.0.clone(), first.1.clone());
        let last = match end {
            "" => Bound::Unbounded,
            end if end < start => return Box::new(std::iter::empty()),
            end => Bound::Excluded(slot(chaincode, collection, end)),
        };
        let found = self.entries.range((Bound::Included(first), last));
        let found = found.take_while(move |(slot, _)| (&slot.0, &slot.1) == (&namespace.0, &namespace.1));
        Box::new(found.map(|(slot, entry)| (slot.2.as_str(), entry)))
    }

    /// The changes of a key, the latest first.
    pub(super) fn history(&self, chaincode: &str, key: &str) -> Vec<KeyModification> {
        let changes = self.history.get(&(chaincode.to_owned(), key.to_owned()));
        changes.into_iter().flatten().rev().cloned().collect()
    }

    pub(super) fn put(&mut self, chaincode: &str, collection: &str, key: &str, value: Vec<u8>, time: SystemTime) {
        self.height += 1;
        self.apply(&slot(chaincode, collection, key), &Change::Put(value), "", time);
    }

    pub(super) fn commit(&mut self, tx_id: &str, time: SystemTime, rwset: &ReadWriteSet) -> Result<(), CommitError> {
        for read in &rwset.reads {
            let found = self.entry(&slot(&read.chaincode, &read.collection, &read.key));
            if found.map(|entry| entry.version) != read.version {
                return Err(CommitError::ReadConflict(read.key.clone()));
            }
        }
        for range in &rwset.ranges {
            let RangeRead { chaincode, collection, start, end, keys } = range;
            let now = self.range(chaincode, collection, start, end).map(|(key, entry)| (key, entry.version));
            if !now.eq(keys.iter().map(|(key, version)| (key.as_str(), *version))) {
                return Err(CommitError::PhantomRead { start: start.clone(), end: end.clone() });
            }
        }
        self.height += 1;
        for (slot, change) in rwset.changes() {
            self.apply(slot, change, tx_id, time);
        }
        Ok(())
    }

    fn apply(&mut self, slot: &Slot, change: &Change, tx_id: &str, time: SystemTime) {
        let version = self.height;
        let value = match change {
            Change::Put(value) => {
                let policy = self.entries.remove(slot).and_then(|entry| entry.policy);
                self.entries.insert(slot.clone(), Entry { value: value.clone(), policy, version });
                Some(value)
            }
            Change::Delete | Change::Purge => {
                self.entries.remove(slot);
                None
            }
            Change::Policy(policy) => {
                // As in Fabric, a missing key has no policy.
                if let Some(entry) = self.entries.get_mut(slot) {
                    entry.policy = (!policy.is_empty()).then(|| policy.clone());
                    entry.version = version;
                }
                return;
            }
        };
        let (chaincode, collection, key) = slot;
        if collection.is_empty() {
            let change = KeyModification {
                tx_id: tx_id.to_owned(),
                value: value.cloned().unwrap_or_default().into(),
                timestamp: Some(time.into()),
                is_delete: value.is_none(),
            };
            self.history.entry((chaincode.clone(), key.clone())).or_default().push(change);
        }
    }
}
