//! The ledger of a channel on a peer: state, history, private data, blocks. Its only I/O is that of the
//! `BlockStore`.
//!
//! A [`Ledger`] is a chain of immutable states. A [`Simulation`] works on the newest state at its
//! start and is isolated from commits. A commit checks what simulations read, creates the next
//! state and replaces the current one. A snapshot is a kept state. Rules, encodings and error texts
//! are those of Fabric's `core/ledger`.
//!
//! The ledger does not check envelopes or signatures: validation passes its results as
//! [`CheckedTransaction`]s.

mod builder;
mod chain;
mod commit;
mod conflicts;
mod database;
mod error;
mod expiry;
mod hash;
mod history;
mod index;
mod key;
mod mango;
mod map;
mod private;
mod range_reads;
mod reconcile;
mod rows;
mod sets;
mod simulation;
mod state;
mod stored;
mod transient;
mod updates;
mod version;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fabric_protos::common::{Block, BlockchainInfo};
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use fabric_protos::rwset::TxPvtReadWriteSet;
use tokio::sync::watch;

use self::chain::Chain;
use crate::block_store::{BlockStore, Position};

pub use self::chain::{Location, StoredBlock, StoredTransaction, TransactionKind};
pub use self::commit::Committed;
pub use self::database::StateDatabase;
pub use self::error::LedgerError;
pub use self::hash::{header_der, header_hash};
pub use self::private::MissingPrivateData;
pub use self::rows::{BATCH_SIZE, Batch, Page, Rows, TOTAL_QUERY_LIMIT};
pub use self::sets::{CollectionSet, NamespaceSet, ReadWriteSets};
pub(crate) use self::simulation::lock;
pub use self::simulation::{SharedSimulation, Simulated, Simulation, WriteMetadata};
pub use self::state::VersionedValue;
pub use self::transient::{TransientEntry, TransientStore};
pub use self::version::Version;
pub use self::view::StateView;

/// The number of blocks after which a peer drops unsubmitted private data
/// (`peer.gossip.pvtData.transientstoreMaxBlockRetention`).
const TRANSIENT_RETENTION: u64 = 1000;

/// A validated envelope of a block.
#[derive(Debug, Clone, Default)]
pub struct CheckedTransaction {
    /// The transaction's identifier; empty when the envelope has none.
    pub id: String,
    /// The result of validation. The commit checks VALID ones for conflicts.
    pub code: TxValidationCode,
    /// The read-write sets of an endorsed transaction.
    pub writes: Option<Arc<ReadWriteSets>>,
    /// The kind of the envelope's content.
    pub kind: TransactionKind,
    /// The chaincode's event.
    pub event: Option<ChaincodeEvent>,
}

/// The collection rules that a commit needs.
pub trait CollectionRules {
    /// The rule of a collection; `None` if it is not defined.
    fn rule(&self, namespace: &str, collection: &str) -> Option<CollectionRule>;
}

/// The properties of a collection that matter to a commit on this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectionRule {
    /// The number of blocks after which the data expires; 0 means never.
    pub block_to_live: u64,
    /// Whether this peer's organization holds the data.
    pub member: bool,
}

/// No collections.
impl CollectionRules for () {
    fn rule(&self, _: &str, _: &str) -> Option<CollectionRule> {
        None
    }
}

/// The collections that a simulation needs to know.
pub trait Collections: Send + Sync {
    /// The names of a chaincode's collections, including implicit ones; `None` if it has no
    /// definition with collections.
    ///
    /// # Errors
    ///
    /// A text for the chaincode.
    fn collections(&self, state: &StateView, namespace: &str) -> Result<Option<BTreeSet<String>>, String>;
}

/// A channel's ledger on a peer. Clones share it.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

pub(crate) struct Shared {
    channel: String,
    database: StateDatabase,
    chain: RwLock<Arc<Chain>>,
    /// Serializes commits and restores.
    writing: Mutex<()>,
    heights: watch::Sender<u64>,
    transient: TransientStore,
    collections: RwLock<Option<Arc<dyn Collections>>>,
}

/// A snapshot of a ledger. Its only cost is the memory of later changes.
#[derive(Clone)]
pub struct LedgerSnapshot {
    chain: Arc<Chain>,
    transient: transient::Entries,
}

impl Ledger {
    /// An empty ledger with the default state database.
    pub fn new(channel: impl Into<String>) -> Self {
        Self::with_database(channel, StateDatabase::default())
    }

    /// An empty ledger.
    pub fn with_database(channel: impl Into<String>, database: StateDatabase) -> Self {
        Self::with_store(channel, database, BlockStore::default())
    }

    /// An empty ledger with its blocks in this store.
    pub(crate) fn with_store(channel: impl Into<String>, database: StateDatabase, store: BlockStore) -> Self {
        Self(Arc::new(Shared {
            channel: channel.into(),
            database,
            chain: RwLock::new(Arc::new(Chain::new(store))),
            writing: Mutex::default(),
            heights: watch::Sender::new(0),
            transient: TransientStore::default(),
            collections: RwLock::default(),
        }))
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// The number of blocks.
    pub fn height(&self) -> u64 {
        self.0.chain().height()
    }

    /// Notifies of every new height, or of the lower one after a restore.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.0.heights.subscribe()
    }

