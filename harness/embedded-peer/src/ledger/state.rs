//! The world state: public data, private data and the hashes of private data, each value with its version and
//! metadata. A state is immutable to those who look at it; a commit makes the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fabric_protos::kvrwset;
use fabric_protos::prost::Message as _;

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
