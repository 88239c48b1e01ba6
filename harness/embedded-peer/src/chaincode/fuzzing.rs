//! Entry points for fuzz targets and property tests: bytes from a chaincode's socket or from files.
//! Not part of the crate's API.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fabric_network::release::Release;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeAdditionalParams, ChaincodeId, ChaincodeInput, ChaincodeMessage, Proposal, SignedProposal,
};
use futures::future::BoxFuture;

use super::call::{Call, CollectionAccess, Host};
use super::connection::ServerInfo;
use super::frame::{Frames, framed};
use super::handler::{Command, Handler, Settings};
use super::package::Package;
use super::registry::Registry;
use super::requests;
use crate::faults::Faults;
use crate::ledger::{Ledger, SharedSimulation};
use crate::trace::Tracer;

const ID: &str = "fuzz:1";

/// The ID of the transaction in [`stream`].
pub const TRANSACTION: &str = "tx1";
/// Its channel.
pub const CHANNEL: &str = "ch";

struct StubHost;

impl Host for StubHost {
    fn collection(&self, _: &str, collection: &str) -> Result<CollectionAccess, String> {
        Ok(CollectionAccess { read: collection.len().is_multiple_of(2), write: collection.len().is_multiple_of(3) })
    }

    fn invoke(
        &self,
        _: &str,
        _: ChaincodeInput,
        _: SharedSimulation,
    ) -> BoxFuture<'_, Result<ChaincodeMessage, String>> {
        Box::pin(async { Ok(ChaincodeMessage::default()) })
    }
}

/// The result of a stream.
#[derive(Debug)]
pub struct StreamResult {
    /// The messages that the peer sent after READY, in order.
    pub sent: Vec<ChaincodeMessage>,
    /// Why the stream ended, if it did.
    pub ended: Option<String>,
    /// Whether the transaction's caller got an answer.
    pub is_done: bool,
}