    /// The height and the newest hashes.
    pub fn info(&self) -> BlockchainInfo {
        self.0.chain().info()
    }

    /// A block by its number.
    pub fn block(&self, number: u64) -> Option<Arc<StoredBlock>> {
        let chain = self.0.chain();
        chain.block(number).map(|block| expiry::current(&chain, &block))
    }

    /// A block by the hash of its header.
    pub fn block_by_hash(&self, hash: &[u8]) -> Option<Arc<StoredBlock>> {
        let chain = self.0.chain();
        chain.block_by_hash(hash).map(|block| expiry::current(&chain, &block))
    }

    /// The location of a transaction. Of several with one ID it is the first; the others are
    /// duplicates.
    pub fn transaction(&self, id: &str) -> Option<Location> {
        self.0.chain().transaction(id)
    }

    /// The current state.
    pub fn state(&self) -> StateView {
        StateView(self.0.chain())
    }

    /// Starts a simulation on the current state.
    pub fn simulate(&self, transaction_id: &str) -> Simulation {
        Simulation::new(Arc::clone(&self.0), transaction_id)
    }

    /// The private data of endorsed transactions that are not committed yet. A commit removes the
    /// data of its transactions.
    pub fn transient(&self) -> &TransientStore {
        &self.0.transient
    }

    /// Restricts later simulations to these collections. Without this call every name is accepted.
    pub fn set_collections(&self, collections: Arc<dyn Collections>) {
        *self.0.collections.write().unwrap_or_else(PoisonError::into_inner) = Some(collections);
    }

    /// Appends a block. `transactions[i]` is envelope i. VALID transactions with outdated reads
    /// become `MVCC_READ_CONFLICT` or `PHANTOM_READ_CONFLICT`; the writes of the others make the
    /// next state. The block's metadata gets `TRANSACTIONS_FILTER` and `COMMIT_HASH`.
    ///
    /// # Errors
    ///
    /// The block is not the next one of this chain. The ledger is unchanged then.
    pub fn commit(
        &self,
        block: Block,
        transactions: Vec<CheckedTransaction>,
        rules: &dyn CollectionRules,
    ) -> Result<Committed, LedgerError> {
        self.commit_ordered(block, None, transactions, rules, &|_| ())
    }

    /// [`Self::commit`] of a block whose transactions the orderer has stored, in the same store. Calls `announce`
    /// before the block becomes visible.
    pub(crate) fn commit_ordered(
        &self,
        block: Block,
        ordered: Option<Position>,
        transactions: Vec<CheckedTransaction>,
        rules: &dyn CollectionRules,
        announce: &dyn Fn(&Committed),
    ) -> Result<Committed, LedgerError> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &self.0;
        let chain = shared.chain();
        let number = chain.height();
        let appended = commit::append(&chain, block, ordered, transactions, &shared.transient, rules, shared.database)?;
        let committed = appended.committed;
        announce(&committed);
        shared.replace(appended.chain);
        shared.transient.purge(committed.block.transactions.iter().map(|transaction| transaction.id.as_str()));
        if number > TRANSIENT_RETENTION && number.is_multiple_of(TRANSIENT_RETENTION) {
            shared.transient.purge_below(number - TRANSIENT_RETENTION);
        }
        Ok(committed)
    }

    /// Adds private data of a committed transaction from another peer. Only data that matches the
    /// block's hashes is stored, and only current values reach the state. Returns what is still
    /// missing for the transaction.
    pub fn reconcile(
        &self,
        block: u64,
        transaction: u64,
        set: &TxPvtReadWriteSet,
        rules: &dyn CollectionRules,
    ) -> Vec<MissingPrivateData> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Version::new(block, transaction);
        match reconcile::reconcile(&self.0.chain(), version, set, rules, self.0.database) {
            Some((next, missing)) => {
                self.0.replace(next);
                missing
            }
            None => Vec::new(),
        }
    }

    /// A snapshot of the current ledger for a later restore.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        LedgerSnapshot { chain: self.0.chain(), transient: self.0.transient.entries() }
    }

    /// Restores a snapshot, which must be of this ledger.
    pub fn restore(&self, snapshot: &LedgerSnapshot) {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.transient.replace(snapshot.transient.clone());
        self.0.replace(Chain::clone(&snapshot.chain));
    }
}

impl Shared {
    fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.chain.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn collections(&self) -> Option<Arc<dyn Collections>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, chain: Chain) {
        let height = chain.height();
        let old = std::mem::replace(&mut *self.chain.write().unwrap_or_else(PoisonError::into_inner), Arc::new(chain));
        self.heights.send_replace(height);
        // Dropping the old state takes a while; the lock is released first.
        drop(old);
    }
}
