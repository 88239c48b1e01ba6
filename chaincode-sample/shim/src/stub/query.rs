//! Ranges, rich queries and histories: results as a [`Stream`].
//!
//! The peer sends results in portions and keeps a cursor while there are
//! more; the next portion is asked for when it is needed. A cursor that is
//! left open is closed when the stream is dropped.

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

use super::{Stub, StubError, decode};

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
    /// The transaction that made it.
    pub tx_id: String,
    /// The value; empty for a deletion.
    pub value: Bytes,
    /// The client's time stamp of that transaction.
    pub timestamp: Option<SystemTime>,
    /// Whether the key was deleted.
    pub is_delete: bool,
}

/// What a page of a query was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Results on this page.
    pub fetched_records_count: i32,
    /// Where the next page begins. After the last page of a range it is empty on
    /// `LevelDB`, and the range's end on `CouchDB`, where a further page has
    /// nothing: go on while pages are full.
    pub bookmark: String,
}

/// Keys and values that a query finds.
pub type StateResults = QueryResults<KeyValue>;

/// Changes of a key.
pub type HistoryResults = QueryResults<KeyModification>;

/// A result that the peer sends encoded.
pub trait QueryResult: Sized + Unpin {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// When these bytes are none.
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

type NextPortion = BoxFuture<'static, Result<QueryResponse, StubError>>;

/// Results of a query, as a [`Stream`] that ends after the first error.
#[must_use = "a query's results are read from the stream"]
pub struct QueryResults<R> {
    stub: Stub,
    id: String,
    portion: std::vec::IntoIter<QueryResultBytes>,
    /// Whether the peer still holds the cursor.
    open: bool,
    next: Option<NextPortion>,
    result: PhantomData<fn() -> R>,
}

impl<R: QueryResult> QueryResults<R> {
    pub(super) fn new(stub: Stub, first: QueryResponse) -> Self {
        Self {
            stub,
            id: first.id,
            portion: first.results.into_iter(),
            open: first.has_more,
            next: None,
            result: PhantomData,
        }
    }

    fn ask_next(&self) -> NextPortion {
        let stub = self.stub.clone();
        let request = QueryStateNext { id: self.id.clone() };
        Box::pin(async move {
            let answer = stub.ask(Type::QueryStateNext, &request).await?;
            decode(Type::QueryStateNext, answer)
        })
    }
}

impl<R: QueryResult> Stream for QueryResults<R> {
    type Item = Result<R, StubError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(encoded) = self.portion.next() {
                let result = R::read(encoded.result_bytes).map_err(|source| {
                    self.portion = Vec::new().into_iter();
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
                None => self.ask_next(),
            };
            let Poll::Ready(answer) = next.as_mut().poll(context) else {
                self.next = Some(next);
                return Poll::Pending;
            };
            match answer {
                Ok(response) => {
                    self.open = response.has_more;
                    self.portion = response.results.into_iter();
                }
                Err(error) => {
                    // The peer drops the cursor of a query that failed.
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
            self.stub.tell(Type::QueryStateClose, &request);
        }
    }
}

impl<R> Drop for QueryResults<R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A request for results, before it is sent.
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
        let first = self.first_portion(query).await?;
        Ok(QueryResults::new(self.clone(), first))
    }

    pub(super) async fn page(&self, query: Query) -> Result<(StateResults, Page), StubError> {
        let first = self.first_portion(query).await?;
        let metadata = Bytes::from(first.metadata.clone());
        let results = QueryResults::new(self.clone(), first);
        let page: QueryResponseMetadata = decode(Type::GetStateByRange, metadata)?;
        let page = Page { fetched_records_count: page.fetched_records_count, bookmark: page.bookmark };
        Ok((results, page))
    }

    async fn first_portion(&self, query: Query) -> Result<QueryResponse, StubError> {
        let Query { kind, collection, metadata } = query;
        let (kind, answer) = match kind {
            QueryKind::Range { start, end } => {
                let request = GetStateByRange { start_key: start, end_key: end, collection, metadata };
                let kind = Type::GetStateByRange;
                (kind, self.ask(kind, &request).await?)
            }
            QueryKind::Rich(query) => {
                let request = GetQueryResult { query, collection, metadata };
                let kind = Type::GetQueryResult;
                (kind, self.ask(kind, &request).await?)
            }
        };
        decode(kind, answer)
    }
}
