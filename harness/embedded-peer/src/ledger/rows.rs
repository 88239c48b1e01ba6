//! Lazily read query results. Rows that are not requested are not recorded as read.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use fabric_protos::queryresult::Kv;

use super::key::Key;
use super::state::{Values, VersionedValue};

/// The number of results that the peer gives a chaincode at a time (`MaxResultLimit`).
pub const BATCH_SIZE: usize = 100;

/// The maximum number of results of a query (`ledger.state.totalQueryLimit`).
pub const TOTAL_QUERY_LIMIT: usize = 100_000;

/// The results of a query of one [`Simulation`](super::Simulation): see
/// [`next`](super::Simulation::next) and [`batch`](super::Simulation::batch).
pub struct Rows {
    pub(crate) namespace: String,
    pub(crate) source: Source,
    /// What to record for each row.
    pub(crate) record: Record,
    /// A result that was read ahead and did not fit into the batch.
    pub(crate) pending: Option<Kv>,
    pub(crate) returned: usize,
}

/// A batch of results.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// At most [`BATCH_SIZE`].
    pub rows: Vec<Kv>,
    /// Whether there is another batch.
    pub more: bool,
}

/// A page of query results.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// At most the page size.
    pub rows: Vec<Kv>,
    /// Where the next page starts; empty after the last page of a range.
    pub bookmark: String,
}

pub(crate) enum Source {
    Range(Cursor),
    Found(VecDeque<(Key, Arc<VersionedValue>)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// Nothing: reads of private data are not checked.
    Nothing,
    /// A read for each row.
    Reads,
    /// The range query with this number.
    Range(usize),
}

/// A cursor in a range of an immutable map. Reads a batch ahead to avoid searches.
pub(crate) struct Cursor {
    values: Option<Values>,
    next: Bound<Key>,
    end: String,
    ahead: VecDeque<(Key, Arc<VersionedValue>)>,
}

impl Cursor {
    pub(crate) fn new(values: Option<&Values>, start: &str, end: &str) -> Self {
        let next = Bound::Included(Key::from(start));
        Self { values: values.cloned(), next, end: end.to_owned(), ahead: VecDeque::new() }
    }

    pub(crate) fn next(&mut self) -> Option<(Key, Arc<VersionedValue>)> {
        if self.ahead.is_empty() {
            self.look_ahead();
        }
        self.ahead.pop_front()
    }

    /// The next key, if there is one.
    pub(crate) fn peek(&mut self) -> Option<&Key> {
        if self.ahead.is_empty() {
            self.look_ahead();
        }
        self.ahead.front().map(|(key, _)| key)
    }

    fn look_ahead(&mut self) {
        let Some(values) = &self.values else { return };
        let from = match &self.next {
            Bound::Included(key) => Bound::Included(key.as_bytes()),
            Bound::Excluded(key) => Bound::Excluded(key.as_bytes()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let found = values.range(from, self.end.as_bytes()).take(BATCH_SIZE + 1);
        self.ahead.extend(found.map(|(key, value)| (key.clone(), Arc::clone(value))));
        match self.ahead.back() {
            Some((last, _)) => self.next = Bound::Excluded(last.clone()),
            None => self.values = None,
        }
    }
}

impl Rows {
    /// The next row and the version of its value.
    pub(crate) fn take(&mut self) -> Option<(Key, Arc<VersionedValue>)> {
        match &mut self.source {
            Source::Range(cursor) => cursor.next(),
            Source::Found(found) => found.pop_front(),
        }
    }
}
