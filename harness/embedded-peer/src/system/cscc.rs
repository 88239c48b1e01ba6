//! `cscc`: the channels of a peer (`core/scc/cscc/configure.go`). Peers join channels by genesis
//! block; snapshots are not supported.

use fabric_protos::common::{
    Block, BlockMetadataIndex, ConfigEnvelope, Envelope, HeaderType, Metadata, OrdererBlockMetadata, Payload,
};
use fabric_protos::protos::{ChannelInfo, ChannelQueryResponse, Response};
use prost::Message as _;
use std::sync::Arc;

use super::{Caller, failure, success};
use crate::envelope::decode;
use crate::ledger::Ledger;
use crate::peer::Peer;

/// The chaincode's name.
pub(crate) const NAME: &str = "cscc";

const JOIN_CHAIN: &str = "JoinChain";
const JOIN_BY_SNAPSHOT: &str = "JoinChainBySnapshot";
const JOIN_STATUS: &str = "JoinBySnapshotStatus";
const GET_CONFIG_BLOCK: &str = "GetConfigBlock";
const GET_CHANNEL_CONFIG: &str = "GetChannelConfig";
const GET_CHANNELS: &str = "GetChannels";

/// Answers a call.
pub(crate) fn invoke(peer: &Arc<Peer>, caller: &Caller, arguments: &[Vec<u8>]) -> Response {
    answer(peer, caller, arguments).map_or_else(failure, success)
}

fn answer(peer: &Arc<Peer>, caller: &Caller, arguments: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let miscounted = || format!("Incorrect number of arguments, {}", arguments.len());
    let (function, rest) = arguments.split_first().ok_or_else(miscounted)?;
    let function = String::from_utf8_lossy(function);
    let argument = rest.first();
    if argument.is_none() && ![GET_CHANNELS, JOIN_STATUS].contains(&&*function) {
        return Err(miscounted());
    }
    let argument = argument.map(Vec::as_slice).unwrap_or_default();
    if caller.called != NAME {
        let original = &caller.called;
        return Err(format!("Rejecting invoke of CSCC from another chaincode, original invocation for '{original}'"));
    }
    let channel = String::from_utf8_lossy(argument);
    let allowed = |channel: &str| caller.check(peer, &format!("{NAME}/{function}"), channel);
    let denied = |error| format!("access denied for [{function}][{channel}]: {error}");
    match &*function {
        JOIN_CHAIN => {
            let (name, block) = genesis(argument)?;
            allowed("").map_err(|error| format!("access denied for [{function}][{name}]: [{error}]"))?;
            peer.join(&name, block)?;
            Ok(Vec::new())
        }
        JOIN_BY_SNAPSHOT => {
            if argument.is_empty() {
                return Err("Cannot join the channel, no snapshot directory provided".to_owned());
            }
            allowed("").map_err(|error| format!("access denied for [{function}]: [{error}]"))?;
            Err(format!("cannot create ledger from snapshot {channel}: this peer keeps its ledgers in memory"))
        }
        JOIN_STATUS => {
            allowed("").map_err(|error| format!("access denied for [{function}]: {error}"))?;
            // An empty JoinBySnapshotStatus: none is in progress.
            Ok(Vec::new())
        }
        GET_CONFIG_BLOCK => {
            allowed(&channel).map_err(denied)?;
            let joined = peer.channel(&channel).ok_or_else(|| format!("Unknown channel ID, {channel}"))?;
            Ok(config_block(&joined.ledger)?.encode_to_vec())
        }
        GET_CHANNEL_CONFIG => {
            if argument.is_empty() {
                return Err("empty channel name provided".to_owned());
            }
            allowed(&channel).map_err(denied)?;
            let joined = peer.channel(&channel).ok_or_else(|| format!("unknown channel ID, {channel}"))?;
            Ok(joined.config().config().encode_to_vec())
        }
        GET_CHANNELS => {
            allowed("").map_err(|error| format!("access denied for [{function}]: {error}"))?;
            let channels = peer.channels().into_iter().map(|channel_id| ChannelInfo { channel_id }).collect();
            Ok(ChannelQueryResponse { channels }.encode_to_vec())
        }
        _ => Err(format!("Requested function {function} not found.")),
    }
}

/// A channel's name and genesis block, checked without the peer.
fn genesis(block: &[u8]) -> Result<(String, Block), String> {
    let block: Block =
        decode("Block", block).map_err(|error| format!("Failed to reconstruct the genesis block, {error}"))?;
    let name = channel_in(&block).map_err(|error| {
        format!("\"JoinChain\" request failed to extract channel id from the block due to [{error}]")
    })?;
    validate(&block).map_err(|error| {
        format!(
            "\"JoinChain\" for channelID = {name} failed because of validation of configuration block, because of {error}"
        )
    })?;
    Ok((name, block))
}

fn first_envelope(block: &Block) -> Result<Envelope, String> {
    let data = block.data.as_ref().ok_or("block data is nil")?;
    let envelope = data.data.first().ok_or("envelope index out of bounds")?;
    decode("Envelope", envelope)
}

fn channel_in(block: &Block) -> Result<String, String> {
    let data = block.data.as_ref().map(|data| &data.data).filter(|data| !data.is_empty());
    data.ok_or("failed to retrieve channel id - block is empty")?;
    let payload: Payload = decode("Payload", &first_envelope(block)?.payload)?;
    let header = payload.header.ok_or("failed to retrieve channel id - payload header is empty")?;
    let header: fabric_protos::common::ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    Ok(header.channel_id)
}

fn validate(block: &Block) -> Result<(), String> {
    let envelope = first_envelope(block).map_err(|error| format!("Failed to {error}"))?;
    let config = config_of(&envelope).map_err(|error| format!("Bad configuration envelope: {error}"))?;
    let group = config.config.ok_or("Nil config envelope Config")?.channel_group.ok_or("Nil channel group")?;
    if group.groups.is_empty() {
        return Err("No channel configuration groups are available".to_owned());
    }
    if !group.groups.contains_key("Application") {
        return Err("Invalid configuration block, missing Application configuration group".to_owned());
    }
    Ok(())
}

fn config_of(envelope: &Envelope) -> Result<ConfigEnvelope, String> {
    let payload: Payload = decode("Payload", &envelope.payload)?;
    let header = payload.header.ok_or("envelope must have a Header")?;
    let header: fabric_protos::common::ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    if header.r#type != i32::from(HeaderType::Config) {
        let kind = HeaderType::try_from(header.r#type).map_or("unknown", |kind| kind.as_str_name());
        return Err(format!("invalid type {kind}, expected CONFIG"));
    }
    decode("message for type CONFIG", &payload.data)
}

/// The channel's newest configuration block.
pub(crate) fn config_block(ledger: &Ledger) -> Result<Arc<Block>, String> {
    let newest = ledger.height().checked_sub(1).and_then(|number| ledger.block(number)).ok_or("the ledger is empty")?;
    let number = last_config(&newest.block)?;
    let missing = || format!("no such block number [{number}] in index");
    Ok(Arc::clone(&ledger.block(number).ok_or_else(missing)?.block))
}

/// The number of the newest configuration block, from the block's orderer metadata.
fn last_config(block: &Block) -> Result<u64, String> {
    let metadata =
        block.metadata.as_ref().and_then(|metadata| metadata.metadata.get(BlockMetadataIndex::Signatures as usize));
    let metadata: Metadata = decode("metadata", metadata.map(Vec::as_slice).unwrap_or_default())?;
    let value: OrdererBlockMetadata = decode("OrdererBlockMetadata", &metadata.value)?;
    Ok(value.last_config.map_or(0, |last| last.index))
}
