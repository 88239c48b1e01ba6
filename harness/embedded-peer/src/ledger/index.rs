//! Indexes of a ledger: transactions by ID, blocks by hash, writes by key.
//!
//! All states of a ledger, including snapshots, share one index. An entry refers to a block by
//! identity and is valid for chains that contain this block. So snapshots copy nothing and restores
//! undo nothing. Entries of blocks that no chain contains are swept periodically.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use fabric_protos::common::Block;
use fabric_protos::protos::TxValidationCode;

use super::chain::{Chain, Location, StoredBlock};
use super::key::Key;
use super::sets::ReadWriteSets;

/// A transaction of a block that may have been dropped.
#[derive(Debug, Clone)]
struct Place {
    block: Weak<Block>,
    transaction: u32,
}

/// Usually there is one location.
#[derive(Debug)]
enum Places {
    One(Place),
    Many(Vec<Place>),
}

/// The index of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Index {
    transactions: HashMap<Box<str>, Places>,
    hashes: HashMap<[u8; 32], Places>,
    writes: HashMap<String, HashMap<Key, Places>>,
    /// The number of blocks dropped by restores since the last sweep.
    dropped: u64,
}

impl Index {
    /// Adds a block; `writes` are the writes of its valid endorser transactions.
    pub(crate) fn add<'set>(
        &mut self,
        block: &Arc<StoredBlock>,
        writes: impl IntoIterator<Item = (usize, &'set ReadWriteSets)>,
    ) {
        let place = |transaction: usize| Place {
            block: Arc::downgrade(&block.block),
            transaction: u32::try_from(transaction).unwrap_or(u32::MAX),
        };
        push(&mut self.hashes, block.hash, place(0));
        for (number, transaction) in block.transactions.iter().enumerate() {
            if !transaction.id.is_empty() {
                push(&mut self.transactions, transaction.id.as_str().into(), place(number));
            }
        }
        for (number, sets) in writes {
            for set in sets.namespaces.iter().filter(|set| !set.set.writes.is_empty()) {
                let keys = self.writes.entry(set.namespace.clone()).or_default();
                for write in &set.set.writes {
                    push(keys, Key::from(write.key.as_str()), place(number));
                }
            }
        }
    }

    /// The first transaction of the chain with this ID: later ones are duplicates.
    pub(crate) fn transaction(&self, chain: &Chain, id: &str) -> Option<Location> {
        self.transactions.get(id)?.iter().find_map(|place| {
            let (block, index) = place.in_chain(chain)?;
            let code = block.transactions.get(index).map_or(TxValidationCode::NotValidated, |found| found.code);
            Some(Location { block: block.number(), index, code })
        })
    }

    pub(crate) fn block(&self, chain: &Chain, hash: &[u8]) -> Option<Arc<StoredBlock>> {
        let hash: &[u8; 32] = hash.try_into().ok()?;
        self.hashes.get(hash)?.iter().find_map(|place| place.in_chain(chain)).map(|(block, _)| block)
    }

    /// The transactions of the chain that wrote a public key, newest first.
    pub(crate) fn writes(&self, chain: &Chain, namespace: &str, key: &str) -> Vec<(Arc<StoredBlock>, usize)> {
        let places = self.writes.get(namespace).and_then(|keys| keys.get(key.as_bytes()));
        let places = places.into_iter().flat_map(|places| places.iter().rev());
        places.filter_map(|place| place.in_chain(chain)).collect()
    }

    /// Counts the blocks dropped by a restore, and sweeps if there are many.
    pub(crate) fn dropped(&mut self, blocks: u64) {
        self.dropped += blocks;
        if self.dropped > 64 && self.dropped > self.hashes.len() as u64 / 2 {
            self.dropped = 0;
            self.transactions.retain(|_, places| places.keep_alive());
            self.hashes.retain(|_, places| places.keep_alive());
            self.writes.retain(|_, keys| {
                keys.retain(|_, places| places.keep_alive());
                !keys.is_empty()
            });
        }
    }
}

impl Place {
    fn in_chain(&self, chain: &Chain) -> Option<(Arc<StoredBlock>, usize)> {
        let block = self.block.upgrade()?;
        let held = chain.block(block.header.as_ref()?.number)?;
        Arc::ptr_eq(&held.block, &block).then(|| (Arc::clone(held), self.transaction as usize))
    }
}

impl Places {
    fn iter(&self) -> std::slice::Iter<'_, Place> {
        match self {
            Self::One(place) => std::slice::from_ref(place).iter(),
            Self::Many(places) => places.iter(),
        }
    }

    fn push(&mut self, place: Place) {
        match self {
            Self::One(first) => *self = Self::Many(vec![first.clone(), place]),
            Self::Many(places) => places.push(place),
        }
    }

    fn keep_alive(&mut self) -> bool {
        if let Self::Many(places) = self {
            places.retain(|place| place.block.strong_count() > 0);
        }
        self.iter().any(|place| place.block.strong_count() > 0)
    }
}

fn push<K: std::hash::Hash + Eq>(places: &mut HashMap<K, Places>, key: K, place: Place) {
    match places.entry(key) {
        std::collections::hash_map::Entry::Occupied(mut entry) => entry.get_mut().push(place),
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(Places::One(place));
        }
    }
}
