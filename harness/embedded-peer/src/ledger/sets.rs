//! Decoded read-write sets of a transaction, from the chain or from another peer.

use bytes::Bytes;
use fabric_protos::kvrwset::{HashedRwSet, KvWrite, KvWriteHash, KvrwSet};
use fabric_protos::prost::Message as _;
use fabric_protos::rwset;

use super::error::LedgerError;
use super::hash::digest;

/// A decoded `rwset.TxReadWriteSet`: a transaction's reads and writes by namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadWriteSets {
    /// The namespaces in the message's order.
    pub namespaces: Vec<NamespaceSet>,
}

/// The public set of a namespace, and the hashes of its collections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamespaceSet {
    /// The chaincode.
    pub namespace: String,
    /// Reads, range queries, writes and metadata writes.
    pub set: KvrwSet,
    /// The collections that the transaction touched.
    pub collections: Vec<CollectionSet>,
}

/// The public part of a collection's set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectionSet {
    /// The collection.
    pub name: String,
    /// Reads, writes and metadata writes by the hashes of their keys.
    pub hashed: HashedRwSet,
    /// The SHA-256 digest of the collection's encoded private set; empty if the transaction wrote
    /// nothing to it.
    pub private_hash: Bytes,
}

impl ReadWriteSets {
    /// Decodes a `rwset.TxReadWriteSet`, the results of a chaincode action.
    ///
    /// # Errors
    ///
    /// The bytes, or the sets in them, cannot be decoded.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let sets =
            rwset::TxReadWriteSet::decode(bytes).map_err(LedgerError::malformed("transaction's read-write set"))?;
        let namespaces = sets.ns_rwset.into_iter().map(NamespaceSet::open).collect::<Result<_, _>>()?;
        Ok(Self { namespaces })
    }

    /// The hash of a collection's private set, if the transaction wrote to it.
    pub fn private_hash(&self, namespace: &str, collection: &str) -> Option<&Bytes> {
        let namespace = self.namespaces.iter().find(|set| set.namespace == namespace)?;
        let collection = namespace.collections.iter().find(|set| set.name == collection)?;
        Some(&collection.private_hash).filter(|hash| !hash.is_empty())
    }

    /// Whether the transaction writes private data.
    pub fn writes_private_data(&self) -> bool {
        self.namespaces.iter().flat_map(|set| &set.collections).any(|set| !set.private_hash.is_empty())
    }
}

impl NamespaceSet {
    fn open(set: rwset::NsReadWriteSet) -> Result<Self, LedgerError> {
        let opened =
            KvrwSet::decode(set.rwset.as_slice()).map_err(LedgerError::malformed("namespace's read-write set"))?;
        let collections = set.collection_hashed_rwset.into_iter().map(CollectionSet::open);
        Ok(Self { namespace: set.namespace, set: opened, collections: collections.collect::<Result<_, _>>()? })
    }
}

impl CollectionSet {
    fn open(set: rwset::CollectionHashedReadWriteSet) -> Result<Self, LedgerError> {
        let hashed = HashedRwSet::decode(set.hashed_rwset.as_slice())
            .map_err(LedgerError::malformed("collection's hashed read-write set"))?;
        Ok(Self { name: set.collection_name, hashed, private_hash: set.pvt_rwset_hash.into() })
    }
}

/// Whether a write deletes the key: a stored value is never empty.
pub(crate) fn deletes(write: &KvWrite) -> bool {
    write.is_delete || write.value.is_empty()
}

/// Like [`deletes`], for a hash. Older peers hashed the empty value of a deletion.
pub(crate) fn deletes_hash(write: &KvWriteHash) -> bool {
    write.is_delete || write.value_hash.is_empty() || write.value_hash == digest(&[])
}
