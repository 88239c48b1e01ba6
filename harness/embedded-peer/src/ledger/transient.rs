//! The transient store: private data of endorsed transactions until their block is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use fabric_protos::rwset::TxPvtReadWriteSet;

/// Private read-write sets by transaction ID. A transaction may have several, from several
/// endorsers.
#[derive(Debug, Default)]
pub struct TransientStore(Mutex<Entries>);

/// A snapshot of the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    transactions: BTreeMap<String, Vec<TransientEntry>>,
    heights: BTreeMap<u64, BTreeSet<String>>,
}

/// One endorser's private data of a transaction.
#[derive(Debug, Clone)]
pub struct TransientEntry {
    /// The ledger's height at arrival.
    pub height: u64,
    /// The data.
    pub set: Arc<TxPvtReadWriteSet>,
}

impl TransientStore {
    /// Stores a transaction's private data.
    pub fn put(&self, transaction: &str, height: u64, set: impl Into<Arc<TxPvtReadWriteSet>>) {
        let mut entries = self.lock();
        let entry = TransientEntry { height, set: set.into() };
        entries.transactions.entry(transaction.to_owned()).or_default().push(entry);
        entries.heights.entry(height).or_default().insert(transaction.to_owned());
    }

    /// All private data of a transaction.
    pub fn get(&self, transaction: &str) -> Vec<TransientEntry> {
        self.lock().transactions.get(transaction).cloned().unwrap_or_default()
    }

    /// Removes the data of committed transactions.
    pub fn purge<'id>(&self, transactions: impl IntoIterator<Item = &'id str>) {
        let mut entries = self.lock();
        for transaction in transactions {
            for entry in entries.transactions.remove(transaction).unwrap_or_default() {
                entries.forget_height(entry.height, transaction);
            }
        }
    }

    /// Removes data that arrived before this height; its transactions were probably never submitted.
    pub fn purge_below(&self, height: u64) {
        let mut entries = self.lock();
        let kept = entries.heights.split_off(&height);
        let old = std::mem::replace(&mut entries.heights, kept);
        for transaction in old.into_values().flatten() {
            if let Some(sets) = entries.transactions.get_mut(&transaction) {
                sets.retain(|entry| entry.height >= height);
                if sets.is_empty() {
                    entries.transactions.remove(&transaction);
                }
            }
        }
    }

    /// The lowest height of the remaining entries.
    pub fn lowest_height(&self) -> Option<u64> {
        self.lock().heights.keys().next().copied()
    }

    pub(crate) fn entries(&self) -> Entries {
        self.lock().clone()
    }

    pub(crate) fn replace(&self, entries: Entries) {
        *self.lock() = entries;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn forget_height(&mut self, height: u64, transaction: &str) {
        if let Some(transactions) = self.heights.get_mut(&height) {
            transactions.remove(transaction);
            if transactions.is_empty() {
                self.heights.remove(&height);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_purged_by_transaction_or_height() {
        let store = TransientStore::default();
        store.put("a", 3, TxPvtReadWriteSet::default());
        store.put("a", 5, TxPvtReadWriteSet::default());
        store.put("b", 4, TxPvtReadWriteSet::default());
        assert_eq!(store.get("a").len(), 2);
        assert_eq!(store.lowest_height(), Some(3));

        store.purge_below(5);
        assert_eq!(store.get("a").iter().map(|entry| entry.height).collect::<Vec<_>>(), [5]);
        assert!(store.get("b").is_empty());

        store.purge(["a", "unknown"]);
        assert!(store.get("a").is_empty());
        assert_eq!(store.lowest_height(), None);
    }
}