/// Feeds bytes, in pieces of any size, to a chaincode stream that executes the transaction
/// [`TRANSACTION`].
///
/// # Panics
///
/// If the peer violates an invariant.
#[allow(clippy::unwrap_used, reason = "a panic is a finding")]
pub async fn stream(pieces: Vec<Bytes>) -> StreamResult {
    let settings = Settings {
        node: "peer0".into(),
        release: Release::V3_1,
        parameters: ChaincodeAdditionalParams::default(),
        total_query_limit: 1000,
        execute_timeout: Duration::from_mins(1),
        keepalive: None,
        tracer: Tracer::new(),
        faults: Faults::new(),
    };
    // The tracer must be able to render every event.
    let mut events = settings.tracer.subscribe();
    let registry = Arc::new(Registry::default());
    let _launching = registry.launching(ID);
    let (handler, mut commands) = Handler::new(Arc::new(settings), registry);
    let id = ChaincodeId { name: ID.to_owned(), ..ChaincodeId::default() };
    let register =
        ChaincodeMessage { r#type: Type::Register.into(), payload: id.encode_to_vec().into(), ..Default::default() };
    let mut out = Vec::new();
    handler.receive(register, 0, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    assert!(handler.is_ready());
    out.clear();

    let call = Call {
        channel: CHANNEL.to_owned(),
        transaction_id: TRANSACTION.to_owned(),
        chaincode: "cc".to_owned(),
        package_id: ID.to_owned(),
        input: ChaincodeInput::default(),
        is_init: false,
        signed_proposal: SignedProposal::default(),
        proposal: Proposal::default(),
        simulation: Arc::new(Mutex::new(Ledger::new(CHANNEL).simulate(TRANSACTION))),
        host: Arc::new(StubHost),
    };
    let executing = {
        let handler = handler.clone();
        tokio::spawn(async move { handler.execute(call).await })
    };
    // Discard the transaction message.
    assert!(commands.recv().await.is_some());

    let mut frames = Frames::default();
    let mut ended = None;
    'pieces: for piece in pieces {
        frames.push(piece);
        while let Some(next) = frames.next::<ChaincodeMessage>() {
            let before = out.len();
            let (result, is_long) = match next {
                Ok((message, total)) => {
                    let is_long = Type::try_from(message.r#type).is_ok_and(requests::is_long);
                    (handler.receive(message, total, &mut out), is_long)
                }
                Err(error) => (Err(error.to_string()), false),
            };
            // A chaincode waits for each answer; long requests are answered by other tasks.
            if is_long
                && result.is_ok()
                && before == out.len()
                && let Some(Command::Send(frame)) = commands.recv().await
            {
                out.push(frame);
            }
            if let Err(reason) = result {
                ended = Some(reason);
                break 'pieces;
            }
        }
    }
    handler.end();
    // Callers must not wait for a stream that has ended.
    let executed = executing.await.unwrap();
    drop(handler);
    while let Some(Command::Send(frame)) = commands.recv().await {
        out.push(frame);
    }
    for event in events.drain() {
        let _ = format!("{event:#}");
    }
    let mut sent_frames = Frames::default();
    let mut sent = Vec::new();
    for frame in out {
        sent_frames.push(frame);
        sent.push(sent_frames.next().unwrap().unwrap().0);
    }
    StreamResult { sent, ended, is_done: executed.is_ok() }
}

/// A message framed for the stream.
pub fn frame(message: &ChaincodeMessage) -> Bytes {
    framed(message).0
}

/// Parses bytes as an installed package.
pub fn package(bytes: &[u8]) {
    let _ = Package::parse(bytes);
}

/// Parses bytes as a connection.json, which is written to `path`.
pub fn connection(json: &[u8], path: &Path) {
    if std::fs::write(path, json).is_ok() {
        let _ = ServerInfo::read(path, true);
    }
}

#[cfg(test)]
mod tests {
    use fabric_protos::protos::{
        ChaincodeSpec, DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata,
        GetStateMultiple, PutState, PutStateMetadata, QueryStateClose, QueryStateNext, StateMetadata, WriteBatchState,
        WriteRecord,
    };
    use proptest::prelude::*;

    use super::*;

    fn run(pieces: Vec<Bytes>) -> StreamResult {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(stream(pieces))
    }

    fn payload() -> impl Strategy<Value = Vec<u8>> {
        let text = "[a-c]{0,3}";
        let query = GetQueryResult { query: "{\"selector\":{}}".to_owned(), ..GetQueryResult::default() };
        let spec = ChaincodeSpec { chaincode_id: Some(ChaincodeId::default()), ..ChaincodeSpec::default() };
        let record = WriteRecord { r#type: 9, key: "k".to_owned(), ..WriteRecord::default() };
        let metadata = PutStateMetadata { metadata: Some(StateMetadata::default()), ..PutStateMetadata::default() };
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..24),
            (text, text).prop_map(|(key, collection)| GetState { key, collection }.encode_to_vec()),
            (text, text).prop_map(|(key, collection)| DelState { key, collection }.encode_to_vec()),
            (text, text).prop_map(|(key, collection)| GetStateMetadata { key, collection }.encode_to_vec()),
            (text, text).prop_map(|(key, value)| {
                PutState { key, value: value.into(), ..PutState::default() }.encode_to_vec()
            }),
            (text, text).prop_map(|(start_key, end_key)| {
                GetStateByRange { start_key, end_key, ..GetStateByRange::default() }.encode_to_vec()
            }),
            prop::collection::vec(text, 0..4)
                .prop_map(|keys| GetStateMultiple { keys, ..GetStateMultiple::default() }.encode_to_vec()),
            text.prop_map(|key| GetHistoryForKey { key }.encode_to_vec()),
            text.prop_map(|id| QueryStateNext { id }.encode_to_vec()),
            text.prop_map(|id| QueryStateClose { id }.encode_to_vec()),
            Just(query.encode_to_vec()),
            Just(spec.encode_to_vec()),
            Just(metadata.encode_to_vec()),
            Just(WriteBatchState { rec: vec![record] }.encode_to_vec()),
        ]
    }

    fn message() -> impl Strategy<Value = ChaincodeMessage> {
        let kind = prop_oneof![20 => 6i32..26, 1 => any::<i32>()];
        let txid = prop_oneof![5 => Just(TRANSACTION.to_owned()), 1 => "[a-z]{0,3}"];
        (kind, txid, payload()).prop_map(|(kind, txid, payload)| ChaincodeMessage {
            r#type: kind,
            txid,
            channel_id: CHANNEL.to_owned(),
            payload: payload.into(),
            ..ChaincodeMessage::default()
        })
    }

    /// Whether the peer answers this message during the transaction.
    fn is_asked(message: &ChaincodeMessage) -> bool {
        !matches!(message.r#type(), Type::Completed | Type::Error | Type::Keepalive)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// For any sequence of requests: each gets exactly one RESPONSE or ERROR for its
        /// transaction, only forbidden messages end the stream, and the transaction's caller always
        /// gets a result.
        #[test]
        fn each_request_gets_one_answer(messages in prop::collection::vec(message(), 0..12)) {
            let result = run(messages.iter().map(frame).collect());
            let is_forbidden = |message: &ChaincodeMessage| !requests::is_request(message.r#type()) && is_asked(message);
            let before: Vec<&ChaincodeMessage> = messages.iter().take_while(|message| !is_forbidden(message)).collect();
            prop_assert_eq!(result.ended.is_some(), before.len() < messages.len());
            let mut asked: Vec<&str> =
                before.iter().filter(|message| is_asked(message)).map(|message| message.txid.as_str()).collect();
            let mut answered: Vec<&str> = result.sent.iter().map(|message| message.txid.as_str()).collect();
            asked.sort_unstable();
            answered.sort_unstable();
            prop_assert_eq!(answered, asked);
            for message in &result.sent {
                prop_assert!(matches!(message.r#type(), Type::Response | Type::Error));
                prop_assert_eq!(&message.channel_id, CHANNEL);
            }
            let is_ended = before.iter().any(|message| {
                matches!(message.r#type(), Type::Completed | Type::Error) && message.txid == TRANSACTION
            });
            prop_assert_eq!(result.is_done, is_ended);
        }

        #[test]
        fn damaged_messages_never_panic(message in message(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = frame(&message).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            run(vec![bytes.into()]);
        }

        #[test]
        fn any_connection_json_never_panics(json in "(?s).{0,64}|\\{\"address\":\"a\",\"dial_timeout\":.{0,12}\\}") {
            let directory = tempfile::tempdir().unwrap();
            connection(json.as_bytes(), &directory.path().join("connection.json"));
        }
    }
}
