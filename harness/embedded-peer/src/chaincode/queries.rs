//! Queries whose results a chaincode reads in batches: ranges, rich queries, history.
//!
//! Follows Fabric's core/chaincode/handler.go and `query_response_generator.go`.

use std::sync::PoisonError;

use bytes::Bytes;
use fabric_protos::prost::Message;
use fabric_protos::protos::{
    GetHistoryForKey, GetQueryResult, GetStateByRange, QueryMetadata, QueryResponse, QueryResponseMetadata,
    QueryResultBytes, QueryStateClose, QueryStateNext,
};
use fabric_protos::queryresult::Kv;

use super::cursor::{Cursor, Source};
use super::transaction::{Transaction, query_id, text};

/// The requested page; `None` without pagination.
fn metadata(bytes: &[u8]) -> Result<QueryMetadata, String> {
    QueryMetadata::decode(bytes).map_err(|error| format!("unmarshal failed: proto: {error}"))
}

fn is_page(metadata: &QueryMetadata) -> bool {
    metadata.page_size != 0 || !metadata.bookmark.is_empty()
}

fn page_limit(metadata: &QueryMetadata, limit: i32) -> i32 {
    if metadata.page_size > 0 && metadata.page_size < limit { metadata.page_size } else { limit }
}

/// A range of keys.
pub(super) fn range(transaction: &Transaction, range: &GetStateByRange, limit: i32) -> Result<Bytes, String> {
    let metadata = metadata(&range.metadata)?;
    let GetStateByRange { start_key, end_key, collection, .. } = range;
    let namespace = &transaction.namespace;
    let limit = page_limit(&metadata, limit);
    let rows = if !collection.is_empty() {
        transaction.check_private()?;
        transaction.check_read(collection)?;
        transaction.simulation().private_range(namespace, collection, start_key, end_key)
    } else if is_page(&metadata) {
        let page = transaction.simulation().range_page(namespace, start_key, end_key, limit, &metadata.bookmark);
        let page = page.map_err(text)?;
        return Ok(page_response(page.rows, page.bookmark));
    } else {
        transaction.simulation().range(namespace, start_key, end_key)
    };
    first(transaction, Source::Rows(Box::new(rows.map_err(text)?)), limit)
}

/// A rich query.
pub(super) fn rich(transaction: &Transaction, query: &GetQueryResult, limit: i32) -> Result<Bytes, String> {
    let metadata = metadata(&query.metadata)?;
    let GetQueryResult { query, collection, .. } = query;
    let namespace = &transaction.namespace;
    let limit = page_limit(&metadata, limit);
    let rows = if !collection.is_empty() {
        transaction.check_private()?;
        transaction.check_read(collection)?;
        transaction.simulation().private_query(namespace, collection, query)
    } else if is_page(&metadata) {
        let page = transaction.simulation().query_page(namespace, query, limit, &metadata.bookmark);
        let page = page.map_err(text)?;
        return Ok(page_response(page.rows, page.bookmark));
    } else {
        transaction.simulation().query(namespace, query)
    };
    first(transaction, Source::Rows(Box::new(rows.map_err(text)?)), limit)
}

/// The history of a key.
pub(super) fn history(transaction: &Transaction, of: &GetHistoryForKey, limit: i32) -> Result<Bytes, String> {
    let found = transaction.simulation().history(&transaction.namespace, &of.key).map_err(text)?;
    first(transaction, Source::History(found.into()), limit)
}

/// The first batch of a query, which stays open if there are more results.
fn first(transaction: &Transaction, source: Source, limit: i32) -> Result<Bytes, String> {
    let id = query_id();
    let mut cursor = Cursor::new(source);
    let (results, has_more) = cursor.batch(&transaction.simulation, limit)?;
    if has_more {
        let mut cursors = transaction.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.insert(id.clone(), cursor);
    }
    Ok(response(results, has_more, id))
}

/// The next batch of an open query.
pub(super) fn next(transaction: &Transaction, next: &QueryStateNext, limit: i32) -> Result<Bytes, String> {
    let mut cursors = transaction.cursors.lock().unwrap_or_else(PoisonError::into_inner);
    let cursor = cursors.get_mut(&next.id).ok_or("query iterator not found")?;
    let batch = cursor.batch(&transaction.simulation, limit);
    if !matches!(batch, Ok((_, true))) {
        cursors.remove(&next.id);
    }
    let (results, has_more) = batch?;
    Ok(response(results, has_more, next.id.clone()))
}

/// Closes a query, if it is open.
#[allow(clippy::unnecessary_wraps, reason = "same signature as the other requests")]
pub(super) fn close(transaction: &Transaction, close: &QueryStateClose) -> Result<Bytes, String> {
    transaction.cursors.lock().unwrap_or_else(PoisonError::into_inner).remove(&close.id);
    Ok(response(Vec::new(), false, close.id.clone()))
}

fn response(results: Vec<QueryResultBytes>, has_more: bool, id: String) -> Bytes {
    QueryResponse { results, has_more, id, metadata: Vec::new() }.encode_to_vec().into()
}

/// A page, which is always sent complete.
fn page_response(rows: Vec<Kv>, bookmark: String) -> Bytes {
    let fetched_records_count = i32::try_from(rows.len()).unwrap_or(i32::MAX);
    let results = rows.into_iter().map(|row| QueryResultBytes { result_bytes: row.encode_to_vec().into() }).collect();
    let metadata = QueryResponseMetadata { fetched_records_count, bookmark }.encode_to_vec();
    QueryResponse { results, has_more: false, id: query_id(), metadata }.encode_to_vec().into()
}
