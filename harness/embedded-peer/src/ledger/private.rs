//! Private data at commit: takes it from the transient store if this peer's organization is a
//! member, checks it against the block's hashes, and applies its writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::kvrwset::KvrwSet;
use fabric_protos::prost::Message as _;
use fabric_protos::protos::TxValidationCode;
use fabric_protos::rwset::{CollectionPvtReadWriteSet, NsPvtReadWriteSet, TxPvtReadWriteSet};

use super::hash::digest;
use super::key::Key;
use super::sets::{ReadWriteSets, deletes};
use super::state::State;
use super::transient::TransientStore;
use super::updates::{Update, Updates};
use super::version::Version;
use super::{CheckedTransaction, CollectionRules};

/// Private data that this peer should hold but has not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPrivateData {
    /// The transaction's index in the block.
    pub transaction: u64,
    /// The transaction's identifier.
    pub id: String,
    /// The chaincode.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// The SHA-256 digest of the collection's encoded set.
    pub hash: Vec<u8>,
}

/// The private data of a block.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) sets: BTreeMap<u64, Arc<TxPvtReadWriteSet>>,
    pub(crate) missing: Vec<MissingPrivateData>,
}

impl Gathered {
    /// Finds the private sets of all transactions that wrote to this organization's collections.
    /// Those of invalid transactions are kept too, but never reported as missing.
    pub(crate) fn find(
        transactions: &[CheckedTransaction],
        codes: &[TxValidationCode],
        transient: &TransientStore,
        rules: &dyn CollectionRules,
    ) -> Self {
        let mut gathered = Self::default();
        for (number, (transaction, code)) in (0_u64..).zip(transactions.iter().zip(codes)) {
            let Some(sets) = transaction.writes.as_ref().filter(|sets| sets.writes_private_data()) else { continue };
            let offered = transient.get(&transaction.id);
            let offered: Vec<_> = offered.iter().map(|entry| entry.set.as_ref()).collect();
            let mut missing = Vec::new();
            let found = collect(sets, &offered, rules, |namespace, collection, hash| {
                missing.push(MissingPrivateData {
                    transaction: number,
                    id: transaction.id.clone(),
                    namespace: namespace.to_owned(),
                    collection: collection.to_owned(),
                    hash: hash.to_vec(),
                });
            });
            if !found.ns_pvt_rwset.is_empty() {
                gathered.sets.insert(number, Arc::new(found));
            }
            if *code == TxValidationCode::Valid {
                gathered.missing.append(&mut missing);
            }
        }
        gathered
    }
}

/// The offered sets that match the block's hashes.
pub(crate) fn collect(
    sets: &ReadWriteSets,
    offered: &[&TxPvtReadWriteSet],
    rules: &dyn CollectionRules,
    mut missing: impl FnMut(&str, &str, &[u8]),
) -> TxPvtReadWriteSet {
    let mut namespaces = Vec::new();
    for set in &sets.namespaces {
        let mut collections = Vec::new();
        for collection in set.collections.iter().filter(|collection| !collection.private_hash.is_empty()) {
            let rule = rules.rule(&set.namespace, &collection.name);
            if !rule.is_some_and(|rule| rule.member) {
                continue;
            }
            let matching = candidates(offered, &set.namespace, &collection.name)
                .find(|candidate| digest(&candidate.rwset).as_slice() == collection.private_hash.as_ref());
            match matching {
                Some(found) => collections.push(found.clone()),
                None => missing(&set.namespace, &collection.name, &collection.private_hash),
            }
        }
        if !collections.is_empty() {
            namespaces.push(NsPvtReadWriteSet { namespace: set.namespace.clone(), collection_pvt_rwset: collections });
        }
    }
    TxPvtReadWriteSet { ns_pvt_rwset: namespaces, ..TxPvtReadWriteSet::default() }
}

fn candidates<'sets>(
    offered: &'sets [&'sets TxPvtReadWriteSet],
    namespace: &'sets str,
    collection: &'sets str,
) -> impl Iterator<Item = &'sets CollectionPvtReadWriteSet> {
    offered
        .iter()
        .flat_map(|set| &set.ns_pvt_rwset)
        .filter(move |set| set.namespace == namespace)
        .flat_map(|set| &set.collection_pvt_rwset)
        .filter(move |set| set.collection_name == collection)
}

/// Adds the private writes of valid transactions.
pub(crate) fn apply(gathered: &Gathered, codes: &[TxValidationCode], block: u64, state: &State, updates: &mut Updates) {
    let mut touched = Vec::new();
    for (number, set) in &gathered.sets {
        let place = usize::try_from(*number).ok();
        if place.and_then(|place| codes.get(place)) != Some(&TxValidationCode::Valid) {
            continue;
        }
        let version = Version::new(block, *number);
        for namespace in &set.ns_pvt_rwset {
            for collection in &namespace.collection_pvt_rwset {
                // The hash in the block verifies the bytes, and the endorser could decode them.
                let Ok(opened) = KvrwSet::decode(collection.rwset.as_slice()) else { continue };
                let changes = updates.namespaces.entry(namespace.namespace.clone()).or_default();
                let changes = changes.private.entry(collection.collection_name.clone()).or_default();
                for write in opened.writes {
                    let update = if deletes(&write) {
                        Update::delete(version)
                    } else {
                        Update::put(write.value.into(), version, None)
                    };
                    changes.insert(Key::new(write.key.as_bytes()), update);
                }
                touched.extend(
                    opened
                        .metadata_writes
                        .into_iter()
                        .map(|write| (namespace.namespace.clone(), collection.collection_name.clone(), write.key)),
                );
            }
        }
    }
    for (namespace, collection, key) in touched {
        follow_hash(&namespace, &collection, &key, state, updates);
    }
}

/// A metadata write raises the version of a hash. The version of the value must follow, or reads
/// would look stale.
fn follow_hash(namespace: &str, collection: &str, key: &str, state: &State, updates: &mut Updates) {
    let Some(changes) = updates.namespaces.get_mut(namespace) else { return };
    let hashed = changes.hashed.get(collection).and_then(|hashed| hashed.get(&digest(key.as_bytes())[..]));
    let Some(hashed) = hashed.and_then(|update| update.value.clone()) else { return };
    let private = changes.private.entry(collection.to_owned()).or_default();
    let latest = match private.get(key.as_bytes()) {
        Some(update) => update.value.as_ref(),
        None => state.private(namespace, collection, key),
    };
    let Some(latest) = latest.filter(|latest| latest.version != hashed.version) else { return };
    if digest(&latest.value).as_slice() == hashed.value.as_ref() {
        let update = Update::put(latest.value.clone(), hashed.version, None);
        private.insert(Key::from(key), update);
    }
}

/// Drops the values of purged hashes, unless a later transaction of the block wrote them again.
pub(crate) fn purge(state: &State, updates: &mut Updates) {
    for (purge, version) in &updates.purges {
        let stored = state.collection(&purge.namespace, &purge.collection);
        let Some(key) = stored.and_then(|stored| stored.keys.get(purge.key_hash.as_bytes())) else { continue };
        let changes = updates.namespaces.entry(purge.namespace.clone()).or_default();
        let changes = changes.private.entry(purge.collection.clone()).or_default();
        if changes.get(key.as_bytes()).is_none_or(|update| update.version < *version) {
            changes.insert(key.clone(), Update::delete(*version));
        }
    }
}
