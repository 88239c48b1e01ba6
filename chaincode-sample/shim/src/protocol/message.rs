//! The messages that a chaincode sends, and the contents of READY.
//!
//! Only their form; the state machine decides when each one is sent.

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{self, ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage};
use prost::Message as _;

use super::{CallKind, Outcome, Route};
use crate::response::Response;

/// The answer to a transaction that arrives while the server stops.
pub(super) const STOPPING: &str = "the chaincode server is stopping";

/// What a peer of Fabric 3 offers in READY; all absent on 2.5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// The maximum number of writes in one `WRITE_BATCH_STATE`, if the peer accepts it.
    pub(crate) write_batch: Option<usize>,
    /// The maximum number of keys in one `GET_STATE_MULTIPLE`, if the peer accepts it.
    pub(crate) get_multiple: Option<usize>,
}

impl Features {
    /// Smaller offers are raised to this number, as in `shim/handler.go`.
    const MIN_SIZE: u32 = 100;

    /// Decodes READY's payload; an invalid payload offers nothing.
    pub(super) fn from_ready(payload: &[u8]) -> Self {
        let offer = ChaincodeAdditionalParams::decode(payload).unwrap_or_default();
        let size = |size: u32| usize::try_from(size.max(Self::MIN_SIZE)).ok();
        Self {
            write_batch: size(offer.max_size_write_batch).filter(|_| offer.use_write_batch),
            get_multiple: size(offer.max_size_get_multiple_keys).filter(|_| offer.use_get_multiple_keys),
        }
    }
}

pub(super) fn register(chaincode_id: &str) -> ChaincodeMessage {
    let id = ChaincodeId { name: chaincode_id.to_owned(), ..ChaincodeId::default() };
    ChaincodeMessage {
        r#type: Type::Register.into(),
        payload: id.encode_to_vec().into(),
        ..ChaincodeMessage::default()
    }
}

pub(super) fn new(kind: Type, route: &Route, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        channel_id: route.0.clone(),
        txid: route.1.clone(),
        ..ChaincodeMessage::default()
    }
}

pub(super) fn error((channel_id, txid): Route, reason: &str) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: Type::Error.into(),
        payload: Bytes::copy_from_slice(reason.as_bytes()),
        channel_id,
        txid,
        ..ChaincodeMessage::default()
    }
}

/// COMPLETED, or ERROR where the peer expects it: for a failed `init` and for a call that could not
/// be made.
pub(super) fn completion(kind: CallKind, route: &Route, outcome: Outcome, limit: usize) -> ChaincodeMessage {
    let message = match outcome {
        Outcome::Failed(reason) => error(route.clone(), &reason),
        Outcome::Answered { response, event } if kind == CallKind::Init && response.status >= Response::ERROR => {
            let mut message = error(route.clone(), &response.message);
            message.chaincode_event = event;
            message
        }
        Outcome::Answered { response, event } => {
            let payload = protos::Response::from(response).encode_to_vec();
            let mut message = new(Type::Completed, route, payload.into());
            message.chaincode_event = event;
            message
        }
    };
    let size = message.encoded_len();
    if size <= limit {
        return message;
    }
    error(route.clone(), &format!("the response has {size} bytes, the maximum is {limit}"))
}

/// A message's route and payload.
pub(super) fn split(message: ChaincodeMessage) -> (Route, Bytes) {
    ((message.channel_id, message.txid), message.payload)
}

/// The name of a message type, or its number if it has no name.
pub(super) fn type_name(kind: i32) -> String {
    Type::try_from(kind).map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned())
}

/// The first eight characters of a transaction ID, as in the peer's log.
pub(crate) fn short(txid: &str) -> &str {
    txid.char_indices().nth(8).map_or(txid, |(end, _)| &txid[..end])
}
