//! Calls of private data.

use chaincode_shim::{Contract, EndorsementPolicy, Error, Json, Stub, composite_key};

use super::state::msp_ids;
use super::{borrowed, entries, text};

/// Adds the functions to the contract.
pub(super) fn functions(contract: Contract) -> Contract {
    contract
        .submit("PutPrivateData", |stub: Stub, collection: String, key: String, value: String| async move {
            stub.put_private_data(&collection, &key, value).await
        })
        .submit("PutTransient", put_transient)
        .submit(
            "PutPrivateComposite",
            |stub: Stub, collection: String, kind: String, parts: Json<Vec<String>>, value: String| async move {
                stub.put_private_data(&collection, &composite_key(&kind, &borrowed(&parts.0))?, value).await
            },
        )
        .evaluate("GetPrivateData", |stub: Stub, collection: String, key: String| async move {
            Ok::<_, Error>(stub.get_private_data(&collection, &key).await?.as_ref().map(text))
        })
        .evaluate("GetMultiplePrivateData", |stub: Stub, collection: String, keys: Json<Vec<String>>| async move {
            let values = stub.get_multiple_private_data(&collection, &borrowed(&keys.0)).await?;
            Ok::<_, Error>(values.iter().map(|value| value.as_ref().map(text)).collect::<Vec<_>>())
        })
        .evaluate("GetPrivateDataHash", |stub: Stub, collection: String, key: String| async move {
            let hash = stub.get_private_data_hash(&collection, &key).await?;
            let digits =
                |hash: bytes::Bytes| hash.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            Ok::<_, Error>(hash.map(digits))
        })
        .submit("DelPrivateData", |stub: Stub, collection: String, key: String| async move {
            stub.delete_private_data(&collection, &key).await
        })
        .submit("PurgePrivateData", |stub: Stub, collection: String, key: String| async move {
            stub.purge_private_data(&collection, &key).await
        })
        .evaluate("GetPrivateDataByRange", |stub: Stub, collection: String, start: String, end: String| async move {
            entries(stub.get_private_data_by_range(&collection, &start, &end).await?).await
        })
        .evaluate(
            "GetPrivateDataByPartialCompositeKey",
            |stub: Stub, collection: String, kind: String, parts: Json<Vec<String>>| async move {
                let parts = borrowed(&parts.0);
                entries(stub.get_private_data_by_partial_composite_key(&collection, &kind, &parts).await?).await
            },
        )
        .evaluate("GetPrivateDataQueryResult", |stub: Stub, collection: String, query: String| async move {
            entries(stub.get_private_data_query_result(&collection, &query).await?).await
        })
        .submit(
            "SetPrivateDataValidationParameter",
            |stub: Stub, collection: String, key: String, msp_ids: Json<Vec<String>>| async move {
                let policy = EndorsementPolicy::all_of(msp_ids.0.into_iter().map(EndorsementPolicy::peer));
                stub.set_private_data_validation_parameter(&collection, &key, policy).await
            },
        )
        .evaluate("GetPrivateDataValidationParameter", |stub: Stub, collection: String, key: String| async move {
            msp_ids(stub.get_private_data_validation_parameter(&collection, &key).await?)
        })
}

/// Writes the value that the client sent as transient data.
async fn put_transient(stub: Stub, collection: String, key: String) -> Result<(), Error> {
    let value = stub.transient().get("value").cloned();
    let value = value.ok_or_else(|| Error::new("transient data is missing: send the value with the name \"value\""))?;
    Ok(stub.put_private_data(&collection, &key, value).await?)
}
