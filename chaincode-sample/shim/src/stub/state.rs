//! The world state: keys, ranges, rich queries, history, key-level policies.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    DelState, GetHistoryForKey, GetState, GetStateMetadata, GetStateMultiple, GetStateMultipleResult, PutState,
    PutStateMetadata, StateMetadata, StateMetadataResult,
};

use super::batch::Write;
use super::query::{Page, Query, QueryResults};
use super::{HistoryResults, StateResults, Stub, StubError, decode, keys};

/// The collection that is the world state itself.
const WORLD_STATE: &str = "";

/// The metadata entry that holds a key's endorsement policy
/// (`peer.MetaDataKeys` of Fabric's protos).
pub(crate) const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

impl Stub {
    /// The value of a key, or none. It is the committed one: this
    /// transaction's own writes are not seen.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        self.get(WORLD_STATE, key).await
    }

    /// The values of several keys, in their order; in few requests where the
    /// peer offers that (Fabric 3), else one by one.
    ///
    /// # Errors
    ///
    /// As [`get_state`](Self::get_state).
    pub async fn get_multiple_states(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StubError> {
        self.get_multiple(WORLD_STATE, keys).await
    }

    /// Writes a key. It becomes visible when the transaction is committed.
    ///
    /// # Errors
    ///
    /// When the key is empty, the peer refuses or the stream ends.
    pub async fn put_state(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.put(WORLD_STATE, key, value.into()).await
    }

    /// Deletes a key; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn delete_state(&self, key: &str) -> Result<(), StubError> {
        self.delete(WORLD_STATE, key).await
    }

    /// Keys from `start` (empty: the first) to before `end` (empty: the last
    /// one included), in order. Composite keys are not among them.
    ///
    /// # Errors
    ///
    /// When a bound is a composite key, the peer refuses or the stream ends.
    pub async fn get_state_by_range(&self, start: &str, end: &str) -> Result<StateResults, StubError> {
        let (start, end) = keys::simple_range(start, end)?;
        self.query(Query::range(WORLD_STATE, start, end)).await
    }

    /// One page of [`get_state_by_range`](Self::get_state_by_range).
    ///
    /// `bookmark` is empty for the first page, then the one that the page
    /// before returned. For transactions that only read: the peer does not
    /// check such a range again at commit.
    ///
    /// # Errors
    ///
    /// As [`get_state_by_range`](Self::get_state_by_range).
    pub async fn get_state_by_range_with_pagination(
        &self,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let (start, end) = keys::simple_range(start, end)?;
        let query = Query::range(WORLD_STATE, start, end);
        self.page(query.page(page_size, bookmark)).await
    }

    /// Composite keys that begin with this type and these attributes.
    ///
    /// # Errors
    ///
    /// As [`composite_key`](super::composite_key), or when the peer refuses.
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateResults, StubError> {
        let (start, end) = keys::composite_range(object_type, attributes)?;
        self.query(Query::range(WORLD_STATE, start, end)).await
    }

    /// One page of composite keys that begin with these parts.
    ///
    /// # Errors
    ///
    /// As [`composite_key`](super::composite_key), or when the peer refuses.
    pub async fn get_state_by_partial_composite_key_with_pagination(
        &self,
        object_type: &str,
        attributes: &[&str],
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let (start, end) = keys::composite_range(object_type, attributes)?;
        let query = Query::range(WORLD_STATE, start, end);
        self.page(query.page(page_size, bookmark)).await
    }

    /// One page of all composite keys.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_all_states_composite_key_with_pagination(
        &self,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let (start, end) = keys::all_composite_keys();
        let query = Query::range(WORLD_STATE, start, end);
        self.page(query.page(page_size, bookmark)).await
    }

    /// What a rich query finds, in the state database's own language. Only
    /// CouchDB has one; a peer without it refuses.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_query_result(&self, query: &str) -> Result<StateResults, StubError> {
        self.query(Query::rich(WORLD_STATE, query)).await
    }

    /// One page of a rich query.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_query_result_with_pagination(
        &self,
        query: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let query = Query::rich(WORLD_STATE, query);
        self.page(query.page(page_size, bookmark)).await
    }

    /// Every committed change of a key, the latest first. The peer needs its
    /// history database (on by default).
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_history_for_key(&self, key: &str) -> Result<HistoryResults, StubError> {
        let request = GetHistoryForKey { key: key.to_owned() };
        let answer = self.ask(Type::GetHistoryForKey, &request).await?;
        let first = decode(Type::GetHistoryForKey, answer)?;
        Ok(QueryResults::new(self.clone(), first))
    }

    /// A key's own endorsement policy, an encoded
    /// `common.SignaturePolicyEnvelope`, or none.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn get_state_validation_parameter(&self, key: &str) -> Result<Option<Vec<u8>>, StubError> {
        self.get_policy(WORLD_STATE, key).await
    }

    /// Sets a key's own endorsement policy, which then stands instead of the
    /// chaincode's.
    ///
    /// # Errors
    ///
    /// When the peer refuses or the stream ends.
    pub async fn set_state_validation_parameter(&self, key: &str, policy: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.set_policy(WORLD_STATE, key, policy.into()).await
    }

    pub(super) async fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        Ok(present(self.ask(Type::GetState, &request).await?))
    }

    pub(super) async fn get_multiple(&self, collection: &str, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StubError> {
        let mut values = Vec::with_capacity(keys.len());
        let Some(size) = self.inner.features.get_multiple else {
            for key in keys {
                values.push(self.get(collection, key).await?);
            }
            return Ok(values);
        };
        for keys in keys.chunks(size.max(1)) {
            let request = GetStateMultiple {
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                collection: collection.to_owned(),
            };
            let answer = self.ask(Type::GetStateMultiple, &request).await?;
            let result: GetStateMultipleResult = decode(Type::GetStateMultiple, answer)?;
            if result.values.len() != keys.len() {
                return Err(StubError::Peer(format!(
                    "the peer answered {} keys with {} values",
                    keys.len(),
                    result.values.len(),
                )));
            }
            values.extend(result.values.into_iter().map(present));
        }
        Ok(values)
    }

    pub(super) async fn put(&self, collection: &str, key: &str, value: Vec<u8>) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::Invalid("the key is empty".to_owned()));
        }
        let request = PutState { key: key.to_owned(), value: value.into(), collection: collection.to_owned() };
        let Some(request) = self.batch(request, Write::Put) else {
            return Ok(());
        };
        self.ask(Type::PutState, &request).await.map(drop)
    }

    pub(super) async fn delete(&self, collection: &str, key: &str) -> Result<(), StubError> {
        let request = DelState { key: key.to_owned(), collection: collection.to_owned() };
        let Some(request) = self.batch(request, Write::Delete) else {
            return Ok(());
        };
        self.ask(Type::DelState, &request).await.map(drop)
    }

    pub(super) async fn get_policy(&self, collection: &str, key: &str) -> Result<Option<Vec<u8>>, StubError> {
        let request = GetStateMetadata { key: key.to_owned(), collection: collection.to_owned() };
        let answer = self.ask(Type::GetStateMetadata, &request).await?;
        let result: StateMetadataResult = decode(Type::GetStateMetadata, answer)?;
        let entries: BTreeMap<_, _> = result.entries.into_iter().map(|entry| (entry.metakey, entry.value)).collect();
        Ok(entries.get(VALIDATION_PARAMETER).cloned())
    }

    pub(super) async fn set_policy(&self, collection: &str, key: &str, value: Vec<u8>) -> Result<(), StubError> {
        let request = PutStateMetadata {
            key: key.to_owned(),
            collection: collection.to_owned(),
            metadata: Some(StateMetadata { metakey: VALIDATION_PARAMETER.to_owned(), value }),
        };
        let Some(request) = self.batch(request, Write::Metadata) else {
            return Ok(());
        };
        self.ask(Type::PutStateMetadata, &request).await.map(drop)
    }
}

/// A key that is not there is answered with no bytes; so is an empty value.
fn present(value: Bytes) -> Option<Bytes> {
    (!value.is_empty()).then_some(value)
}
