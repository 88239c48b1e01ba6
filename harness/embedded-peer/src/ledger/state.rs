//! The world state: public data, private data and the hashes of private data, each value with its
//! version and metadata. A state is immutable; a commit creates the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_protos::kvrwset;
use fabric_protos::prost::Message as _;

use super::key::Key;
use super::map::Map;
use super::version::Version;

/// A current value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value, or the digest for a hash. Never empty.
    pub value: Bytes,
    /// The version: the transaction that last wrote it.
    pub version: Version,
    /// The key's metadata in Fabric's encoding; see [`VersionedValue::metadata`].
    pub metadata: Option<Bytes>,
}

impl VersionedValue {
    /// The key's metadata by name, such as `VALIDATION_PARAMETER`. Empty if there is none.
    pub fn metadata(&self) -> BTreeMap<String, Bytes> {
        let decoded = self.metadata.clone().map(kvrwset::KvMetadataWrite::decode);
        let entries = decoded.and_then(Result::ok).unwrap_or_default().entries;
        entries.into_iter().map(|entry| (entry.name, entry.value.into())).collect()
    }
}

/// Metadata in its stored encoding (Fabric's `statemetadata`).
pub(crate) fn encode_metadata(entries: &[kvrwset::KvMetadataEntry]) -> Bytes {
    let write = kvrwset::KvMetadataWrite { key: String::new(), entries: entries.to_vec() };
    write.encode_to_vec().into()
}

/// Values by key.
pub(crate) type Values = Map<Arc<VersionedValue>>;

/// The data of all chaincodes.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) namespaces: Map<Namespace>,
}

/// The data of one chaincode.
#[derive(Clone, Default)]
pub(crate) struct Namespace {
    pub(crate) public: Values,
    pub(crate) collections: Map<Collection>,
}

/// The data of one collection.
#[derive(Clone, Default)]
pub(crate) struct Collection {
    /// The private values that this peer holds.
    pub(crate) private: Values,
    /// The public hashes, by the SHA-256 of the key.
    pub(crate) hashed: Values,
    /// The keys of the private values by their hash: a purge names only the hash.
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
