//! The chaincode's ledger requests and their answers: state, private data, metadata, batches, calls
//! of other chaincodes. Queries have their own module.
//!
//! Follows Fabric's core/chaincode/handler.go, including the error texts.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::write_record;
use fabric_protos::protos::{
    ChaincodeMessage, ChaincodeSpec, DelState, GetState, GetStateMetadata, GetStateMultiple, GetStateMultipleResult,
    PutState, PutStateMetadata, StateMetadata, StateMetadataResult, WriteBatchState,
};

use super::queries;
use super::transaction::{Transaction, text};

/// Fabric's text for a panic in its handler.
const PANIC: &str = "panic during execution";

/// Whether a message is a ledger request.
pub(super) fn is_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetState
            | Type::GetStateMultiple
            | Type::PutState
            | Type::DelState
            | Type::WriteBatchState
            | Type::InvokeChaincode
            | Type::GetStateByRange
            | Type::GetQueryResult
            | Type::GetHistoryForKey
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetPrivateDataHash
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::PurgePrivateData
    )
}

/// Whether the answer may take so long that other transactions of the stream must not wait for it.
pub(super) fn is_long(kind: Type) -> bool {
    matches!(kind, Type::InvokeChaincode | Type::GetQueryResult | Type::GetHistoryForKey)
}

/// Answers a request with the payload of a RESPONSE.
pub(super) fn answer(
    transaction: &Transaction,
    message: &ChaincodeMessage,
    kind: Type,
    query_limit: i32,
) -> Result<Bytes, String> {
    match kind {
        Type::GetState => get_state(transaction, &decode(message)?),
        Type::GetStateMultiple => get_states(transaction, &decode(message)?),
        Type::GetPrivateDataHash => get_hash(transaction, &decode(message)?),
        Type::GetStateMetadata => {
            transaction.host.key_level_endorsement()?;
            get_metadata(transaction, &decode(message)?)
        }
        Type::PutState => {
            let PutState { key, value, collection } = decode(message)?;
            put(transaction, &collection, &key, value)
        }
        Type::DelState => {
            let DelState { key, collection } = decode(message)?;
            delete(transaction, &collection, &key)
        }
        Type::PurgePrivateData => {
            let DelState { key, collection } = decode(message)?;
            purge(transaction, &collection, &key)
        }
        Type::PutStateMetadata => {
            let PutStateMetadata { key, collection, metadata } = decode(message)?;
            transaction.host.key_level_endorsement()?;
            let metadata = metadata.ok_or(PANIC)?;
            put_metadata(transaction, &collection, &key, metadata)
        }
        Type::WriteBatchState => write_batch(transaction, decode(message)?),
        Type::GetStateByRange => queries::range(transaction, &decode(message)?, query_limit),
        Type::GetQueryResult => queries::rich(transaction, &decode(message)?, query_limit),
        Type::GetHistoryForKey => queries::history(transaction, &decode(message)?, query_limit),
        Type::QueryStateNext => queries::next(transaction, &decode(message)?, query_limit),
        Type::QueryStateClose => queries::close(transaction, &decode(message)?),
        _ => Err(PANIC.to_owned()),
    }
}

fn decode<M: Message + Default>(message: &ChaincodeMessage) -> Result<M, String> {
    M::decode(message.payload.clone()).map_err(|error| format!("unmarshal failed: proto: {error}"))
}

fn get_state(transaction: &Transaction, get: &GetState) -> Result<Bytes, String> {
    let GetState { key, collection } = get;
    let namespace = &transaction.namespace;
    let value = if collection.is_empty() {
        transaction.simulation().get_state(namespace, key)
    } else {
        transaction.check_private()?;
        transaction.check_read(collection)?;
        transaction.simulation().private_get(namespace, collection, key)
    };
    Ok(value.map_err(text)?.unwrap_or_default())
}

fn get_states(transaction: &Transaction, get: &GetStateMultiple) -> Result<Bytes, String> {
    let GetStateMultiple { keys, collection } = get;
    let (namespace, keys) = (&transaction.namespace, keys.iter().map(String::as_str));
    let values = if collection.is_empty() {
        transaction.simulation().get_states(namespace, keys)
    } else {
        transaction.check_private()?;
        transaction.check_read(collection)?;
        transaction.simulation().private_gets(namespace, collection, keys)
    };
    let values = values.map_err(text)?.into_iter().map(Option::unwrap_or_default).collect();
    Ok(GetStateMultipleResult { values }.encode_to_vec().into())
}

