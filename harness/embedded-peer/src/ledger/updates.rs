//! The pending changes of a block. Later transactions of the block are checked against them, and
//! the commit hash and the next state are computed from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fabric_protos::kvrwset::{KvMetadataEntry, KvWrite, KvWriteHash};
use fabric_protos::prost::encoding::{WireType, encode_key, encode_varint};

use super::database::StateDatabase;
use super::key::Key;
use super::map::Map;
use super::sets::{ReadWriteSets, deletes, deletes_hash};
use super::state::{Collection, State, Values, VersionedValue, encode_metadata};
use super::version::Version;

/// The new value of a key, or its deletion.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) value: Option<Arc<VersionedValue>>,
    pub(crate) version: Version,
}

/// Changes by key.
pub(crate) type Changes = BTreeMap<Key, Update>;

/// The changes of a block.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    pub(crate) namespaces: BTreeMap<String, NamespaceUpdates>,
    /// The last purge of each key hash.
    pub(crate) purges: BTreeMap<Purge, Version>,
}

/// The changes of one chaincode.
#[derive(Debug, Default)]
pub(crate) struct NamespaceUpdates {
    pub(crate) public: Changes,
    pub(crate) hashed: BTreeMap<String, Changes>,
    pub(crate) private: BTreeMap<String, Changes>,
}

/// The hash of a purged private key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Purge {
    pub(crate) namespace: String,
    pub(crate) collection: String,
    pub(crate) key_hash: Key,
}

/// The change of one key by one transaction.
#[derive(Default)]
struct Operation<'set> {
    value: Option<&'set [u8]>,
    delete: bool,
    metadata: Option<&'set [KvMetadataEntry]>,
}

impl Update {
    pub(crate) fn put(value: Bytes, version: Version, metadata: Option<Bytes>) -> Self {
        Self { value: Some(Arc::new(VersionedValue { value, version, metadata })), version }
    }

    pub(crate) const fn delete(version: Version) -> Self {
        Self { value: None, version }
    }
}

impl Updates {
    pub(crate) fn public(&self, namespace: &str) -> Option<&Changes> {
        self.namespaces.get(namespace).map(|updates| &updates.public)
    }

    pub(crate) fn hashed(&self, namespace: &str, collection: &str) -> Option<&Changes> {
        self.namespaces.get(namespace)?.hashed.get(collection)
    }

    /// Adds the writes of a valid transaction. A value write keeps the key's metadata, a metadata
    /// write keeps its value, and metadata of a missing key is dropped (`validation.prepareTxOps`).
    pub(crate) fn apply(&mut self, sets: &ReadWriteSets, version: Version, state: &State) {
        for set in &sets.namespaces {
            let namespace = set.namespace.as_str();
            if !set.set.writes.is_empty() || !set.set.metadata_writes.is_empty() {
                let operations = operations(
                    set.set.writes.iter().map(|write| (write.key.as_bytes(), public_value(write))),
                    set.set.metadata_writes.iter().map(|write| (write.key.as_bytes(), write.entries.as_slice())),
                );
                let changes = &mut self.namespaces.entry(namespace.to_owned()).or_default().public;
                settle(operations, version, state.public(namespace), changes);
            }
            for collection in &set.collections {
                let hashed = &collection.hashed;
                if hashed.hashed_writes.is_empty() && hashed.metadata_writes.is_empty() {
                    continue;
                }
                let operations = operations(
                    hashed.hashed_writes.iter().map(|write| (write.key_hash.as_slice(), hashed_value(write))),
                    hashed.metadata_writes.iter().map(|write| (write.key_hash.as_slice(), write.entries.as_slice())),
                );
                let updates = self.namespaces.entry(namespace.to_owned()).or_default();
                let changes = updates.hashed.entry(collection.name.clone()).or_default();
                let stored = state.collection(namespace, &collection.name).map(|stored| &stored.hashed);
                settle(operations, version, stored, changes);
                for write in hashed.hashed_writes.iter().filter(|write| write.is_purge) {
                    let purge = Purge {
                        namespace: namespace.to_owned(),
                        collection: collection.name.clone(),
                        key_hash: Key::new(&write.key_hash),
                    };
                    self.purges.insert(purge, version);
                }
            }
        }
    }

