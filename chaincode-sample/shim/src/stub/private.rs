//! Private data: the calls of the world state, for a collection.

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{GetState, PurgePrivateState};

use super::batch::Write;
use super::query::Query;
use super::{StateResults, Stub, keys};
use crate::stub_error::StubError;

impl Stub {
    /// Returns the value of a key, or `None`.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer is not a member of the collection, or the stream
    /// ends.
    pub async fn get_private_data(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        check_name(collection)?;
        self.get(collection, key).await
    }

    /// Returns the values of several keys, in the same order.
    ///
    /// # Errors
    ///
    /// As [`get_private_data`](Self::get_private_data).
    pub async fn get_multiple_private_data(
        &self,
        collection: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Bytes>>, StubError> {
        check_name(collection)?;
        self.get_multiple(collection, keys).await
    }

    /// Returns the SHA-256 hash of a value, which every peer of the channel has.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn get_private_data_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        check_name(collection)?;
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        let hash = self.request(Type::GetPrivateDataHash, &request).await?;
        Ok((!hash.is_empty()).then_some(hash))
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// When the collection name or the key is empty, the peer rejects the request or the stream ends.
    pub async fn put_private_data(
        &self,
        collection: &str,
        key: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        check_name(collection)?;
        self.put(collection, key, value.into()).await
    }

    /// Deletes a key. Its previous values remain in the peer's private data store.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn delete_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        check_name(collection)?;
        self.delete(collection, key).await
    }

    /// Deletes a key and all its previous values.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn purge_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        check_name(collection)?;
        let request = PurgePrivateState { key: key.to_owned(), collection: collection.to_owned() };
        let Some(request) = self.batch(request, Write::Purge) else {
            return Ok(());
        };
        self.request(Type::PurgePrivateData, &request).await.map(drop)
    }

    /// Returns the keys from `start` (empty: the first key) up to, but excluding, `end` (empty: no
    /// upper bound), in order.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, a bound is a composite key, the peer rejects the request or
    /// the stream ends.
    pub async fn get_private_data_by_range(
        &self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateResults, StubError> {
        check_name(collection)?;
        let (start, end) = keys::simple_range(start, end)?;
        self.query(Query::range(collection, start, end)).await
    }

    /// Returns the composite keys that start with this object type and these attributes.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, a part is invalid in a composite key, the peer rejects the
    /// request or the stream ends.
    pub async fn get_private_data_by_partial_composite_key(
        &self,
        collection: &str,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateResults, StubError> {
        check_name(collection)?;
        let (start, end) = keys::composite_range(object_type, attributes)?;
        self.query(Query::range(collection, start, end)).await
    }

    /// Runs a rich query on a collection (CouchDB only).
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn get_private_data_query_result(
        &self,
        collection: &str,
        query: &str,
    ) -> Result<StateResults, StubError> {
        check_name(collection)?;
        self.query(Query::rich(collection, query)).await
    }

    /// Returns a key's endorsement policy, an encoded `common.SignaturePolicyEnvelope`, or `None`.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn get_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        check_name(collection)?;
        self.get_policy(collection, key).await
    }

    /// Sets a key's endorsement policy.
    ///
    /// # Errors
    ///
    /// When the collection name is empty, the peer rejects the request or the stream ends.
    pub async fn set_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
        policy: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        check_name(collection)?;
        self.set_policy(collection, key, policy.into()).await
    }
}

/// An empty name would select the world state.
fn check_name(collection: &str) -> Result<(), StubError> {
    if collection.is_empty() {
        return Err(StubError::Invalid("the collection name is empty".to_owned()));
    }
    Ok(())
}
