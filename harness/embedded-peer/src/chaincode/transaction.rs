//! The state of one transaction on a stream: its simulation, its open queries, and its caller.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::oneshot;

use super::call::{CollectionAccess, Host};
use super::cursor::Cursor;
use crate::ledger::{SharedSimulation, Simulation, lock};

/// Receives the end of a transaction: the chaincode's final message, or the text of an injected
/// fault.
pub(super) type Done = oneshot::Sender<Result<ChaincodeMessage, String>>;

/// One transaction on one stream.
pub(super) struct Transaction {
    pub(super) channel: String,
    pub(super) id: String,
    /// The chaincode's name, which is also the namespace of its state.
    pub(super) namespace: String,
    pub(super) is_init: bool,
    pub(super) simulation: SharedSimulation,
    pub(super) host: Arc<dyn Host>,
    done: Mutex<Option<Done>>,
    is_busy: AtomicBool,
    pub(super) cursors: Mutex<HashMap<String, Cursor>>,
    access: Mutex<HashMap<String, CollectionAccess>>,
}

impl Transaction {
    pub(super) fn new(
        channel: String,
        id: String,
        namespace: String,
        is_init: bool,
        simulation: SharedSimulation,
        host: Arc<dyn Host>,
        done: Done,
    ) -> Self {
        Self {
            channel,
            id,
            namespace,
            is_init,
            simulation,
            host,
            done: Mutex::new(Some(done)),
            is_busy: AtomicBool::new(false),
            cursors: Mutex::default(),
            access: Mutex::default(),
        }
    }

    /// The sender for the result; `None` the second time.
    pub(super) fn take_done(&self) -> Option<Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Starts a request, unless another one is in progress.
    pub(super) fn begin_request(&self) -> bool {
        !self.is_busy.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_request(&self) {
        self.is_busy.store(false, Ordering::Release);
    }

    pub(super) fn simulation(&self) -> MutexGuard<'_, Simulation> {
        lock(&self.simulation)
    }

    /// Checks that the transaction's creator may read a collection. The error is Fabric's.
    pub(super) fn check_read(&self, collection: &str) -> Result<(), String> {
        if self.access(collection)?.read {
            return Ok(());
        }
        Err(self.no_access("read", collection))
    }

    /// Checks that the transaction's creator may write a collection. The error is Fabric's.
    pub(super) fn check_write(&self, collection: &str) -> Result<(), String> {
        if self.access(collection)?.write {
            return Ok(());
        }
        Err(self.no_access("write", collection))
    }

    /// Looks up a collection without an access check, so that the transaction depends on its
    /// definition. The ledger checks that the collection exists.
    pub(super) fn look_up(&self, collection: &str) {
        if let Err(error) = self.access(collection) {
            tracing::debug!("{error}");
        }
    }

    /// Checks that private data is allowed in this transaction.
    pub(super) fn check_private(&self) -> Result<(), String> {
        if self.is_init {
            return Err("private data APIs are not allowed in chaincode Init()".to_owned());
        }
        Ok(())
    }

    fn access(&self, collection: &str) -> Result<CollectionAccess, String> {
        let mut known = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = known.get(collection) {
            return Ok(*access);
        }
        let access = self.host.collection(&self.namespace, collection)?;
        known.insert(collection.to_owned(), access);
        Ok(access)
    }

    fn no_access(&self, what: &str, collection: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "tx creator does not have {what} access permission on privatedata in chaincodeName:{namespace} collectionName: {collection}"
        )
    }
}

/// The text of a ledger error for the chaincode.
pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A query ID: unique in this process, with the length of Fabric's.
pub(super) fn query_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Mix the bits so that consecutive IDs differ visibly.
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let (first, second, third, fourth) = (mixed >> 32, mixed >> 16 & 0xffff, mixed >> 4 & 0xfff, mixed & 0xfff);
    format!("{first:08x}-{second:04x}-4{third:03x}-8{fourth:03x}-{:012x}", number & 0xffff_ffff_ffff)
}