fn get_hash(transaction: &Transaction, get: &GetState) -> Result<Bytes, String> {
    transaction.check_private()?;
    transaction.look_up(&get.collection);
    let hash = transaction.simulation().private_hash(&transaction.namespace, &get.collection, &get.key);
    Ok(hash.map_err(text)?.unwrap_or_default())
}

fn get_metadata(transaction: &Transaction, get: &GetStateMetadata) -> Result<Bytes, String> {
    let GetStateMetadata { key, collection } = get;
    let namespace = &transaction.namespace;
    let metadata = if collection.is_empty() {
        transaction.simulation().metadata(namespace, key)
    } else {
        transaction.check_private()?;
        transaction.check_read(collection)?;
        transaction.simulation().private_metadata(namespace, collection, key)
    };
    let entries = metadata.map_err(text)?.into_iter();
    let entries = entries.map(|(metakey, value)| StateMetadata { metakey, value: value.to_vec() }).collect();
    Ok(StateMetadataResult { entries }.encode_to_vec().into())
}

fn put(transaction: &Transaction, collection: &str, key: &str, value: Bytes) -> Result<Bytes, String> {
    let namespace = &transaction.namespace;
    if collection.is_empty() {
        transaction.simulation().set_state(namespace, key, value).map_err(text)?;
    } else {
        transaction.check_private()?;
        transaction.check_write(collection)?;
        transaction.simulation().private_set(namespace, collection, key, value).map_err(text)?;
    }
    Ok(Bytes::new())
}

fn delete(transaction: &Transaction, collection: &str, key: &str) -> Result<Bytes, String> {
    let namespace = &transaction.namespace;
    if collection.is_empty() {
        transaction.simulation().delete_state(namespace, key).map_err(text)?;
    } else {
        transaction.check_private()?;
        transaction.check_write(collection)?;
        transaction.simulation().private_delete(namespace, collection, key).map_err(text)?;
    }
    Ok(Bytes::new())
}

fn purge(transaction: &Transaction, collection: &str, key: &str) -> Result<Bytes, String> {
    transaction.host.purge_private_data()?;
    if collection.is_empty() {
        return Err("only applicable for private data".to_owned());
    }
    transaction.check_private()?;
    transaction.check_write(collection)?;
    transaction.simulation().private_purge(&transaction.namespace, collection, key).map_err(text)?;
    Ok(Bytes::new())
}

fn put_metadata(
    transaction: &Transaction,
    collection: &str,
    key: &str,
    metadata: StateMetadata,
) -> Result<Bytes, String> {
    let namespace = &transaction.namespace;
    let metadata = BTreeMap::from([(metadata.metakey, Bytes::from(metadata.value))]);
    if collection.is_empty() {
        transaction.simulation().set_metadata(namespace, key, metadata).map_err(text)?;
    } else {
        transaction.check_private()?;
        transaction.check_write(collection)?;
        transaction.simulation().private_set_metadata(namespace, collection, key, metadata).map_err(text)?;
    }
    Ok(Bytes::new())
}

fn write_batch(transaction: &Transaction, batch: WriteBatchState) -> Result<Bytes, String> {
    for record in batch.rec {
        let (collection, key) = (&record.collection, &record.key);
        match write_record::Type::try_from(record.r#type) {
            Ok(write_record::Type::PutState) => put(transaction, collection, key, record.value)?,
            Ok(write_record::Type::DelState) => delete(transaction, collection, key)?,
            Ok(write_record::Type::PurgePrivateData) => purge(transaction, collection, key)?,
            Ok(write_record::Type::PutStateMetadata) => {
                transaction.host.key_level_endorsement()?;
                put_metadata(transaction, collection, key, record.metadata.unwrap_or_default())?
            }
            Ok(write_record::Type::Undefined) | Err(_) => return Err("unknown operation type".to_owned()),
        };
    }
    Ok(Bytes::new())
}

/// Calls another chaincode on this or another channel. The answer holds its final message, even if
/// that is an error.
pub(super) async fn invoke(transaction: &Transaction, message: &ChaincodeMessage) -> Result<Bytes, String> {
    let spec: ChaincodeSpec = decode(message)?;
    let target = spec.chaincode_id.ok_or(PANIC)?.name;
    let (name, channel) = target.split_once('/').unwrap_or((&target, ""));
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let channel = if channel.is_empty() { transaction.channel.as_str() } else { channel };
    let target = if channel == transaction.channel { name.to_owned() } else { format!("{name}/{channel}") };
    let input = spec.input.unwrap_or_default();
    let ended = transaction.host.invoke(&target, input, transaction.simulation.clone()).await?;
    Ok(ended.encode_to_vec().into())
}
