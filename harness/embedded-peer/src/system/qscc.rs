//! `qscc`: queries of a channel's ledger (`core/scc/qscc/query.go`).

use fabric_protos::common::Envelope;
use fabric_protos::protos::{ProcessedTransaction, Response};
use prost::Message as _;

use super::{Caller, failure, go, success};
use crate::ledger::Ledger;
use crate::peer::Peer;

/// The chaincode's name.
pub(crate) const NAME: &str = "qscc";

const GET_CHAIN_INFO: &str = "GetChainInfo";

/// Answers a call.
pub(crate) fn invoke(peer: &Peer, caller: &Caller, arguments: &[Vec<u8>]) -> Response {
    answer(peer, caller, arguments).map_or_else(failure, success)
}

fn answer(peer: &Peer, caller: &Caller, arguments: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let [function, channel, rest @ ..] = arguments else {
        return Err(format!("Incorrect number of arguments, {}", arguments.len()));
    };
    let (function, channel) = (String::from_utf8_lossy(function), String::from_utf8_lossy(channel));
    if caller.called != NAME {
        return Err(format!(
            "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '{}'",
            caller.called
        ));
    }
    let argument = rest.first().map(Vec::as_slice);
    if function != GET_CHAIN_INFO && argument.is_none() {
        return Err(format!("missing 3rd argument for {function}"));
    }
    let joined = peer.channel(&channel).ok_or_else(|| format!("Invalid chain ID, {channel}"))?;
    caller
        .check(peer, &format!("{NAME}/{function}"), &channel)
        .map_err(|error| format!("access denied for [{function}][{channel}]: [{error}]"))?;
    let ledger = &joined.ledger;
    let argument = argument.unwrap_or_default();
    match &*function {
        GET_CHAIN_INFO => Ok(ledger.info().encode_to_vec()),
        "GetBlockByNumber" => by_number(ledger, argument),
        "GetBlockByHash" => {
            let block = ledger.block_by_hash(argument).ok_or_else(|| {
                let (shown, hex) = (String::from_utf8_lossy(argument), hex::encode(argument));
                format!("Failed to get block hash {shown}, error no such block hash [{hex}] in index")
            })?;
            Ok(block.block.encode_to_vec())
        }
        "GetTransactionByID" => transaction(ledger, &String::from_utf8_lossy(argument)),
        "GetBlockByTxID" => {
            let id = String::from_utf8_lossy(argument);
            let block = ledger.transaction(&id).and_then(|location| ledger.block(location.block));
            let missing = || format!("Failed to get block for txID {id}, error no such transaction ID [{id}] in index");
            Ok(block.ok_or_else(missing)?.block.encode_to_vec())
        }
        _ => Err(format!("Requested function {function} not found.")),
    }
}

fn by_number(ledger: &Ledger, argument: &[u8]) -> Result<Vec<u8>, String> {
    let number = go::parse_uint(&String::from_utf8_lossy(argument))
        .map_err(|error| format!("Failed to parse block number with error {error}"))?;
    // The maximum number means the newest block.
    let wanted = if number == u64::MAX { ledger.height().saturating_sub(1) } else { number };
    let missing = || format!("Failed to get block number {number}, error no such block number [{number}] in index");
    Ok(ledger.block(wanted).ok_or_else(missing)?.block.encode_to_vec())
}

fn transaction(ledger: &Ledger, id: &str) -> Result<Vec<u8>, String> {
    let missing = || format!("Failed to get transaction with id {id}, error no such transaction ID [{id}] in index");
    let location = ledger.transaction(id).ok_or_else(missing)?;
    let block = ledger.block(location.block).ok_or_else(missing)?;
    let envelope = block.block.data.as_ref().and_then(|data| data.data.get(location.index)).ok_or_else(missing)?;
    let envelope = Envelope::decode(envelope.as_slice()).map_err(|error| error.to_string())?;
    let processed =
        ProcessedTransaction { transaction_envelope: Some(envelope), validation_code: location.code.into() };
    Ok(processed.encode_to_vec())
}
