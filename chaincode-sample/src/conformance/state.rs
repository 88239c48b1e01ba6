//! Calls of the world state.

use chaincode_shim::{Contract, EndorsementPolicy, Error, Json, Stub, composite_key};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entry, EntryPage, borrowed, entries, entry, page, text};

/// One change of a key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Modification {
    /// The value; empty for a deletion.
    value: String,
    /// Whether the key was deleted.
    is_delete: bool,
    /// The number of digits in its transaction ID.
    tx_id_digits: usize,
    /// Whether it has a timestamp.
    has_time: bool,
}

/// Adds the functions to the contract.
pub(super) fn functions(contract: Contract) -> Contract {
    contract
        .submit("PutState", |stub: Stub, key: String, value: String| async move { stub.put_state(&key, value).await })
        .evaluate("GetState", |stub: Stub, key: String| async move {
            Ok::<_, Error>(stub.get_state(&key).await?.as_ref().map(text))
        })
        .evaluate("GetMultipleStates", |stub: Stub, keys: Json<Vec<String>>| async move {
            let values = stub.get_multiple_states(&borrowed(&keys.0)).await?;
            Ok::<_, Error>(values.iter().map(|value| value.as_ref().map(text)).collect::<Vec<_>>())
        })
        .submit("DelState", |stub: Stub, key: String| async move { stub.delete_state(&key).await })
        .submit("ReadOwnWrite", |stub: Stub, key: String, value: String| async move {
            stub.put_state(&key, value).await?;
            Ok::<_, Error>(stub.get_state(&key).await?.is_some())
        })
        .submit("WriteBatch", write_batch)
        .evaluate("GetStateByRange", |stub: Stub, start: String, end: String| async move {
            entries(stub.get_state_by_range(&start, &end).await?).await
        })
        .evaluate("FirstOfRange", first_of_range)
        .evaluate("GetStateByRangeWithPagination", range_page)
        .submit("PageThenWrite", |stub: Stub| async move {
            let read = range_page(stub.clone(), String::new(), String::new(), 1, String::new()).await?;
            stub.put_state("never", "written").await?;
            Ok::<_, Error>(read)
        })
        .submit("PutComposite", |stub: Stub, kind: String, parts: Json<Vec<String>>, value: String| async move {
            stub.put_state(&composite_key(&kind, &borrowed(&parts.0))?, value).await
        })
        .evaluate("GetStateByPartialCompositeKey", |stub: Stub, kind: String, parts: Json<Vec<String>>| async move {
            entries(stub.get_state_by_partial_composite_key(&kind, &borrowed(&parts.0)).await?).await
        })
        .evaluate("GetStateByPartialCompositeKeyWithPagination", composite_page)
        .evaluate("GetAllStatesCompositeKeyWithPagination", |stub: Stub, size: i32, bookmark: String| async move {
            page(stub.get_all_states_composite_key_with_pagination(size, &bookmark).await?).await
        })
        .evaluate("GetQueryResult", |stub: Stub, query: String| async move {
            entries(stub.get_query_result(&query).await?).await
        })
        .evaluate("GetQueryResultWithPagination", |stub: Stub, query: String, size: i32, bookmark: String| async move {
            page(stub.get_query_result_with_pagination(&query, size, &bookmark).await?).await
        })
        .evaluate("PagesOfQuery", pages_of_query)
        .evaluate("GetHistoryForKey", history)
        .submit("SetStateValidationParameter", |stub: Stub, key: String, msp_ids: Json<Vec<String>>| async move {
            let policy = EndorsementPolicy::all_of(msp_ids.0.into_iter().map(EndorsementPolicy::peer));
            stub.set_state_validation_parameter(&key, policy).await
        })
        .evaluate("GetStateValidationParameter", |stub: Stub, key: String| async move {
            msp_ids(stub.get_state_validation_parameter(&key).await?)
        })
}

/// The MSP IDs in a policy.
pub(super) fn msp_ids(policy: Option<Vec<u8>>) -> Result<Option<Vec<String>>, Error> {
    let policy = policy.map(|policy| EndorsementPolicy::decode(&policy)).transpose()?;
    Ok(policy.map(|policy| policy.msp_ids().into_iter().map(str::to_owned).collect()))
}

/// Writes `count` keys with a prefix. Writes the first one twice, deletes the last one and sets a
/// policy for the second one.
async fn write_batch(stub: Stub, prefix: String, count: u32, msp_id: String) -> Result<(), Error> {
    let key = |number: u32| format!("{prefix}{number:04}");
    stub.start_write_batch();
    stub.put_state(&key(0), "overwritten").await?;
    for number in 0..count {
        stub.put_state(&key(number), number.to_string()).await?;
    }
    stub.delete_state(&key(count.saturating_sub(1))).await?;
    stub.set_state_validation_parameter(&key(1), EndorsementPolicy::peer(msp_id)).await?;
    stub.finish_write_batch().await?;
    Ok(())
}

/// Reads the first key of a range only, so that the cursor is closed early.
async fn first_of_range(stub: Stub, start: String, end: String) -> Result<Option<Entry>, Error> {
    let mut found = stub.get_state_by_range(&start, &end).await?;
    Ok(found.try_next().await?.map(entry))
}

async fn range_page(stub: Stub, start: String, end: String, size: i32, bookmark: String) -> Result<EntryPage, Error> {
    page(stub.get_state_by_range_with_pagination(&start, &end, size, &bookmark).await?).await
}

async fn composite_page(
    stub: Stub,
    kind: String,
    parts: Json<Vec<String>>,
    size: i32,
    bookmark: String,
) -> Result<EntryPage, Error> {
    let parts = borrowed(&parts.0);
    page(stub.get_state_by_partial_composite_key_with_pagination(&kind, &parts, size, &bookmark).await?).await
}

/// Returns the keys of each page until a page is empty.
async fn pages_of_query(stub: Stub, query: String, size: i32) -> Result<Vec<Vec<String>>, Error> {
    let mut pages = Vec::new();
    let mut bookmark = String::new();
    loop {
        let next = page(stub.get_query_result_with_pagination(&query, size, &bookmark).await?).await?;
        if next.entries.is_empty() {
            return Ok(pages);
        }
        pages.push(next.entries.into_iter().map(|entry| entry.key).collect());
        bookmark = next.bookmark;
    }
}

async fn history(stub: Stub, key: String) -> Result<Vec<Modification>, Error> {
    let found = stub.get_history_for_key(&key).await?;
    let changes = found.map_ok(|change| Modification {
        value: text(&change.value),
        is_delete: change.is_delete,
        tx_id_digits: change.tx_id.len(),
        has_time: change.timestamp.is_some(),
    });
    Ok(changes.try_collect().await?)
}
