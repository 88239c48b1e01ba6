//! The simulation of a transaction: its view of the ledger and its read-write set, with all methods
//! of the peer's `TxSimulator`.
//!
//! A simulation reads the state at its start, never its own writes. It is synchronous and holds no
//! lock.

mod private;
mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fabric_protos::rwset;

use super::Shared;
use super::builder::{Builder, Metadata};
use super::error::LedgerError;
use super::hash::digest;
use super::range_reads::RangeReads;
use super::state::VersionedValue;
use super::view::StateView;

/// A simulation shared by all parts of one transaction.
pub type SharedSimulation = Arc<Mutex<Simulation>>;

/// Locks the simulation for one operation.
pub(crate) fn lock(simulation: &SharedSimulation) -> MutexGuard<'_, Simulation> {
    simulation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The previous metadata of the written keys by chaincode, collection (empty for public data) and
/// key. It determines the key-level policies that endorsers must satisfy.
pub type WriteMetadata = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, Bytes>>>>;

/// A running simulation.
pub struct Simulation {
    shared: Arc<Shared>,
    state: StateView,
    transaction: String,
    builder: Builder,
    ranges: Vec<RangeQuery>,
    done: Done,
    finished: bool,
    private_reads: BTreeMap<String, BTreeSet<String>>,
    write_metadata: WriteMetadata,
    /// The collections of the chaincodes used so far.
    collections: BTreeMap<String, BTreeSet<String>>,
}

/// Actions of a transaction that exclude others.
#[derive(Default)]
struct Done {
    wrote: bool,
    queried_private: bool,
    paged: bool,
}

/// The results of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// The encoded `rwset.TxReadWriteSet`: the results of a chaincode action.
    pub public: Bytes,
    /// The written private data.
    pub private: Option<rwset::TxPvtReadWriteSet>,
    /// The collections whose private values were read, by chaincode.
    pub private_reads: BTreeMap<String, BTreeSet<String>>,
    /// The previous metadata of the written keys.
    pub write_metadata: WriteMetadata,
}

/// A range query and the rows read so far.
struct RangeQuery {
    namespace: String,
    start: String,
    end: String,
    seen: String,
    exhausted: bool,
    reads: RangeReads,
}

impl Simulation {
    pub(crate) fn new(shared: Arc<Shared>, transaction: &str) -> Self {
        let state = StateView(shared.chain());
        Self {
            shared,
            state,
            transaction: transaction.to_owned(),
            builder: Builder::default(),
            ranges: Vec::new(),
            done: Done::default(),
            finished: false,
            private_reads: BTreeMap::new(),
            write_metadata: WriteMetadata::new(),
            collections: BTreeMap::new(),
        }
    }

    /// The transaction ID.
    pub fn transaction_id(&self) -> &str {
        &self.transaction
    }

    /// The state that the simulation reads.
    pub const fn state(&self) -> &StateView {
        &self.state
    }

    /// The value of a public key.
    ///
    /// # Errors
    ///
    /// The state database does not accept the key.
    pub fn get_state(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.shared.database.check_key(key)?;
        Ok(self.read(namespace, key).map(|value| value.value.clone()))
    }

    /// The values of several public keys, in order.
    ///
    /// # Errors
    ///
    /// See [`Self::get_state`].
    pub fn get_states<'key>(
        &mut self,
        namespace: &str,
        keys: impl IntoIterator<Item = &'key str>,
    ) -> Result<Vec<Option<Bytes>>, LedgerError> {
        keys.into_iter().map(|key| self.get_state(namespace, key)).collect()
    }

    /// The metadata of a public key by name; empty if there is none. Recorded as a read of the key.
    ///
    /// # Errors
    ///
    /// See [`Self::get_state`].
    pub fn metadata(&mut self, namespace: &str, key: &str) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        self.shared.database.check_key(key)?;
        Ok(self.read(namespace, key).map(|value| value.metadata()).unwrap_or_default())
    }

    /// Writes a public key. An empty value deletes it.
    ///
    /// # Errors
    ///
    /// A previous query forbids writes, or the state database does not accept the key or value.
    pub fn set_state(&mut self, namespace: &str, key: &str, value: impl Into<Bytes>) -> Result<(), LedgerError> {
        let value = value.into();
        self.may_write(key, &value)?;
        self.builder.write(namespace, key, value);
        self.note_metadata(namespace, key);
        Ok(())
    }

    /// Deletes a public key.
    ///
    /// # Errors
    ///
    /// See [`Self::set_state`].
    pub fn delete_state(&mut self, namespace: &str, key: &str) -> Result<(), LedgerError> {
        self.set_state(namespace, key, Bytes::new())
    }

    /// Replaces all metadata of a public key; an empty map removes it.
    ///
    /// # Errors
    ///
    /// See [`Self::set_state`].
    pub fn set_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        metadata: BTreeMap<String, Bytes>,
    ) -> Result<(), LedgerError> {
        self.may_write(key, &[])?;
        self.builder.write_metadata(namespace, key, metadata);
        self.note_metadata(namespace, key);
        Ok(())
    }

    /// Ends the simulation and returns its read-write sets, which must be identical on all
    /// endorsers.
    ///
    /// # Errors
    ///
    /// The simulation has already ended.
    pub fn finish(&mut self) -> Result<Simulated, LedgerError> {
        if std::mem::replace(&mut self.finished, true) {
            return Err(LedgerError::AlreadyFinished);
        }
        for mut range in std::mem::take(&mut self.ranges) {
            let end = if range.exhausted { &range.end } else { &range.seen };
            let reads = range.reads.done();
            self.builder.range(&range.namespace, &range.start, end, range.exhausted, reads);
        }
        let (public, private) = std::mem::take(&mut self.builder).finish();
        Ok(Simulated {
            public,
            private,
            private_reads: std::mem::take(&mut self.private_reads),
            write_metadata: std::mem::take(&mut self.write_metadata),
        })
    }

    fn read(&mut self, namespace: &str, key: &str) -> Option<Arc<VersionedValue>> {
        let value = self.state.0.state.get(namespace, key).cloned();
        self.builder.read(namespace, key, value.as_ref().map(|value| value.version));
        value
    }

    fn may_write(&mut self, key: &str, value: &[u8]) -> Result<(), LedgerError> {
        let transaction = || self.transaction.clone();
        if self.done.queried_private {
            return Err(LedgerError::WriteAfterPrivateQuery { transaction: transaction() });
        }
        if self.done.paged {
            return Err(LedgerError::WriteAfterPage { transaction: transaction() });
        }
        self.done.wrote = true;
        self.shared.database.check(key, value)
    }

    fn note_metadata(&mut self, namespace: &str, key: &str) {
        let metadata = self.state.get(namespace, key).map(VersionedValue::metadata).unwrap_or_default();
        self.note(namespace, "", key, metadata);
    }

    fn note_private_metadata(&mut self, namespace: &str, collection: &str, key: &str) {
        let hash = digest(key.as_bytes());
        let stored = self.state.private_hash(namespace, collection, &hash);
        let metadata = stored.map(VersionedValue::metadata).unwrap_or_default();
        self.note(namespace, collection, key, metadata);
    }

    fn note(&mut self, namespace: &str, collection: &str, key: &str, metadata: Metadata) {
        let collections = self.write_metadata.entry(namespace.to_owned()).or_default();
        collections.entry(collection.to_owned()).or_default().insert(key.to_owned(), metadata);
    }
}
