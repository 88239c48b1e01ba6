//! Private data: the same as the world state, in a collection.

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{GetState, PurgePrivateState};

use super::batch::Write;
use super::query::Query;
use super::{StateResults, Stub, StubError, keys};

impl Stub {
    /// The value of a key, or none.
    ///
    /// # Errors
    ///
    /// When the collection is empty, this peer is not a member of it, or the
    /// stream ends.
    pub async fn get_private_data(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        named(collection)?;
        self.get(collection, key).await
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    ///
    /// As [`get_private_data`](Self::get_private_data).
    pub async fn get_multiple_private_data(
        &self,
        collection: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Bytes>>, StubError> {
        named(collection)?;
        self.get_multiple(collection, keys).await
    }

    /// The SHA-256 hash of a value, which every peer of the channel has.
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn get_private_data_hash(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        named(collection)?;
        let request = GetState { key: key.to_owned(), collection: collection.to_owned() };
        let hash = self.ask(Type::GetPrivateDataHash, &request).await?;
        Ok((!hash.is_empty()).then_some(hash))
    }

    /// Writes a key.
    ///
    /// # Errors
    ///
    /// When the collection or the key is empty, the peer refuses or the
    /// stream ends.
    pub async fn put_private_data(
        &self,
        collection: &str,
        key: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        named(collection)?;
        self.put(collection, key, value.into()).await
    }

    /// Deletes a key; its earlier values stay in the peer's private store.
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn delete_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        named(collection)?;
        self.delete(collection, key).await
    }

    /// Deletes a key and all its earlier values.
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn purge_private_data(&self, collection: &str, key: &str) -> Result<(), StubError> {
        named(collection)?;
        let request = PurgePrivateState { key: key.to_owned(), collection: collection.to_owned() };
        let Some(request) = self.batch(request, Write::Purge) else {
            return Ok(());
        };
        self.ask(Type::PurgePrivateData, &request).await.map(drop)
    }

    /// Keys from `start` (empty: the first) to before `end` (empty: the last
    /// one included), in order.
    ///
    /// # Errors
    ///
    /// When the collection is empty, a bound is a composite key, the peer
    /// refuses or the stream ends.
    pub async fn get_private_data_by_range(
        &self,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<StateResults, StubError> {
        named(collection)?;
        let (start, end) = keys::simple_range(start, end)?;
        self.query(Query::range(collection, start, end)).await
    }

    /// Composite keys that begin with this type and these attributes.
    ///
    /// # Errors
    ///
    /// When the collection is empty, a part is not possible in a composite
    /// key, the peer refuses or the stream ends.
    pub async fn get_private_data_by_partial_composite_key(
        &self,
        collection: &str,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<StateResults, StubError> {
        named(collection)?;
        let (start, end) = keys::composite_range(object_type, attributes)?;
        self.query(Query::range(collection, start, end)).await
    }

    /// What a rich query finds in a collection (CouchDB only).
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn get_private_data_query_result(
        &self,
        collection: &str,
        query: &str,
    ) -> Result<StateResults, StubError> {
        named(collection)?;
        self.query(Query::rich(collection, query)).await
    }

    /// A key's own endorsement policy, an encoded
    /// `common.SignaturePolicyEnvelope`, or none.
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn get_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StubError> {
        named(collection)?;
        self.get_policy(collection, key).await
    }

    /// Sets a key's own endorsement policy.
    ///
    /// # Errors
    ///
    /// When the collection is empty, the peer refuses or the stream ends.
    pub async fn set_private_data_validation_parameter(
        &self,
        collection: &str,
        key: &str,
        policy: impl Into<Vec<u8>>,
    ) -> Result<(), StubError> {
        named(collection)?;
        self.set_policy(collection, key, policy.into()).await
    }
}

/// An empty collection would be the world state.
fn named(collection: &str) -> Result<(), StubError> {
    if collection.is_empty() {
        return Err(StubError::Invalid("the collection's name is empty".to_owned()));
    }
    Ok(())
}
