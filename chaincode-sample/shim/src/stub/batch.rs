//! Write batches: several writes in one message, if the peer offers that in READY (Fabric 3).
//!
//! Of several writes to a key only the last one is sent; a key's value and its policy count as two
//! keys (`shim/batch.go` of fabric-chaincode-go).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::write_record::Type as RecordType;
use fabric_protos::protos::{DelState, PurgePrivateState, PutState, PutStateMetadata, WriteBatchState, WriteRecord};

use super::Stub;
use crate::stub_error::StubError;

/// One write, as the request that is sent without a batch.
pub(super) enum Write {
    Put(PutState),
    Delete(DelState),
    Purge(PurgePrivateState),
    Metadata(PutStateMetadata),
}

/// Collection, key, and whether the record is the key's metadata.
type Slot = (String, String, bool);

#[derive(Debug, Default)]
pub(super) struct WriteBatch {
    records: BTreeMap<Slot, WriteRecord>,
}

impl WriteBatch {
    fn add(&mut self, write: Write) {
        let (kind, record) = match write {
            Write::Put(put) => (
                RecordType::PutState,
                WriteRecord { key: put.key, collection: put.collection, value: put.value, ..WriteRecord::default() },
            ),
            Write::Delete(delete) => (
                RecordType::DelState,
                WriteRecord { key: delete.key, collection: delete.collection, ..WriteRecord::default() },
            ),
            Write::Purge(purge) => (
                RecordType::PurgePrivateData,
                WriteRecord { key: purge.key, collection: purge.collection, ..WriteRecord::default() },
            ),
            Write::Metadata(put) => (
                RecordType::PutStateMetadata,
                WriteRecord {
                    key: put.key,
                    collection: put.collection,
                    metadata: put.metadata,
                    ..WriteRecord::default()
                },
            ),
        };
        let is_metadata = kind == RecordType::PutStateMetadata;
        let slot = (record.collection.clone(), record.key.clone(), is_metadata);
        let record = WriteRecord { r#type: kind.into(), ..record };
        self.records.insert(slot, record);
    }
}

impl Stub {
    /// Buffers the following writes, if the peer accepts batches; otherwise does nothing.
    /// [`finish_write_batch`](Self::finish_write_batch) or the end of the transaction sends them.
    pub fn start_write_batch(&self) {
        if self.inner.features.write_batch.is_some() {
            self.lock_batch().get_or_insert_default();
        }
    }

    /// Sends the buffered writes and ends the batch.
    ///
    /// # Errors
    ///
    /// When the peer rejects a write or the stream ends.
    pub async fn finish_write_batch(&self) -> Result<(), StubError> {
        let batch = self.lock_batch().take();
        let (Some(batch), Some(size)) = (batch, self.inner.features.write_batch) else {
            return Ok(());
        };
        let mut records = batch.records.into_values().peekable();
        while records.peek().is_some() {
            let request = WriteBatchState { rec: records.by_ref().take(size.max(1)).collect() };
            self.request(Type::WriteBatchState, &request).await?;
        }
        Ok(())
    }

    /// Adds a write to the open batch; without one, returns it to be sent.
    pub(super) fn batch<R>(&self, request: R, write: impl FnOnce(R) -> Write) -> Option<R> {
        match self.lock_batch().as_mut() {
            Some(batch) => {
                batch.add(write(request));
                None
            }
            None => Some(request),
        }
    }

    fn lock_batch(&self) -> std::sync::MutexGuard<'_, Option<WriteBatch>> {
        self.inner.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
