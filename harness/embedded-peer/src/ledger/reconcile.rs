//! Reconciliation: private data that arrives after its block, from another peer.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::kvrwset::{KvWrite, KvrwSet};
use fabric_protos::prost::Message as _;
use fabric_protos::protos::TxValidationCode;
use fabric_protos::rwset::TxPvtReadWriteSet;

use super::chain::{Chain, Expiring, StoredBlock, purge_key};
use super::database::StateDatabase;
use super::expiry::expires_at;
use super::hash::digest;
use super::key::Key;
use super::private::{MissingPrivateData, collect};
use super::sets::deletes;
use super::updates::{Update, Updates};
use super::version::Version;
use super::{CollectionRules, history};

/// The chain with the offered data that matches the block's hashes, and the data still missing for
/// the transaction. `None` if the chain has no such valid transaction.
pub(crate) fn reconcile(
    chain: &Chain,
    version: Version,
    offered: &TxPvtReadWriteSet,
    rules: &dyn CollectionRules,
    database: StateDatabase,
) -> Option<(Chain, Vec<MissingPrivateData>)> {
    let stored = chain.block(version.block)?;
    let place = usize::try_from(version.transaction).ok()?;
    let transaction = stored.transactions.get(place).filter(|found| found.code == TxValidationCode::Valid)?;
    let envelope = stored.block.data.as_ref()?.data.get(place)?;
    let (_, sets) = history::open(envelope).ok()?;

    let nothing = Arc::default();
    let held = stored.private.get(&version.transaction).unwrap_or(&nothing);
    let mut missing = Vec::new();
    let whole = collect(&sets, &[held, offered], rules, |namespace, collection, hash| {
        missing.push(MissingPrivateData {
            transaction: version.transaction,
            id: transaction.id.clone(),
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
            hash: hash.to_vec(),
        });
    });

    let mut next = chain.clone();
    let mut updates = Updates::default();
    let mut expiry = stored.expiry.clone();
    for (namespace, collection, bytes) in added(held, &whole) {
        let block_to_live = rules.rule(namespace, collection).map_or(0, |rule| rule.block_to_live);
        if let Some(block) = expires_at(version.block, block_to_live) {
            expiry.insert((namespace.to_owned(), collection.to_owned()), block);
        }
        let Ok(opened) = KvrwSet::decode(bytes) else { continue };
        let changes = updates.namespaces.entry(namespace.to_owned()).or_default();
        let changes = changes.private.entry(collection.to_owned()).or_default();
        for write in opened.writes {
            let Some(update) = current(chain, namespace, collection, &write, version) else { continue };
            let key = Key::from(write.key.as_str());
            if let Some(block) = expires_at(update.version.block, block_to_live).filter(|_| update.value.is_some()) {
                let expiring = Expiring {
                    namespace: namespace.to_owned(),
                    collection: collection.to_owned(),
                    key_hash: Key::new(&digest(write.key.as_bytes())),
                    key: Some(key.clone()),
                    written: update.version.block,
                };
                next.expire_later(block, vec![expiring]);
            }
            changes.insert(key, update);
        }
    }
    next.state = updates.next_state(&chain.state, database);
    let mut private = stored.private.clone();
    if !whole.ns_pvt_rwset.is_empty() {
        private.insert(version.transaction, Arc::new(whole));
    }
    next.replace(Arc::new(with(&stored, private, expiry)));
    Some((next, missing))
}

fn with(
    stored: &StoredBlock,
    private: BTreeMap<u64, Arc<TxPvtReadWriteSet>>,
    expiry: BTreeMap<(String, String), u64>,
) -> StoredBlock {
    let block = Arc::clone(&stored.block);
    StoredBlock { block, hash: stored.hash, transactions: stored.transactions.clone(), private, expiry }
}

/// The collections in the complete set that this peer did not hold.
fn added<'set>(
    held: &'set TxPvtReadWriteSet,
    whole: &'set TxPvtReadWriteSet,
) -> impl Iterator<Item = (&'set str, &'set str, &'set [u8])> {
    let all = |set: &'set TxPvtReadWriteSet| {
        set.ns_pvt_rwset.iter().flat_map(|namespace| {
            let collections = namespace.collection_pvt_rwset.iter();
            collections
                .map(|found| (namespace.namespace.as_str(), found.collection_name.as_str(), found.rwset.as_slice()))
        })
    };
    all(whole).filter(move |(namespace, collection, _)| {
        !all(held).any(|(found, name, _)| (found, name) == (*namespace, *collection))
    })
}

/// The update for a late write; `None` if the key was written again, expired or was purged
/// (`txmgr.checkIfPvtWriteIsStale`).
fn current(chain: &Chain, namespace: &str, collection: &str, write: &KvWrite, version: Version) -> Option<Update> {
    let key_hash = digest(write.key.as_bytes());
    let purge = chain.purges.get(purge_key(namespace, collection, &key_hash).as_bytes());
    if purge.is_some_and(|purge| version <= *purge) {
        return None;
    }
    let put = |version| {
        if deletes(write) { Update::delete(version) } else { Update::put(write.value.clone().into(), version, None) }
    };
    match chain.state.hashed(namespace, collection, &key_hash) {
        None => deletes(write).then(|| put(version)),
        Some(hash) if hash.version == version => Some(put(version)),
        // Only the key's metadata was written since.
        Some(hash) if hash.value.as_ref() == digest(&write.value) => Some(put(hash.version)),
        Some(_) => None,
    }
}
