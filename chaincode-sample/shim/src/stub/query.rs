//! Results of ranges, rich queries and histories, as a [`Stream`].
//!
//! The peer sends results in batches and keeps a cursor while there are more. The next batch is
//! requested when it is needed. Dropping the stream closes its cursor.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    GetQueryResult, GetStateByRange, QueryMetadata, QueryResponse, QueryResponseMetadata, QueryResultBytes,
    QueryStateClose, QueryStateNext,
};
use fabric_protos::queryresult;
use futures::future::BoxFuture;
use futures::stream::Stream;
use prost::Message;

use super::{Stub, decode};
use crate::stub_error::StubError;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The chaincode's namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// One committed change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyModification {
    /// The ID of the transaction.
    pub tx_id: String,
    /// The value; empty for a deletion.
    pub value: Bytes,
    /// The client's timestamp of the transaction.
    pub timestamp: Option<SystemTime>,
    /// Whether the key was deleted.
    pub is_delete: bool,
}

/// Metadata of one page of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The number of results on this page.
    pub fetched_records_count: i32,
    /// The start of the next page. After the last page of a range it is empty on `LevelDB` and the
    /// range's end on CouchDB, where the next page is empty: continue while pages are full.
    pub bookmark: String,
}

/// Keys and values that a query has found.
///
/// ```
/// use chaincode_shim::{Error, Stub};
/// use futures::TryStreamExt;
///
/// async fn keys(stub: Stub) -> Result<Vec<String>, Error> {
///     let mut results = stub.get_state_by_range("a", "b").await?;
///     let mut keys = Vec::new();
///     while let Some(found) = results.try_next().await? {
///         keys.push(found.key);
///     }
///     Ok(keys)
/// }
/// ```
pub type StateResults = QueryResults<KeyValue>;

/// The committed changes of a key.
///
/// ```
/// use chaincode_shim::{Error, Stub};
/// use futures::TryStreamExt;
///
/// async fn transactions(stub: Stub, key: String) -> Result<Vec<String>, Error> {
///     let history = stub.get_history_for_key(&key).await?;
///     Ok(history.map_ok(|change| change.tx_id).try_collect().await?)
/// }
/// ```
pub type HistoryResults = QueryResults<KeyModification>;

/// A result as the peer encodes it.
pub trait QueryResult: Sized + Unpin {
    /// Decodes one result.
    ///
    /// # Errors
    ///
    /// When `bytes` are invalid.
    fn read(bytes: Bytes) -> Result<Self, prost::DecodeError>;
}

impl QueryResult for KeyValue {
    fn read(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let found = queryresult::Kv::decode(bytes)?;
        Ok(Self { namespace: found.namespace, key: found.key, value: found.value })
    }
}

impl QueryResult for KeyModification {
    fn read(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let found = queryresult::KeyModification::decode(bytes)?;
        Ok(Self {
            tx_id: found.tx_id,
            value: found.value,
            timestamp: found.timestamp.and_then(|time| time.try_into().ok()),
            is_delete: found.is_delete,
        })
    }
}

type NextBatch = BoxFuture<'static, Result<QueryResponse, StubError>>;

/// Results of a query, as a [`Stream`] that ends after the first error.
#[must_use = "a stream does nothing unless it is polled"]
pub struct QueryResults<R> {
    stub: Stub,
    id: String,
    batch: std::vec::IntoIter<QueryResultBytes>,
    /// Whether the peer still has the cursor.
    open: bool,
    next: Option<NextBatch>,
    result: PhantomData<fn() -> R>,
}

impl<R: QueryResult> QueryResults<R> {
    pub(super) fn new(stub: Stub, first: QueryResponse) -> Self {
        Self {
            stub,
            id: first.id,
            batch: first.results.into_iter(),
            open: first.has_more,
            next: None,
            result: PhantomData,
        }
    }

    fn request_next(&self) -> NextBatch {
        let stub = self.stub.clone();
        let request = QueryStateNext { id: self.id.clone() };
        Box::pin(async move {
            let answer = stub.request(Type::QueryStateNext, &request).await?;
            decode(Type::QueryStateNext, answer)
        })
    }
}

impl<R: QueryResult> Stream for QueryResults<R> {
    type Item = Result<R, StubError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(encoded) = self.batch.next() {
                let result = R::read(encoded.result_bytes).map_err(|source| {
                    self.batch = Vec::new().into_iter();
                    self.close();
                    StubError::Malformed { request: "a query", source }
                });
                return Poll::Ready(Some(result));
            }
            if !self.open {
                return Poll::Ready(None);
            }
            let mut next = match self.next.take() {
                Some(next) => next,
                None => self.request_next(),
            };
            let Poll::Ready(answer) = next.as_mut().poll(context) else {
                self.next = Some(next);
                return Poll::Pending;
            };
            match answer {
                Ok(response) => {
                    self.open = response.has_more;
                    self.batch = response.results.into_iter();
                }
                Err(error) => {
                    // The peer has dropped the cursor of a failed query.
                    self.open = false;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<R> QueryResults<R> {
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let request = QueryStateClose { id: std::mem::take(&mut self.id) };
            self.stub.notify(Type::QueryStateClose, &request);
        }
    }
}

impl<R> Drop for QueryResults<R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A query to send.
pub(super) struct Query {
    kind: QueryKind,
    collection: String,
    metadata: Vec<u8>,
}

enum QueryKind {
    Range { start: String, end: String },
    Rich(String),
}

impl Query {
    pub(super) fn range(collection: &str, start: String, end: String) -> Self {
        Self { kind: QueryKind::Range { start, end }, collection: collection.to_owned(), metadata: Vec::new() }
    }

    pub(super) fn rich(collection: &str, query: &str) -> Self {
        Self { kind: QueryKind::Rich(query.to_owned()), collection: collection.to_owned(), metadata: Vec::new() }
    }

    pub(super) fn page(mut self, page_size: i32, bookmark: &str) -> Self {
        let page = QueryMetadata { page_size, bookmark: bookmark.to_owned() };
        self.metadata = page.encode_to_vec();
        self
    }
}

impl Stub {
    pub(super) async fn query(&self, query: Query) -> Result<StateResults, StubError> {
        let first = self.first_batch(query).await?;
        Ok(QueryResults::new(self.clone(), first))
    }

    pub(super) async fn page(&self, query: Query) -> Result<(StateResults, Page), StubError> {
        let first = self.first_batch(query).await?;
        let metadata = Bytes::from(first.metadata.clone());
        let results = QueryResults::new(self.clone(), first);
        let page: QueryResponseMetadata = decode(Type::GetStateByRange, metadata)?;
        let page = Page { fetched_records_count: page.fetched_records_count, bookmark: page.bookmark };
        Ok((results, page))
    }

    async fn first_batch(&self, query: Query) -> Result<QueryResponse, StubError> {
        let Query { kind, collection, metadata } = query;
        let (kind, answer) = match kind {
            QueryKind::Range { start, end } => {
                let request = GetStateByRange { start_key: start, end_key: end, collection, metadata };
                let kind = Type::GetStateByRange;
                (kind, self.request(kind, &request).await?)
            }
            QueryKind::Rich(query) => {
                let request = GetQueryResult { query, collection, metadata };
                let kind = Type::GetQueryResult;
                (kind, self.request(kind, &request).await?)
            }
        };
        decode(kind, answer)
    }
}
