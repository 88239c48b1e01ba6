//! The result of a simulated transaction.

use std::time::SystemTime;

use serde::de::DeserializeOwned;

use super::rwset::{Change, Read, ReadWriteSet, Write};
use crate::response::Response;

/// The name under which [`MockLedger::new`](super::MockLedger::new) deploys its chaincode.
pub const CHAINCODE: &str = "chaincode";

/// The event of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockEvent {
    /// The event's name.
    pub name: String,
    /// The event's payload.
    pub payload: Vec<u8>,
}

/// The result of a transaction. Nothing of it is on the ledger before
/// [`MockLedger::commit`](super::MockLedger::commit).
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The transaction ID.
    pub tx_id: String,
    /// The chaincode's response.
    pub response: Response,
    /// The event, which clients receive at commit.
    pub event: Option<MockEvent>,
    /// The reads, in order.
    pub reads: Vec<Read>,
    /// The writes: the last change of each key, ordered by chaincode, collection and key.
    pub writes: Vec<Write>,
    pub(super) rwset: ReadWriteSet,
    pub(super) time: SystemTime,
}

impl Simulated {
    pub(super) fn new(
        tx_id: String,
        (response, event): (Response, Option<MockEvent>),
        rwset: ReadWriteSet,
        time: SystemTime,
    ) -> Self {
        let write = |(slot, change): (&_, &Change)| {
            let (chaincode, collection, key) = Clone::clone(slot);
            Write { chaincode, collection, key, change: change.clone() }
        };
        let (reads, writes) = (rwset.reads.clone(), rwset.changes().map(write).collect());
        Self { tx_id, response, event, reads, writes, rwset, time }
    }

    /// The error message, or `None` if the transaction succeeded.
    pub fn error(&self) -> Option<&str> {
        self.response.is_error().then_some(self.response.message.as_str())
    }

    /// The payload as text; invalid UTF-8 is replaced by U+FFFD.
    ///
    /// # Panics
    ///
    /// If the transaction failed, with its message.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.payload()).into_owned()
    }

    /// The payload, deserialized from JSON.
    ///
    /// # Panics
    ///
    /// If the transaction failed, or its payload cannot be deserialized.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let payload = self.payload();
        match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(error) => panic!("cannot deserialize the payload {:?}: {error}", String::from_utf8_lossy(payload)),
        }
    }

    /// The value written to a key of [`CHAINCODE`]'s world state; `None` for a deletion, too.
    pub fn written(&self, key: &str) -> Option<&[u8]> {
        self.writes.iter().find_map(|write| match &write.change {
            Change::Put(value) if write.chaincode == CHAINCODE && write.collection.is_empty() && write.key == key => {
                Some(value.as_slice())
            }
            _ => None,
        })
    }

    #[track_caller]
    fn payload(&self) -> &[u8] {
        assert!(!self.response.is_error(), "the transaction failed: {}", self.response.message);
        &self.response.payload
    }
}
