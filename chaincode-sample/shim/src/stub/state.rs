//! The world state: keys, ranges, rich queries, history and key-level endorsement policies.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    DelState, GetHistoryForKey, GetState, GetStateMetadata, GetStateMultiple, GetStateMultipleResult, PutState,
    PutStateMetadata, StateMetadata, StateMetadataResult,
};

use super::batch::Write;
use super::query::{Page, Query, QueryResults};
use super::{HistoryResults, StateResults, Stub, VALIDATION_PARAMETER, decode, keys};
use crate::stub_error::StubError;

/// The name by which requests select the world state instead of a collection.
const WORLD_STATE: &str = "";

impl Stub {
    /// Returns the committed value of a key, or `None`. Writes of this transaction are not visible.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        self.get(WORLD_STATE, key).await
    }

    /// Returns the values of several keys, in the same order. Sends one request for many keys if the
    /// peer offers that (Fabric 3), otherwise one for each key.
    ///
    /// # Errors
    ///
    /// As [`get_state`](Self::get_state).
    pub async fn get_multiple_states(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StubError> {
        self.get_multiple(WORLD_STATE, keys).await
    }

    /// Writes a key. The value becomes visible when the transaction is committed.
    ///
    /// # Errors
    ///
    /// When the key is empty, the peer rejects the request or the stream ends.
    pub async fn put_state(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.put(WORLD_STATE, key, value.into()).await
    }

    /// Deletes a key. Deleting a missing key succeeds.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn delete_state(&self, key: &str) -> Result<(), StubError> {
        self.delete(WORLD_STATE, key).await
    }

    /// Returns the keys from `start` (empty: the first key) up to, but excluding, `end` (empty: no
    /// upper bound), in order. Composite keys are not included.
    ///
    /// # Errors
    ///
    /// When a bound is a composite key, the peer rejects the request or the stream ends.
    pub async fn get_state_by_range(&self, start: &str, end: &str) -> Result<StateResults, StubError> {
        let (start, end) = keys::simple_range(start, end)?;
        self.query(Query::range(WORLD_STATE, start, end)).await
    }

    /// Returns one page of [`get_state_by_range`](Self::get_state_by_range).
    ///
    /// `bookmark` is empty for the first page, then the one of the previous page. Only for
    /// transactions that do not write: the peer does not check the range again at commit.
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

    /// Returns the composite keys that start with this object type and these attributes.
    ///
    /// # Errors
    ///
    /// As [`composite_key`](super::composite_key), or when the peer rejects the request.
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateResults, StubError> {
        let (start, end) = keys::composite_range(object_type, attributes)?;
        self.query(Query::range(WORLD_STATE, start, end)).await
    }

    /// Returns one page of the composite keys that start with these parts.
    ///
    /// # Errors
    ///
    /// As [`composite_key`](super::composite_key), or when the peer rejects the request.
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

    /// Returns one page of all composite keys.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_all_states_composite_key_with_pagination(
        &self,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let (start, end) = keys::all_composite_keys();
        let query = Query::range(WORLD_STATE, start, end);
        self.page(query.page(page_size, bookmark)).await
    }

    /// Runs a rich query in CouchDB's query language. A peer with `LevelDB` rejects it.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_query_result(&self, query: &str) -> Result<StateResults, StubError> {
        self.query(Query::rich(WORLD_STATE, query)).await
    }

    /// Returns one page of a rich query.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_query_result_with_pagination(
        &self,
        query: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<(StateResults, Page), StubError> {
        let query = Query::rich(WORLD_STATE, query);
        self.page(query.page(page_size, bookmark)).await
    }

    /// Returns every committed change of a key, the latest first. The peer needs its history
    /// database, which is enabled by default.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_history_for_key(&self, key: &str) -> Result<HistoryResults, StubError> {
        let request = GetHistoryForKey { key: key.to_owned() };
        let answer = self.request(Type::GetHistoryForKey, &request).await?;
        let first = decode(Type::GetHistoryForKey, answer)?;
        Ok(QueryResults::new(self.clone(), first))
    }

    /// Returns a key's endorsement policy, an encoded `common.SignaturePolicyEnvelope`, or `None`.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn get_state_validation_parameter(&self, key: &str) -> Result<Option<Vec<u8>>, StubError> {
        self.get_policy(WORLD_STATE, key).await
    }

    /// Sets a key's endorsement policy, which replaces the chaincode's for this key.
    ///
    /// # Errors
    ///
    /// When the peer rejects the request or the stream ends.
    pub async fn set_state_validation_parameter(&self, key: &str, policy: impl Into<Vec<u8>>) -> Result<(), StubError> {
        self.set_policy(WORLD_STATE, key, policy.into()).await
    }

    pub(super) async fn get(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        Ok(present(self.request(Type::GetState, &request).await?))
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
            let answer = self.request(Type::GetStateMultiple, &request).await?;
            let result: GetStateMultipleResult = decode(Type::GetStateMultiple, answer)?;
            if result.values.len() != keys.len() {
                return Err(StubError::Peer(format!(
                    "invalid answer to GET_STATE_MULTIPLE: {} values for {} keys",
                    result.values.len(),
                    keys.len(),
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
        self.request(Type::PutState, &request).await.map(drop)
    }

    pub(super) async fn delete(&self, collection: &str, key: &str) -> Result<(), StubError> {
        let request = DelState { key: key.to_owned(), collection: collection.to_owned() };
        let Some(request) = self.batch(request, Write::Delete) else {
            return Ok(());
        };
        self.request(Type::DelState, &request).await.map(drop)
    }

    pub(super) async fn get_policy(&self, collection: &str, key: &str) -> Result<Option<Vec<u8>>, StubError> {
        let request = GetStateMetadata { key: key.to_owned(), collection: collection.to_owned() };
        let answer = self.request(Type::GetStateMetadata, &request).await?;
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
        self.request(Type::PutStateMetadata, &request).await.map(drop)
    }
}

/// The peer answers with no bytes for a missing key and for an empty value.
fn present(value: Bytes) -> Option<Bytes> {
    (!value.is_empty()).then_some(value)
}
