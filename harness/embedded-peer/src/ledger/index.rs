//! Indexes of a chain: transactions by ID, blocks by hash, writes by key.
//!
//! An entry is a fingerprint of what is searched for, and a place in the chain. Whoever searches compares the block
//! there, because fingerprints may collide. Indexes are persistent like the state: a snapshot copies nothing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use imbl::OrdSet;

use super::chain::StoredBlock;
use super::sets::ReadWriteSets;

/// A fingerprint, and the numbers of the block and the transaction.
type Entry = (u64, u32, u32);

/// The indexes of a chain.
#[derive(Clone, Default)]
pub(crate) struct Index {
    transactions: OrdSet<Entry>,
    hashes: OrdSet<Entry>,
    writes: OrdSet<Entry>,
}

impl Index {
    /// Adds a block; `writes` are the writes of its valid endorser transactions.
    pub(crate) fn add<'set>(
        &mut self,
        block: &StoredBlock,
        writes: impl IntoIterator<Item = (usize, &'set ReadWriteSets)>,
    ) {
        // A process holds fewer blocks and transactions than this.
        let number = u32::try_from(block.number()).unwrap_or(u32::MAX);
        let place = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        self.hashes.insert((fingerprint(&[&block.hash[..]]), number, 0));
        for (index, transaction) in block.transactions.iter().enumerate() {
            if !transaction.id.is_empty() {
                self.transactions.insert((fingerprint(&[transaction.id.as_bytes()]), number, place(index)));
            }
        }
        for (index, sets) in writes {
            for set in &sets.namespaces {
                for write in &set.set.writes {
                    self.writes.insert((of_write(&set.namespace, &write.key), number, place(index)));
                }
            }
        }
    }

    /// The places of transactions that may have this ID, oldest first.
    pub(crate) fn transactions(&self, id: &str) -> impl Iterator<Item = (u64, usize)> {
        places(&self.transactions, fingerprint(&[id.as_bytes()]))
    }

    /// The numbers of blocks that may have this hash.
    pub(crate) fn blocks(&self, hash: &[u8]) -> impl Iterator<Item = u64> {
        places(&self.hashes, fingerprint(&[hash])).map(|(block, _)| block)
    }

    /// The places of transactions that may have written this public key, newest first.
    pub(crate) fn writes(&self, namespace: &str, key: &str) -> impl Iterator<Item = (u64, usize)> {
        places(&self.writes, of_write(namespace, key)).rev()
    }
}

fn places(entries: &OrdSet<Entry>, fingerprint: u64) -> impl DoubleEndedIterator<Item = (u64, usize)> {
    let all = (fingerprint, 0, 0)..=(fingerprint, u32::MAX, u32::MAX);
    entries.range(all).map(|(_, block, transaction)| (u64::from(*block), *transaction as usize))
}

/// The fingerprint of a written key.
pub(crate) fn of_write(namespace: &str, key: &str) -> u64 {
    fingerprint(&[namespace.as_bytes(), key.as_bytes()])
}

fn fingerprint(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}
