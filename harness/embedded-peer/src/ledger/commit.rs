//! Appends a block: final validation codes, the next state, and the block metadata that peers
//! write.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::common::{Block, BlockHeader, BlockMetadata, BlockMetadataIndex, Metadata};
use fabric_protos::prost::Message as _;
use fabric_protos::prost::encoding::encode_varint;
use fabric_protos::protos::TxValidationCode;

use super::chain::{Chain, Expiring, StoredBlock, StoredTransaction, number_key, purge_key};
use super::conflicts;
use super::error::LedgerError;
use super::expiry::{expire, expires_at, schedule};
use super::hash::{digest, header_hash};
use super::private::{Gathered, MissingPrivateData, apply, purge};
use super::sets::ReadWriteSets;
use super::transient::TransientStore;
use super::updates::Updates;
use super::version::Version;
use super::{CheckedTransaction, CollectionRules, StateDatabase};
use crate::block_store::Position;

/// The number of metadata entries of a block.
const METADATA_ENTRIES: usize = 5;

/// The result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The stored block with its codes.
    pub block: Arc<StoredBlock>,
    /// Private data of valid transactions that this peer should hold but does not.
    pub missing: Vec<MissingPrivateData>,
}

/// The chain after an appended block.
pub(crate) struct Appended {
    pub(crate) chain: Chain,
    pub(crate) committed: Committed,
}

/// Returns the chain with this block appended. `chain` is unchanged. `ordered` is the orderer's block, in the same
/// store.
pub(crate) fn append(
    chain: &Chain,
    mut block: Block,
    ordered: Option<Position>,
    transactions: Vec<CheckedTransaction>,
    transient: &TransientStore,
    rules: &dyn CollectionRules,
    database: StateDatabase,
) -> Result<Appended, LedgerError> {
    let header = fits(chain, &block, &transactions)?;
    let number = header.number;
    let hash = header_hash(&header);

    let mut updates = Updates::default();
    let codes = settle(chain, number, &transactions, database, &mut updates);
    let gathered = Gathered::find(&transactions, &codes, transient, rules);
    apply(&gathered, &codes, number, &chain.state, &mut updates);

    let mut next = chain.clone();
    write_metadata(&mut block, number, &codes, &updates, &mut next);
    let expiring = schedule(&updates, number, rules);
    let expiry = expiries(&gathered, number, rules);
    purge(&chain.state, &mut updates);
    expire(chain, number, &mut updates);
    advance(&mut next, number, &updates, expiring, database);

    let mut writes: Vec<(usize, Arc<ReadWriteSets>)> = Vec::new();
    let mut stored = Vec::with_capacity(codes.len());
    for (place, (transaction, code)) in transactions.into_iter().zip(codes).enumerate() {
        if code == TxValidationCode::Valid {
            writes.extend(transaction.writes.map(|sets| (place, sets)));
        }
        stored.push(StoredTransaction { id: transaction.id, code, kind: transaction.kind, event: transaction.event });
    }
    let block =
        Arc::new(StoredBlock { block: Arc::new(block), hash, transactions: stored, private: gathered.sets, expiry });
    next.index.add(&block, writes.iter().map(|(place, sets)| (*place, sets.as_ref())));
    next.append(Arc::clone(&block), ordered);
    Ok(Appended { chain: next, committed: Committed { block, missing: gathered.missing } })
}

/// The block's header, if the block is the next one (`blkstorage`).
fn fits(chain: &Chain, block: &Block, transactions: &[CheckedTransaction]) -> Result<BlockHeader, LedgerError> {
    let header = block.header.clone().ok_or(LedgerError::NoHeader)?;
    if header.number != chain.height() {
        return Err(LedgerError::BlockNumber { expected: chain.height(), found: header.number });
    }
    if header.previous_hash != chain.last_hash {
        let (expected, found) = (hex::encode(&chain.last_hash), hex::encode(&header.previous_hash));
        return Err(LedgerError::PreviousHash { expected, found });
    }
    let found = block.data.as_ref().map_or(0, |data| data.data.len());
    if found != transactions.len() {
        return Err(LedgerError::TransactionCount { checked: transactions.len(), found });
    }
    Ok(header)
}

/// The final code of each transaction, in order. Each one sees the changes of the valid ones before
/// it.
fn settle(
    chain: &Chain,
    block: u64,
    transactions: &[CheckedTransaction],
    database: StateDatabase,
    updates: &mut Updates,
) -> Vec<TxValidationCode> {
    let mut codes = Vec::with_capacity(transactions.len());
    for (number, transaction) in (0..).zip(transactions) {
        let mut code = transaction.code;
        if let Some(sets) = transaction.writes.as_ref().filter(|_| code == TxValidationCode::Valid) {
            code = if database.takes_all(sets) {
                conflicts::check(sets, &chain.state, updates)
            } else {
                TxValidationCode::InvalidWriteset
            };
            if code == TxValidationCode::Valid {
                updates.apply(sets, Version::new(block, number), &chain.state);
            }
        }
        codes.push(code);
    }
    codes
}

/// Writes the codes and the commit hash. In Fabric the chain of commit hashes starts at block 1.
fn write_metadata(block: &mut Block, number: u64, codes: &[TxValidationCode], updates: &Updates, next: &mut Chain) {
    let metadata = &mut block.metadata.get_or_insert_with(BlockMetadata::default).metadata;
    if metadata.len() < METADATA_ENTRIES {
        metadata.resize(METADATA_ENTRIES, Vec::new());
    }
    let filter: Vec<u8> = codes.iter().map(|code| u8::try_from(*code as i32).unwrap_or(u8::MAX)).collect();
    if number == 1 || !next.commit_hash.is_empty() {
        let mut bytes = Vec::new();
        encode_varint(filter.len() as u64, &mut bytes);
        bytes.extend_from_slice(&filter);
        bytes.extend_from_slice(&updates.deterministic_bytes());
        bytes.extend_from_slice(&next.commit_hash);
        next.commit_hash = digest(&bytes).to_vec();
        let value = Metadata { value: next.commit_hash.clone(), signatures: Vec::new() };
        metadata[BlockMetadataIndex::CommitHash as usize] = value.encode_to_vec();
    }
    metadata[BlockMetadataIndex::TransactionsFilter as usize] = filter;
}

fn advance(
    next: &mut Chain,
    number: u64,
    updates: &Updates,
    expiring: BTreeMap<u64, Vec<Expiring>>,
    database: StateDatabase,
) {
    next.state = updates.next_state(&next.state, database);
    next.expiring.remove(number_key(number).as_bytes());
    for (expiry, entries) in expiring {
        next.expire_later(expiry, entries);
    }
    for (purge, version) in &updates.purges {
        next.purges.insert(purge_key(&purge.namespace, &purge.collection, purge.key_hash.as_bytes()), *version);
    }
}

/// The expiry of this block's private data by collection.
fn expiries(gathered: &Gathered, block: u64, rules: &dyn CollectionRules) -> BTreeMap<(String, String), u64> {
    let mut expiries = BTreeMap::new();
    for namespace in gathered.sets.values().flat_map(|set| &set.ns_pvt_rwset) {
        for collection in &namespace.collection_pvt_rwset {
            let rule = rules.rule(&namespace.namespace, &collection.collection_name);
            if let Some(expiry) = rule.and_then(|rule| expires_at(block, rule.block_to_live)) {
                expiries.insert((namespace.namespace.clone(), collection.collection_name.clone()), expiry);
            }
        }
    }
    expiries
}
