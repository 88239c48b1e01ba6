//! The world state: public data, private data and the hashes of private data, each value with its version and
//! metadata. A state is immutable to those who look at it; a commit makes the next one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use fabric_protos::kvrwset;
use fabric_protos::prost::Message as _;

use super::chain::Chain;
use super::key::Key;
use super::map::Map;
use super::version::Version;

/// A value as the newest block left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value; of a hash, the digest. Never empty.
    pub value: Bytes,
    /// The transaction that wrote it last.
    pub version: Version,
    /// The key's metadata in Fabric's encoding; see [`VersionedValue::metadata`].
    pub metadata: Option<Bytes>,
}

impl VersionedValue {
    /// The key's metadata by name, such as `VALIDATION_PARAMETER`. Empty when there is none.
    pub fn metadata(&self) -> BTreeMap<String, Bytes> {
        let decoded = self.metadata.clone().map(kvrwset::KvMetadataWrite::decode);
        let entries = decoded.and_then(Result::ok).unwrap_or_default().entries;
        entries.into_iter().map(|entry| (entry.name, entry.value.into())).collect()
    }
}

/// Metadata as the state keeps it (Fabric's `statemetadata`).
pub(crate) fn encode_metadata(entries: &[kvrwset::KvMetadataEntry]) -> Bytes {
    let write = kvrwset::KvMetadataWrite { key: String::new(), entries: entries.to_vec() };
    write.encode_to_vec().into()
}

/// Values by key.
pub(crate) type Values = Map<Arc<VersionedValue>>;

/// Everything of all chaincodes.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) namespaces: Map<Namespace>,
}

/// What one chaincode has.
#[derive(Clone, Default)]
pub(crate) struct Namespace {
    pub(crate) public: Values,
    pub(crate) collections: Map<Collection>,
}

/// One collection of private data.
#[derive(Clone, Default)]
pub(crate) struct Collection {
    /// What this peer holds.
    pub(crate) private: Values,
    /// What the channel agreed on, by the SHA-256 of the key.
    pub(crate) hashed: Values,
    /// The keys behind the hashes, as far as this peer saw them: a purge names only the hash.
    pub(crate) keys: Map<Key>,
}

impl State {
    pub(crate) fn public(&self, namespace: &str) -> Option<&Values> {
        self.namespaces.get(namespace.as_bytes()).map(|found| &found.public)
    }

    pub(crate) fn collection(&self, namespace: &str, collection: &str) -> Option<&Collection> {
        self.namespaces.get(namespace.as_bytes())?.collections.get(collection.as_bytes())
    }

    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<&Arc<VersionedValue>> {
        self.public(namespace)?.get(key.as_bytes())
    }

    pub(crate) fn private(&self, namespace: &str, collection: &str, key: &str) -> Option<&Arc<VersionedValue>> {
        self.collection(namespace, collection)?.private.get(key.as_bytes())
    }

    pub(crate) fn hashed(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Option<&Arc<VersionedValue>> {
        self.collection(namespace, collection)?.hashed.get(key_hash)
    }
}

/// The state after some block, for as long as one likes to look at it. Clones share it.
#[derive(Clone)]
pub struct StateView(pub(crate) Arc<Chain>);

impl StateView {
    /// As many blocks made this state.
    pub fn height(&self) -> u64 {
        self.0.height()
    }

    /// A public value.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&VersionedValue> {
        self.0.state.get(namespace, key).map(Arc::as_ref)
    }

    /// A private value, if this peer holds it.
    pub fn private(&self, namespace: &str, collection: &str, key: &str) -> Option<&VersionedValue> {
        self.0.state.private(namespace, collection, key).map(Arc::as_ref)
    }

    /// The SHA-256 digest of a private value, by the SHA-256 digest of its key. Every peer of the channel has it.
    pub fn private_hash(&self, namespace: &str, collection: &str, key_hash: &[u8]) -> Option<&VersionedValue> {
        self.0.state.hashed(namespace, collection, key_hash).map(Arc::as_ref)
    }

    /// Public values from `start`, included, to `end`, not included, by key. An empty `start` is the first key, an
    /// empty `end` is after the last.
    pub fn range<'view>(
        &'view self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> impl Iterator<Item = (&'view str, &'view VersionedValue)> + use<'view> {
        let values = self.0.state.public(namespace);
        let found = values.map(|values| values.range(Bound::Included(start.as_bytes()), end.as_bytes()));
        found.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_ref()))
    }
}
