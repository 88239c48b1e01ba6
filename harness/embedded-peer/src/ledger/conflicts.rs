//! Fabric's multi-version checks of reads, range queries and private hashes, in Fabric's order
//! (`kvledger/txmgmt/validation`).

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use fabric_protos::kvrwset::range_query_info::ReadsInfo;
use fabric_protos::kvrwset::{self, KvRead, KvReadHash, QueryReadsMerkleSummary, RangeQueryInfo};
use fabric_protos::protos::TxValidationCode;

use super::builder::read;
use super::key::Key;
use super::range_reads::{Collected, RangeReads};
use super::sets::ReadWriteSets;
use super::state::{State, Values, VersionedValue};
use super::updates::{Changes, Update, Updates};
use super::version::Version;

/// The code of an otherwise valid transaction: VALID, `MVCC_READ_CONFLICT` or
/// `PHANTOM_READ_CONFLICT`.
pub(crate) fn check(sets: &ReadWriteSets, state: &State, updates: &Updates) -> TxValidationCode {
    for set in &sets.namespaces {
        let stored = state.public(&set.namespace);
        let changes = updates.public(&set.namespace);
        if !set.set.reads.iter().all(|read| holds(read, stored, changes)) {
            return TxValidationCode::MvccReadConflict;
        }
        if !set.set.range_queries_info.iter().all(|range| range_holds(range, stored, changes)) {
            return TxValidationCode::PhantomReadConflict;
        }
        for collection in &set.collections {
            let stored = state.collection(&set.namespace, &collection.name).map(|stored| &stored.hashed);
            let changes = updates.hashed(&set.namespace, &collection.name);
            if !collection.hashed.hashed_reads.iter().all(|read| hash_holds(read, stored, changes)) {
                return TxValidationCode::MvccReadConflict;
            }
        }
    }
    TxValidationCode::Valid
}

fn holds(read: &KvRead, stored: Option<&Values>, changes: Option<&Changes>) -> bool {
    unchanged(read.key.as_bytes(), read.version, stored, changes)
}

fn hash_holds(read: &KvReadHash, stored: Option<&Values>, changes: Option<&Changes>) -> bool {
    unchanged(&read.key_hash, read.version, stored, changes)
}

/// Any change earlier in the block is a conflict, even the deletion of a missing key.
fn unchanged(
    key: &[u8],
    version: Option<kvrwset::Version>,
    stored: Option<&Values>,
    changes: Option<&Changes>,
) -> bool {
    if changes.is_some_and(|changes| changes.contains_key(key)) {
        return false;
    }
    let committed = stored.and_then(|stored| stored.get(key)).map(|value| value.version);
    committed == version.map(Version::from)
}

fn range_holds(range: &RangeQueryInfo, stored: Option<&Values>, changes: Option<&Changes>) -> bool {
    let results = Combined::new(range, stored, changes);
    match &range.reads_info {
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => hashes_hold(summary, results),
        Some(ReadsInfo::RawReads(reads)) => reads_hold(&reads.kv_reads, results),
        None => reads_hold(&[], results),
    }
}

fn reads_hold(reads: &[KvRead], mut results: Combined<'_>) -> bool {
    reads.iter().all(|read| {
        // A missing version counts as 0:0. Fabric's validator would stop here.
        let expected = read.version.map_or(Version::new(0, 0), Version::from);
        results.next().is_some_and(|(key, version)| key.as_bytes() == read.key.as_bytes() && version == expected)
    }) && results.next().is_none()
}

/// Rebuilds the tree and stops at the first difference in its top level.
fn hashes_hold(summary: &QueryReadsMerkleSummary, results: Combined<'_>) -> bool {
    if summary.max_degree < 2 {
        return false;
    }
    let mut reads = RangeReads::new(summary.max_degree);
    let mut matched = 0;
    for (key, version) in results {
        reads.add(read(key.as_str().to_owned(), Some(version)));
        let (level, hashes) = reads.peek();
        if (level as u64) < u64::from(summary.max_level) || matched == hashes.len() {
            continue;
        }
        if hashes.get(matched).is_none() || hashes.get(matched) != summary.max_level_hashes.get(matched) {
            return false;
        }
        matched += 1;
    }
    reads.done() == Collected::Hashed(summary.clone())
}

/// Keys and their values in order.
type Entries<'state, T> = Peekable<Box<dyn Iterator<Item = (&'state Key, &'state T)> + 'state>>;

/// The entries of a range with the block's pending changes applied.
struct Combined<'state> {
    stored: Entries<'state, Arc<VersionedValue>>,
    changes: Entries<'state, Update>,
    /// The last key that the simulation read, if it stopped before the end of the range.
    last: Option<(Key, Version)>,
}

impl<'state> Combined<'state> {
    fn new(range: &RangeQueryInfo, stored: Option<&'state Values>, changes: Option<&'state Changes>) -> Self {
        let (start, end) = (range.start_key.as_bytes(), range.end_key.as_bytes());
        let kept = stored.map(|stored| stored.range(Bound::Included(start), end));
        let overlay = changes.map(|changes| changes_in(changes, start, end));
        let last = (!range.itr_exhausted).then(|| latest(end, stored, changes)).flatten();
        Self {
            stored: (Box::new(kept.into_iter().flatten()) as Box<dyn Iterator<Item = _>>).peekable(),
            changes: (Box::new(overlay.into_iter().flatten()) as Box<dyn Iterator<Item = _>>).peekable(),
            last,
        }
    }
}

fn changes_in<'state>(
    changes: &'state Changes,
    start: &[u8],
    end: &[u8],
) -> impl Iterator<Item = (&'state Key, &'state Update)> + use<'state> {
    let turned = !end.is_empty() && start >= end;
    let bound = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
    let range: Option<btree_map::Range<'_, _, _>> =
        (!turned).then(|| changes.range::<[u8], _>((Bound::Included(start), bound)));
    range.into_iter().flatten()
}

fn latest(key: &[u8], stored: Option<&Values>, changes: Option<&Changes>) -> Option<(Key, Version)> {
    let value = match changes.and_then(|changes| changes.get(key)) {
        Some(update) => update.value.as_ref(),
        None => stored.and_then(|stored| stored.get(key)),
    };
    value.map(|value| (Key::new(key), value.version))
}

impl Iterator for Combined<'_> {
    type Item = (Key, Version);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let change_first = match (self.stored.peek(), self.changes.peek()) {
                (None, None) => return self.last.take(),
                (Some((kept, _)), Some((changed, _))) => changed <= kept,
                (_, changed) => changed.is_some(),
            };
            if !change_first {
                return self.stored.next().map(|(key, value)| (key.clone(), value.version));
            }
            let Some((key, update)) = self.changes.next() else { continue };
            self.stored.next_if(|(kept, _)| *kept == key);
            if update.value.is_some() {
                return Some((key.clone(), update.version));
            }
        }
    }
}
