//! The results of a query, given out one by one. What is never asked for is never recorded as read.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use fabric_protos::queryresult::Kv;

use super::key::Key;
use super::state::{Values, VersionedValue};

/// As many results the peer gives a chaincode at once (`MaxResultLimit`).
pub const BATCH_SIZE: usize = 100;

/// No query gives more results than this (`ledger.state.totalQueryLimit`).
pub const TOTAL_QUERY_LIMIT: usize = 100_000;

/// The results of a query of one [`Simulation`](super::Simulation), which gives them out: see
/// [`next`](super::Simulation::next) and [`batch`](super::Simulation::batch).
pub struct Rows {
    pub(crate) namespace: String,
    pub(crate) source: Source,
    /// What to note of each row.
    pub(crate) record: Record,
    /// A result that was taken but did not fit into a batch.
    pub(crate) pending: Option<Kv>,
    pub(crate) returned: usize,
}

/// Some results, and whether there are more.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// At most [`BATCH_SIZE`].
    pub rows: Vec<Kv>,
    /// Whether to ask again.
    pub more: bool,
}

/// Results of a query in pages.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// At most as many as the page size.
    pub rows: Vec<Kv>,
    /// Where the next page begins; empty after the last one of a range.
    pub bookmark: String,
}

pub(crate) enum Source {
    Range(Cursor),
    Found(VecDeque<(Key, Arc<VersionedValue>)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// Nothing: private data, whose reads are not checked.
    Nothing,
    /// A read each.
    Reads,
    /// The range query with this number.
    Range(usize),
}

/// A place in a range of an immutable map. Looks ahead a batch, so that it rarely searches.
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

    /// The key that comes next, if there is one.
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
