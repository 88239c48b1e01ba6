//! Expiry of private data (`pvtstatepurgemgmt`), and a block's private data after expiry and purges
//! (`pvtdatastorage`).

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::prost::Message as _;
use fabric_protos::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet, TxPvtReadWriteSet};

use super::CollectionRules;
use super::chain::{Chain, Expiring, StoredBlock, number_key, purge_key};
use super::hash::digest;
use super::key::Key;
use super::updates::{Update, Updates};
use super::version::Version;

/// The block whose commit removes data written by block `written`; `None` if the data never
/// expires.
pub(crate) fn expires_at(written: u64, block_to_live: u64) -> Option<u64> {
    (block_to_live > 0).then(|| written.checked_add(block_to_live)?.checked_add(1)).flatten()
}

/// The expiry entries for this block's writes.
pub(crate) fn schedule(updates: &Updates, block: u64, rules: &dyn CollectionRules) -> BTreeMap<u64, Vec<Expiring>> {
    let mut schedule = BTreeMap::<u64, Vec<Expiring>>::new();
    for (namespace, changes) in &updates.namespaces {
        for (collection, hashed) in &changes.hashed {
            let rule = rules.rule(namespace, collection);
            let Some(expiry) = rule.and_then(|rule| expires_at(block, rule.block_to_live)) else { continue };
            let mut keys = private_keys(changes.private.get(collection));
            let entries = schedule.entry(expiry).or_default();
            for (key_hash, _) in hashed.iter().filter(|(_, update)| update.value.is_some()) {
                entries.push(Expiring {
                    namespace: namespace.clone(),
                    collection: collection.clone(),
                    key: keys.remove(key_hash),
                    key_hash: key_hash.clone(),
                    written: block,
                });
            }
        }
    }
    schedule
}

fn private_keys(changes: Option<&BTreeMap<Key, Update>>) -> BTreeMap<Key, Key> {
    let changes = changes.into_iter().flatten().filter(|(_, update)| update.value.is_some());
    changes.map(|(key, _)| (Key::new(&digest(key.as_bytes())), key.clone())).collect()
}

/// Adds the deletions that are due with this block. Keys written again since, or by this block, are
/// kept.
pub(crate) fn expire(chain: &Chain, block: u64, updates: &mut Updates) {
    let Some(due) = chain.expiring.get(number_key(block).as_bytes()) else { return };
    let version = Version::new(block, u64::MAX);
    for entry in due.iter() {
        let stored = chain.state.collection(&entry.namespace, &entry.collection);
        let current = |values: &super::state::Values, key: &Key| {
            values.get(key.as_bytes()).is_some_and(|value| value.version.block == entry.written)
        };
        let hash_due = stored.is_some_and(|stored| current(&stored.hashed, &entry.key_hash));
        let key_due = match &entry.key {
            Some(key) => hash_due || stored.is_some_and(|stored| current(&stored.private, key)),
            None => false,
        };
        if !hash_due && !key_due {
            continue;
        }
        let changes = updates.namespaces.entry(entry.namespace.clone()).or_default();
        if hash_due {
            let hashed = changes.hashed.entry(entry.collection.clone()).or_default();
            hashed.entry(entry.key_hash.clone()).or_insert(Update::delete(version));
        }
        if let Some(key) = entry.key.as_ref().filter(|_| key_due) {
            let private = changes.private.entry(entry.collection.clone()).or_default();
            private.entry(key.clone()).or_insert(Update::delete(version));
        }
    }
}

/// A block without expired and purged private data. Returns the same block if nothing was removed.
pub(crate) fn current(chain: &Chain, block: &Arc<StoredBlock>) -> Arc<StoredBlock> {
    let last = chain.height().saturating_sub(1);
    let expired = block.expiry.values().any(|expiry| *expiry <= last);
    if block.private.is_empty() || (!expired && chain.purges.is_empty()) {
        return Arc::clone(block);
    }
    let mut private = BTreeMap::new();
    for (number, set) in &block.private {
        let kept = keep(chain, block, Version::new(block.number(), *number), set);
        if !kept.ns_pvt_rwset.is_empty() {
            private.insert(*number, Arc::new(kept));
        }
    }
    Arc::new(StoredBlock {
        block: Arc::clone(&block.block),
        hash: block.hash,
        transactions: block.transactions.clone(),
        private,
        expiry: block.expiry.clone(),
    })
}

fn keep(chain: &Chain, block: &StoredBlock, version: Version, set: &TxPvtReadWriteSet) -> TxPvtReadWriteSet {
    let last = chain.height().saturating_sub(1);
    let mut namespaces = Vec::new();
    for namespace in &set.ns_pvt_rwset {
        let collections: Vec<_> = namespace
            .collection_pvt_rwset
            .iter()
            .filter(|collection| {
                let names = (namespace.namespace.clone(), collection.collection_name.clone());
                block.expiry.get(&names).is_none_or(|expiry| *expiry > last)
            })
            .map(|collection| without_purged(chain, version, &namespace.namespace, collection))
            .collect();
        if !collections.is_empty() {
            let namespace = namespace.namespace.clone();
            namespaces.push(NsPvtReadWriteSet { namespace, collection_pvt_rwset: collections });
        }
    }
    TxPvtReadWriteSet { data_model: set.data_model, ns_pvt_rwset: namespaces }
}

fn without_purged(
    chain: &Chain,
    version: Version,
    namespace: &str,
    collection: &CollectionPvtReadWriteSet,
) -> CollectionPvtReadWriteSet {
    let purged = |key: &str| {
        let key = purge_key(namespace, &collection.collection_name, &digest(key.as_bytes()));
        chain.purges.get(key.as_bytes()).is_some_and(|purge| version <= *purge)
    };
    match KvrwSet::decode(collection.rwset.as_slice()) {
        Ok(mut opened) if opened.writes.iter().any(|write| purged(&write.key)) => {
            opened.writes.retain(|write| !purged(&write.key));
            let collection_name = collection.collection_name.clone();
            CollectionPvtReadWriteSet { collection_name, rwset: opened.encode_to_vec() }
        }
        _ => collection.clone(),
    }
}
