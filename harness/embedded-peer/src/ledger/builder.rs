//! Collects the reads and writes of a simulation and encodes them as Fabric does
//! (`rwsetutil.RWSetBuilder`): sorted by name, range queries in call order, so that all peers
//! endorse the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_protos::kvrwset::range_query_info::ReadsInfo;
use fabric_protos::kvrwset::{
    HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash,
    KvrwSet, QueryReads, RangeQueryInfo,
};
use fabric_protos::prost::Message as _;
use fabric_protos::rwset;

use super::hash::digest;
use super::range_reads::Collected;
use super::version::Version;

/// A key's metadata entries by name.
pub(crate) type Metadata = BTreeMap<String, Bytes>;

/// The read-write sets of a running transaction.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    reads: BTreeMap<String, Option<Version>>,
    ranges: Vec<RangeQueryInfo>,
    writes: BTreeMap<String, Bytes>,
    metadata: BTreeMap<String, Metadata>,
    collections: BTreeMap<String, Collection>,
}

#[derive(Debug, Default)]
struct Collection {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, PrivateWrite>,
    metadata: BTreeMap<String, Metadata>,
}

#[derive(Debug)]
struct PrivateWrite {
    value: Bytes,
    purge: bool,
}

impl Builder {
    pub(crate) fn read(&mut self, namespace: &str, key: &str, version: Option<Version>) {
        self.namespace(namespace).reads.insert(key.to_owned(), version);
    }

    /// An empty value deletes.
    pub(crate) fn write(&mut self, namespace: &str, key: &str, value: Bytes) {
        self.namespace(namespace).writes.insert(key.to_owned(), value);
    }

    pub(crate) fn write_metadata(&mut self, namespace: &str, key: &str, metadata: Metadata) {
        self.namespace(namespace).metadata.insert(key.to_owned(), metadata);
    }

    /// Repeated queries of the same range with the same end are recorded once.
    pub(crate) fn range(&mut self, namespace: &str, start: &str, end: &str, exhausted: bool, reads: Collected) {
        let ranges = &mut self.namespace(namespace).ranges;
        if ranges
            .iter()
            .any(|range| range.start_key == start && range.end_key == end && range.itr_exhausted == exhausted)
        {
            return;
        }
        let reads_info = match reads {
            Collected::Nothing => None,
            Collected::Raw(kv_reads) => Some(ReadsInfo::RawReads(QueryReads { kv_reads })),
            Collected::Hashed(summary) => Some(ReadsInfo::ReadsMerkleHashes(summary)),
        };
        let (start_key, end_key) = (start.to_owned(), end.to_owned());
        ranges.push(RangeQueryInfo { start_key, end_key, itr_exhausted: exhausted, reads_info });
    }

    pub(crate) fn private_read(&mut self, namespace: &str, collection: &str, key: &str, version: Option<Version>) {
        self.collection(namespace, collection).reads.insert(key.to_owned(), version);
    }

    /// An empty value deletes.
    pub(crate) fn private_write(&mut self, namespace: &str, collection: &str, key: &str, value: Bytes) {
        let write = PrivateWrite { value, purge: false };
        self.collection(namespace, collection).writes.insert(key.to_owned(), write);
    }

    pub(crate) fn purge(&mut self, namespace: &str, collection: &str, key: &str) {
        let write = PrivateWrite { value: Bytes::new(), purge: true };
        self.collection(namespace, collection).writes.insert(key.to_owned(), write);
    }

    pub(crate) fn private_metadata(&mut self, namespace: &str, collection: &str, key: &str, metadata: Metadata) {
        self.collection(namespace, collection).metadata.insert(key.to_owned(), metadata);
    }

    /// The encoded public set, and the private set if private data was written.
    pub(crate) fn finish(self) -> (Bytes, Option<rwset::TxPvtReadWriteSet>) {
        let mut public = Vec::with_capacity(self.namespaces.len());
        let mut private = Vec::new();
        for (name, namespace) in self.namespaces {
            let (opened, sealed) = namespace.finish(name);
            public.push(opened);
            private.extend(sealed);
        }
        let data_model = rwset::tx_read_write_set::DataModel::Kv.into();
        let public = rwset::TxReadWriteSet { data_model, ns_rwset: public };
        let private = (!private.is_empty()).then_some(rwset::TxPvtReadWriteSet { data_model, ns_pvt_rwset: private });
        (public.encode_to_vec().into(), private)
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.namespaces.entry(name.to_owned()).or_default()
    }