    /// The input of the commit hash (`txmgr.deterministicBytesForPubAndHashUpdates`): all public
    /// and hashed changes in order, with each name only at its first change.
    pub(crate) fn deterministic_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // The empty namespace holds the channel configuration, which is not hashed.
        for (name, updates) in self.namespaces.iter().filter(|(name, _)| !name.is_empty()) {
            let mut namespace = name.as_str();
            encode_changes(&updates.public, &mut namespace, "", &mut out);
            for (collection, changes) in &updates.hashed {
                encode_changes(changes, &mut namespace, collection, &mut out);
            }
        }
        out
    }

    /// The state after the block.
    pub(crate) fn next_state(&self, state: &State, database: StateDatabase) -> State {
        let mut next = state.clone();
        for (name, updates) in &self.namespaces {
            let mut namespace = next.namespaces.get(name.as_bytes()).cloned().unwrap_or_default();
            change(&mut namespace.public, &updates.public, |value| database.stored(value));
            for (collection, changes) in &updates.hashed {
                with_collection(&mut namespace.collections, collection, |stored| {
                    change(&mut stored.hashed, changes, |_| None);
                });
            }
            for (collection, changes) in &updates.private {
                with_collection(&mut namespace.collections, collection, |stored| {
                    change(&mut stored.private, changes, |value| database.stored(value));
                    for (key, update) in changes {
                        let hash = super::hash::digest(key.as_bytes());
                        match &update.value {
                            Some(_) => stored.keys.insert(Key::new(&hash), key.clone()),
                            None => stored.keys.remove(&hash),
                        }
                    }
                });
            }
            next.namespaces.insert(Key::from(name.as_str()), namespace);
        }
        next
    }
}

fn public_value(write: &KvWrite) -> Option<&[u8]> {
    (!deletes(write)).then_some(write.value.as_slice())
}

fn hashed_value(write: &KvWriteHash) -> Option<&[u8]> {
    (!deletes_hash(write)).then_some(write.value_hash.as_slice())
}

fn operations<'set>(
    writes: impl Iterator<Item = (&'set [u8], Option<&'set [u8]>)>,
    metadata: impl Iterator<Item = (&'set [u8], &'set [KvMetadataEntry])>,
) -> BTreeMap<&'set [u8], Operation<'set>> {
    let mut operations = BTreeMap::<_, Operation<'set>>::new();
    for (key, value) in writes {
        let operation = operations.entry(key).or_default();
        operation.value = value;
        operation.delete = value.is_none();
    }
    for (key, entries) in metadata {
        operations.entry(key).or_default().metadata = Some(entries);
    }
    operations
}

fn settle(
    operations: BTreeMap<&[u8], Operation<'_>>,
    version: Version,
    stored: Option<&Values>,
    changes: &mut Changes,
) {
    for (key, operation) in operations {
        if operation.delete {
            changes.insert(Key::new(key), Update::delete(version));
            continue;
        }
        // A change earlier in the block, even a deletion, hides what is stored.
        let latest = || match changes.get(key) {
            Some(update) => update.value.clone(),
            None => stored.and_then(|stored| stored.get(key)).cloned(),
        };
        let written = operation.metadata.map(|entries| (!entries.is_empty()).then(|| encode_metadata(entries)));
        let update = match (operation.value, written) {
            (Some(value), Some(metadata)) => Update::put(Bytes::copy_from_slice(value), version, metadata),
            (Some(value), None) => {
                let metadata = latest().and_then(|latest| latest.metadata.clone());
                Update::put(Bytes::copy_from_slice(value), version, metadata)
            }
            (None, metadata) => match latest() {
                Some(latest) => Update::put(latest.value.clone(), version, metadata.flatten()),
                None => continue,
            },
        };
        changes.insert(Key::new(key), update);
    }
}

/// `rewrite` returns the stored form of a value, if it differs.
fn change(values: &mut Values, changes: &Changes, rewrite: impl Fn(&[u8]) -> Option<Bytes>) {
    for (key, update) in changes {
        match &update.value {
            Some(value) => match rewrite(&value.value) {
                Some(rewritten) => {
                    let value = VersionedValue { value: rewritten, ..VersionedValue::clone(value) };
                    values.insert(key.clone(), Arc::new(value));
                }
                None => values.insert(key.clone(), Arc::clone(value)),
            },
            None => values.remove(key.as_bytes()),
        }
    }
}

fn with_collection(collections: &mut Map<Collection>, name: &str, change: impl FnOnce(&mut Collection)) {
    let mut collection = collections.get(name.as_bytes()).cloned().unwrap_or_default();
    change(&mut collection);
    collections.insert(Key::from(name), collection);
}

/// Appends a `KVWrite` for each change: namespace 1, collection 2, key 3, deletion 4, value 5,
/// version 6.
fn encode_changes(changes: &Changes, namespace: &mut &str, collection: &str, out: &mut Vec<u8>) {
    let mut collection = collection;
    for (key, update) in changes {
        let mut write = BytesMut::new();
        let mut version = Vec::with_capacity(18);
        update.version.encode(&mut version);
        field(1, std::mem::take(namespace).as_bytes(), &mut write);
        field(2, std::mem::take(&mut collection).as_bytes(), &mut write);
        field(3, key.as_bytes(), &mut write);
        if let Some(value) = &update.value {
            field(5, &value.value, &mut write);
        } else {
            encode_key(4, WireType::Varint, &mut write);
            encode_varint(1, &mut write);
        }
        field(6, &version, &mut write);
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(write.len() as u64, out);
        out.extend_from_slice(&write);
    }
}

/// A bytes field; an empty one is omitted.
fn field(tag: u32, bytes: &[u8], out: &mut BytesMut) {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}
