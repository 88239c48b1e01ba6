//! Range queries, rich queries and history of public data.

use fabric_protos::queryresult::{KeyModification, Kv};

use super::super::builder::read;
use super::super::database::StateDatabase;
use super::super::error::LedgerError;
use super::super::history;
use super::super::key::Key;
use super::super::mango::Query;
use super::super::range_reads::{MAX_DEGREE, RangeReads};
use super::super::rows::{BATCH_SIZE, Batch, Cursor, Page, Record, Rows, Source, TOTAL_QUERY_LIMIT};
use super::super::state::Values;
use super::{RangeQuery, Simulation};

impl Simulation {
    /// Public keys from `start` (inclusive) to `end` (exclusive). An empty `start` is the first
    /// key, an empty `end` is after the last. The rows read are checked for phantoms at commit.
    ///
    /// # Errors
    ///
    /// None in this version.
    pub fn range(&mut self, namespace: &str, start: &str, end: &str) -> Result<Rows, LedgerError> {
        let number = self.ranges.len();
        self.ranges.push(RangeQuery {
            namespace: namespace.to_owned(),
            start: start.to_owned(),
            end: end.to_owned(),
            seen: String::new(),
            exhausted: false,
            reads: RangeReads::new(MAX_DEGREE),
        });
        let cursor = Cursor::new(self.state.0.state.public(namespace), start, end);
        Ok(rows(namespace, Source::Range(cursor), Record::Range(number)))
    }

    /// At most `page_size` public keys of a range, starting at the bookmark if there is one. Only
    /// for transactions without writes.
    ///
    /// # Errors
    ///
    /// The transaction has written.
    pub fn range_page(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, LedgerError> {
        self.may_page()?;
        let start = if bookmark.is_empty() { start } else { bookmark };
        let mut rows = self.range(namespace, start, end)?;
        let page = self.take(&mut rows, limit(page_size))?;
        let Source::Range(cursor) = &mut rows.source else {
            return Ok(Page { rows: page, bookmark: String::new() });
        };
        // After the last row CouchDB's bookmark is the end of the range.
        let end = if self.shared.database == StateDatabase::CouchDb { end } else { "" };
        let bookmark = cursor.peek().map_or(end, Key::as_str).to_owned();
        Ok(Page { rows: page, bookmark })
    }

    /// The next row of a query, recorded as read.
    ///
    /// # Errors
    ///
    /// None in this version.
    pub fn next(&mut self, rows: &mut Rows) -> Result<Option<Kv>, LedgerError> {
        let taken = rows.take();
        if let Record::Range(number) = rows.record
            && let Some(range) = self.ranges.get_mut(number)
        {
            match &taken {
                Some((key, value)) => {
                    range.reads.add(read(key.as_str().to_owned(), Some(value.version)));
                    key.as_str().clone_into(&mut range.seen);
                }
                None => range.exhausted = true,
            }
        }
        let Some((key, value)) = taken else { return Ok(None) };
        if rows.record == Record::Reads {
            self.builder.read(&rows.namespace, key.as_str(), Some(value.version));
        }
        Ok(Some(Kv { namespace: rows.namespace.clone(), key: key_text(&key), value: value.value.clone() }))
    }

    /// The next results as the peer sends them to a chaincode: up to [`BATCH_SIZE`], reading one
    /// row ahead. Ends at [`TOTAL_QUERY_LIMIT`].
    ///
    /// # Errors
    ///
    /// See [`Self::next`].
    pub fn batch(&mut self, rows: &mut Rows) -> Result<Batch, LedgerError> {
        let mut batch: Vec<Kv> = rows.pending.take().into_iter().collect();
        while rows.returned < TOTAL_QUERY_LIMIT {
            let Some(row) = self.next(rows)? else { break };
            rows.returned += 1;
            if batch.len() == BATCH_SIZE {
                rows.pending = Some(row);
                return Ok(Batch { rows: batch, more: true });
            }
            batch.push(row);
        }
        Ok(Batch { rows: batch, more: false })
    }

    /// A rich query over public JSON values. Its results are recorded as reads, without phantom
    /// detection.
    ///
    /// # Errors
    ///
    /// The state database has no rich queries, or the query is invalid.
    pub fn query(&mut self, namespace: &str, query: &str) -> Result<Rows, LedgerError> {
        let found = self.ask(self.state.0.state.public(namespace), query)?;
        Ok(rows(namespace, found, Record::Reads))
    }

    /// A page of a rich query. Only for transactions without writes.
    ///
    /// # Errors
    ///
    /// The transaction has written; also see [`Self::query`].
    pub fn query_page(
        &mut self,
        namespace: &str,
        query: &str,
        page_size: i32,
        bookmark: &str,
    ) -> Result<Page, LedgerError> {
        self.may_page()?;
        if !self.shared.database.has_queries() {
            return Err(LedgerError::PagedQueryNotSupported);
        }
        let values = self.state.0.state.public(namespace);
        let answer = Query::parse(query)?.run(values, limit(page_size), bookmark)?;
        let mut found = rows(namespace, Source::Found(answer.rows.into()), Record::Reads);
        let page = self.take(&mut found, TOTAL_QUERY_LIMIT)?;
        Ok(Page { rows: page, bookmark: answer.bookmark })
    }

    /// All writes and deletions of a public key, newest first. Not recorded as read.
    ///
    /// # Errors
    ///
    /// A block cannot be read or decoded.
    pub fn history(&mut self, namespace: &str, key: &str) -> Result<Vec<KeyModification>, LedgerError> {
        history::of(&self.state.0, namespace, key)
    }

    /// Up to `limit` rows, without reading ahead, so that the range is not exhausted.
    pub(super) fn take(&mut self, rows: &mut Rows, limit: usize) -> Result<Vec<Kv>, LedgerError> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(row) = self.next(rows)? else { break };
            taken.push(row);
        }
        Ok(taken)
    }

    /// The results of a rich query over these values.
    pub(super) fn ask(&self, values: Option<&Values>, query: &str) -> Result<Source, LedgerError> {
        if !self.shared.database.has_queries() {
            return Err(LedgerError::QueryNotSupported);
        }
        let answer = Query::parse(query)?.run(values, TOTAL_QUERY_LIMIT, "")?;
        Ok(Source::Found(answer.rows.into()))
    }

    fn may_page(&mut self) -> Result<(), LedgerError> {
        if self.done.wrote {
            return Err(LedgerError::PageAfterWrite { transaction: self.transaction.clone() });
        }
        self.done.paged = true;
        Ok(())
    }
}

pub(super) fn rows(namespace: &str, source: Source, record: Record) -> Rows {
    Rows { namespace: namespace.to_owned(), source, record, pending: None, returned: 0 }
}

/// The number of rows of a page: a missing or invalid size means the maximum.
pub(super) fn limit(page_size: i32) -> usize {
    usize::try_from(page_size)
        .ok()
        .filter(|size| *size > 0)
        .map_or(TOTAL_QUERY_LIMIT, |size| size.min(TOTAL_QUERY_LIMIT))
}

fn key_text(key: &Key) -> String {
    key.as_str().to_owned()
}