    fn collection(&mut self, namespace: &str, name: &str) -> &mut Collection {
        self.namespace(namespace).collections.entry(name.to_owned()).or_default()
    }
}

impl Namespace {
    fn finish(self, name: String) -> (rwset::NsReadWriteSet, Option<rwset::NsPvtReadWriteSet>) {
        let set = KvrwSet {
            reads: self.reads.into_iter().map(|(key, version)| read(key, version)).collect(),
            range_queries_info: self.ranges,
            writes: self.writes.into_iter().map(|(key, value)| write(key, &value)).collect(),
            metadata_writes: self
                .metadata
                .into_iter()
                .map(|(key, metadata)| KvMetadataWrite { key, entries: entries(metadata) })
                .collect(),
        };
        let mut hashed = Vec::with_capacity(self.collections.len());
        let mut private = Vec::new();
        for (collection, content) in self.collections {
            let (opened, sealed) = content.finish(collection);
            hashed.push(opened);
            private.extend(sealed);
        }
        let private = (!private.is_empty())
            .then(|| rwset::NsPvtReadWriteSet { namespace: name.clone(), collection_pvt_rwset: private });
        let rwset = set.encode_to_vec();
        (rwset::NsReadWriteSet { namespace: name, rwset, collection_hashed_rwset: hashed }, private)
    }
}

impl Collection {
    fn finish(self, name: String) -> (rwset::CollectionHashedReadWriteSet, Option<rwset::CollectionPvtReadWriteSet>) {
        let private = self.private(&name);
        let hashed = HashedRwSet {
            hashed_reads: self.reads.into_iter().map(|(key, version)| hashed_read(&key, version)).collect(),
            hashed_writes: self.writes.iter().map(|(key, write)| hashed_write(key, write)).collect(),
            metadata_writes: self
                .metadata
                .into_iter()
                .map(|(key, metadata)| KvMetadataWriteHash {
                    key_hash: digest(key.as_bytes()).to_vec(),
                    entries: entries(metadata),
                })
                .collect(),
        };
        let public = rwset::CollectionHashedReadWriteSet {
            collection_name: name,
            hashed_rwset: hashed.encode_to_vec(),
            pvt_rwset_hash: private.as_ref().map(|set| digest(&set.rwset).to_vec()).unwrap_or_default(),
        };
        (public, private)
    }

    /// Metadata is public, by hash; the private set only names the key.
    fn private(&self, name: &str) -> Option<rwset::CollectionPvtReadWriteSet> {
        if self.writes.is_empty() && self.metadata.is_empty() {
            return None;
        }
        let set = KvrwSet {
            writes: self.writes.iter().map(|(key, written)| write(key.clone(), &written.value)).collect(),
            metadata_writes: self
                .metadata
                .keys()
                .map(|key| KvMetadataWrite { key: key.clone(), entries: Vec::new() })
                .collect(),
            ..KvrwSet::default()
        };
        Some(rwset::CollectionPvtReadWriteSet { collection_name: name.to_owned(), rwset: set.encode_to_vec() })
    }
}

/// A read in the set's encoding.
pub(crate) fn read(key: String, version: Option<Version>) -> KvRead {
    KvRead { key, version: version.map(Into::into) }
}

fn write(key: String, value: &Bytes) -> KvWrite {
    KvWrite { key, is_delete: value.is_empty(), value: value.to_vec() }
}

fn hashed_read(key: &str, version: Option<Version>) -> KvReadHash {
    KvReadHash { key_hash: digest(key.as_bytes()).to_vec(), version: version.map(Into::into) }
}

fn hashed_write(key: &str, write: &PrivateWrite) -> KvWriteHash {
    let is_delete = write.value.is_empty();
    KvWriteHash {
        key_hash: digest(key.as_bytes()).to_vec(),
        is_delete,
        value_hash: if is_delete { Vec::new() } else { digest(&write.value).to_vec() },
        is_purge: write.purge,
    }
}

fn entries(metadata: Metadata) -> Vec<KvMetadataEntry> {
    metadata.into_iter().map(|(name, value)| KvMetadataEntry { name, value: value.into() }).collect()
}
