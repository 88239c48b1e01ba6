//! One channel's ledger on one peer: state, history, private data, blocks. No sockets, no clock.
//!
//! A [`Ledger`] is a chain of immutable states. A [`Simulation`] works on the one that was newest when it began and
//! never meets a commit; a commit checks what simulations read, makes the next state beside the old one, and swaps
//! them. A snapshot is a state that is kept. Rules, encodings and error texts are those of Fabric's `core/ledger`.
//!
//! It does not look into envelopes or at signatures: validation has done so and says what it found by
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
use self::index::Index;

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

/// For as many blocks a peer keeps private data that nobody submits (`peer.gossip.pvtData.transientstoreMaxBlockRetention`).
const TRANSIENT_RETENTION: u64 = 1000;

/// An envelope of a block as validation left it.
#[derive(Debug, Clone, Default)]
pub struct CheckedTransaction {
    /// The transaction's identifier; empty when the envelope has none.
    pub id: String,
    /// What validation found. The commit checks VALID ones for conflicts.
    pub code: TxValidationCode,
    /// What an endorsed transaction read and writes.
    pub writes: Option<Arc<ReadWriteSets>>,
    /// What the envelope holds.
    pub kind: TransactionKind,
    /// The event that its chaincode set.
    pub event: Option<ChaincodeEvent>,
}

/// What a commit has to know about collections.
pub trait CollectionRules {
    /// The rule of a collection, or none when it is not defined.
    fn rule(&self, namespace: &str, collection: &str) -> Option<CollectionRule>;
}

/// A collection, as far as it concerns a commit on this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectionRule {
    /// After as many blocks more the data is removed; 0 is never.
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

/// What a simulation has to know about collections.
pub trait Collections: Send + Sync {
    /// The names of a chaincode's collections, implicit ones too, or none when it has no definition with collections.
    ///
    /// # Errors
    ///
    /// A text for the chaincode.
    fn collections(&self, state: &StateView, namespace: &str) -> Result<Option<BTreeSet<String>>, String>;
}

/// One channel on one peer. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

pub(crate) struct Shared {
    channel: String,
    database: StateDatabase,
    chain: RwLock<Arc<Chain>>,
    index: RwLock<Index>,
    /// One commit or restore at a time.
    writing: Mutex<()>,
    heights: watch::Sender<u64>,
    transient: TransientStore,
    collections: RwLock<Option<Arc<dyn Collections>>>,
}

/// A ledger at one moment. Costs nothing but the memory of what changes later.
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
        Self(Arc::new(Shared {
            channel: channel.into(),
            database,
            chain: RwLock::default(),
            index: RwLock::default(),
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

    /// Tells of every new height; of a lower one after a restore.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.0.heights.subscribe()
    }

    /// Height and newest hashes.
    pub fn info(&self) -> BlockchainInfo {
        self.0.chain().info()
    }

    /// A block by its number.
    pub fn block(&self, number: u64) -> Option<Arc<StoredBlock>> {
        let chain = self.0.chain();
        chain.block(number).map(|block| expiry::current(&chain, block))
    }

    /// A block by the hash of its header.
    pub fn block_by_hash(&self, hash: &[u8]) -> Option<Arc<StoredBlock>> {
        let chain = self.0.chain();
        let block = self.0.index().block(&chain, hash)?;
        Some(expiry::current(&chain, &block))
    }

    /// Where a transaction is. Of several with one identifier it is the first; the others are duplicates.
    pub fn transaction(&self, id: &str) -> Option<Location> {
        let chain = self.0.chain();
        self.0.index().transaction(&chain, id)
    }

    /// The state as it is now.
    pub fn state(&self) -> StateView {
        StateView(self.0.chain())
    }

    /// Begins a transaction on the state as it is now.
    pub fn simulate(&self, transaction_id: &str) -> Simulation {
        Simulation::new(Arc::clone(&self.0), transaction_id)
    }

    /// Private data of endorsed transactions whose block is to come. A commit takes from it what belongs to its
    /// transactions.
    pub fn transient(&self) -> &TransientStore {
        &self.0.transient
    }

    /// From now on simulations accept only these collections. Before, they accept every name.
    pub fn set_collections(&self, collections: Arc<dyn Collections>) {
        *self.0.collections.write().unwrap_or_else(PoisonError::into_inner) = Some(collections);
    }

    /// Appends a block. `transactions[i]` is envelope i. VALID ones that read what has changed since become
    /// `MVCC_READ_CONFLICT` or `PHANTOM_READ_CONFLICT`; the writes of the others make the next state. The block's
    /// metadata gets `TRANSACTIONS_FILTER` and `COMMIT_HASH`.
    ///
    /// # Errors
    ///
    /// When the block is not the next one of this chain. Nothing is changed then.
    pub fn commit(
        &self,
        block: Block,
        transactions: Vec<CheckedTransaction>,
        rules: &dyn CollectionRules,
    ) -> Result<Committed, LedgerError> {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &self.0;
        let chain = shared.chain();
        let number = chain.height();
        let appended = commit::append(&chain, block, transactions, &shared.transient, rules, shared.database)?;
        let committed = appended.committed;
        let writes = appended.writes.iter().map(|(place, sets)| (*place, sets.as_ref()));
        shared.index.write().unwrap_or_else(PoisonError::into_inner).add(&committed.block, writes);
        shared.replace(appended.chain);
        shared.transient.purge(committed.block.transactions.iter().map(|transaction| transaction.id.as_str()));
        if number > TRANSIENT_RETENTION && number.is_multiple_of(TRANSIENT_RETENTION) {
            shared.transient.purge_below(number - TRANSIENT_RETENTION);
        }
        Ok(committed)
    }

    /// Takes in private data that another peer had of a committed transaction. Only what the block's hashes name is
    /// kept, and only what is not outdated reaches the state. Returns what is still missing of the transaction.
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

    /// The ledger as it is now, to come back to.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        LedgerSnapshot { chain: self.0.chain(), transient: self.0.transient.entries() }
    }

    /// Makes the ledger what it was. The snapshot must be of this ledger.
    pub fn restore(&self, snapshot: &LedgerSnapshot) {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.0.chain().height().saturating_sub(snapshot.chain.height());
        self.0.transient.replace(snapshot.transient.clone());
        self.0.replace(Chain::clone(&snapshot.chain));
        self.0.index.write().unwrap_or_else(PoisonError::into_inner).dropped(dropped);
    }
}

impl Shared {
    fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.chain.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn collections(&self) -> Option<Arc<dyn Collections>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, chain: Chain) {
        let height = chain.height();
        let old = std::mem::replace(&mut *self.chain.write().unwrap_or_else(PoisonError::into_inner), Arc::new(chain));
        self.heights.send_replace(height);
        // Letting go of what the old state alone held takes a while; nobody waits for it.
        drop(old);
    }
}
