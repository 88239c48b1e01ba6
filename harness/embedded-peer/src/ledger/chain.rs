//! The complete, immutable content of a ledger after a block. The next block creates a new one that
//! shares the unchanged parts. A snapshot is a kept copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::common::{Block, BlockchainInfo};
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use fabric_protos::rwset::TxPvtReadWriteSet;

use super::index::Index;
use super::key::Key;
use super::map::Map;
use super::state::State;
use super::version::Version;
use crate::block_store::{BlockStore, Position};

/// A committed block with its local data.
#[derive(Debug, PartialEq)]
pub struct StoredBlock {
    /// The block, with its metadata as committed.
    pub block: Arc<Block>,
    /// The block's hash.
    pub hash: [u8; 32],
    /// Its transactions, in order.
    pub transactions: Vec<StoredTransaction>,
    /// The private data that this peer holds, by transaction index. Reading a block removes purged
    /// and expired data.
    pub private: BTreeMap<u64, Arc<TxPvtReadWriteSet>>,
    /// The block at which a collection's data expires.
    pub(crate) expiry: BTreeMap<(String, String), u64>,
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTransaction {
    /// Its identifier; empty when the envelope has none.
    pub id: String,
    /// The validation code.
    pub code: TxValidationCode,
    /// The kind of the transaction.
    pub kind: TransactionKind,
    /// The chaincode's event.
    pub event: Option<ChaincodeEvent>,
}

/// The kind of an envelope's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionKind {
    /// An endorsed transaction.
    #[default]
    Endorser,
    /// A channel configuration update.
    Config,
    /// Anything else.
    Other,
}

/// An expiring private key or key hash.
#[derive(Debug, Clone)]
pub(crate) struct Expiring {
    pub(crate) namespace: String,
    pub(crate) collection: String,
    pub(crate) key_hash: Key,
    /// The key, if this peer holds the value.
    pub(crate) key: Option<Key>,
    /// The block that wrote it.
    pub(crate) written: u64,
}

/// A transaction's location and validation code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The block's number.
    pub block: u64,
    /// The transaction's index in the block, from 0.
    pub index: usize,
    /// Its validation code.
    pub code: TxValidationCode,
}

/// The complete ledger after a block.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    pub(crate) state: State,
    pub(crate) index: Index,
    store: BlockStore,
    blocks: imbl::Vector<Position>,
    pub(crate) last_hash: Vec<u8>,
    pub(crate) previous_hash: Vec<u8>,
    pub(crate) commit_hash: Vec<u8>,
    /// The entries that expire with the commit of a block, by block number.
    pub(crate) expiring: Map<Arc<Vec<Expiring>>>,
    /// The last purge of each private key, by [`purge_key`].
    pub(crate) purges: Map<Version>,
}

impl StoredBlock {
    /// The block's number.
    pub fn number(&self) -> u64 {
        self.block.header.as_ref().map_or(0, |header| header.number)
    }
}

impl Chain {
    /// A chain without blocks, which will be in this store.
    pub(crate) fn new(store: BlockStore) -> Self {
        Self { store, ..Self::default() }
    }

    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(crate) fn block(&self, number: u64) -> Option<Arc<StoredBlock>> {
        self.store.get(self.position(number)?)
    }

    /// An envelope of a block.
    pub(crate) fn envelope(&self, number: u64, index: usize) -> Option<Vec<u8>> {
        self.store.envelope(self.position(number)?, index)
    }

    /// The location of the first transaction with this ID: later ones are duplicates.
    pub(crate) fn transaction(&self, id: &str) -> Option<Location> {
        self.index.transactions(id).find_map(|(number, index)| {
            let block = self.block(number)?;
            let found = block.transactions.get(index).filter(|found| found.id == id)?;
            Some(Location { block: number, index, code: found.code })
        })
    }

    pub(crate) fn block_by_hash(&self, hash: &[u8]) -> Option<Arc<StoredBlock>> {
        self.index.blocks(hash).filter_map(|number| self.block(number)).find(|block| block.hash == hash)
    }

    /// Appends a block. `ordered` is the orderer's, in the same store.
    pub(crate) fn append(&mut self, block: Arc<StoredBlock>, ordered: Option<Position>) {
        self.previous_hash = std::mem::replace(&mut self.last_hash, block.hash.to_vec());
        self.blocks.push_back(self.store.append(block, ordered));
    }

    /// Replaces a block after reconciliation.
    pub(crate) fn replace(&mut self, block: Arc<StoredBlock>) {
        let Ok(number) = usize::try_from(block.number()) else { return };
        if let Some(position) = self.blocks.get_mut(number) {
            *position = self.store.append(block, Some(*position));
        }
    }

    fn position(&self, number: u64) -> Option<Position> {
        self.blocks.get(usize::try_from(number).ok()?).copied()
    }

    /// Adds entries that expire with the commit of a block.
    pub(crate) fn expire_later(&mut self, block: u64, entries: Vec<Expiring>) {
        let key = number_key(block);
        let mut all = self.expiring.get(key.as_bytes()).map(|present| present.to_vec()).unwrap_or_default();
        all.extend(entries);
        self.expiring.insert(key, Arc::new(all));
    }

    pub(crate) fn info(&self) -> BlockchainInfo {
        BlockchainInfo {
            height: self.height(),
            current_block_hash: self.last_hash.clone(),
            previous_block_hash: self.previous_hash.clone(),
            bootstrapping_snapshot_info: None,
        }
    }
}

/// A block number as a key.
pub(crate) fn number_key(number: u64) -> Key {
    Key::new(&number.to_be_bytes())
}

/// A key for a private key hash in a collection. Names contain no zero byte.
pub(crate) fn purge_key(namespace: &str, collection: &str, key_hash: &[u8]) -> Key {
    let mut key = Vec::with_capacity(namespace.len() + collection.len() + key_hash.len() + 2);
    for part in [namespace.as_bytes(), collection.as_bytes()] {
        key.extend_from_slice(part);
        key.push(0);
    }
    key.extend_from_slice(key_hash);
    Key::new(&key)
}
