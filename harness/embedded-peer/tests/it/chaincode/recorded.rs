//! Replays recorded sessions of real peers and a chaincode. The test sends the chaincode's
//! messages; the peer's messages must match, except for times and hashes.

use bytes::Bytes;
use fabric_network::release::Release;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeInput, ChaincodeMessage, GetState, GetStateByRange, PutState, QueryResponse, QueryStateClose, Response,
};

use super::peer::{Peer, package};
use super::server::{ChaincodeProgram, Stream, request};

/// A recorded message.
#[derive(Debug)]
struct Recorded<'a> {
    line: &'a str,
    is_from_peer: bool,
    kind: &'a str,
}

impl<'a> Recorded<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(" s1 ")?;
        let (direction, rest) = rest.split_once(' ')?;
        let is_from_peer = match direction {
            "P>C" => true,
            "C>P" => false,
            _ => return None,
        };
        Some(Self { line, is_from_peer, kind: rest.split_whitespace().next()? })
    }

    /// The text between two others.
    fn between(&self, start: &str, end: &str) -> &'a str {
        let (_, rest) = self.line.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.line));
        rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {}", self.line)).0
    }

    fn size(&self, start: &str) -> usize {
        self.between(start, "B").parse().unwrap()
    }

    fn arguments(&self) -> Vec<&'a str> {
        self.between("args=[", "] ").split('"').skip(1).step_by(2).collect()
    }
}

/// A line without its variable parts.
fn comparable(line: &str) -> String {
    let (_, line) = line.split_once(" s1 ").unwrap();
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    for word in &mut words {
        if word.len() == "txid=".len() + 8 && word.starts_with("txid=") {
            "txid=ID".clone_into(word);
        }
        if let Some((start, rest)) = word.clone().split_once("basic_1.0:") {
            *word = format!("{start}basic_1.0:{}", &rest[64..]);
        }
    }
    words.join(" ")
}

/// Sends a recorded message of the chaincode and returns its writes.
fn send_recorded(
    stream: &Stream,
    call: &ChaincodeMessage,
    recorded_message: &Recorded<'_>,
    arguments: &[&str],
    last: &ChaincodeMessage,
) -> Option<(String, Vec<u8>)> {
    let (kind, payload, written) = match recorded_message.kind {
        "GET_STATE" => {
            let get = GetState { key: recorded_message.between("key=\"", "\"").to_owned(), ..GetState::default() };
            (Type::GetState, get.encode_to_vec(), None)
        }
        "PUT_STATE" => {
            let key = recorded_message.between("key=\"", "\"").to_owned();
            let value = vec![b'v'; recorded_message.size("value=")];
            let put = PutState { key: key.clone(), value: Bytes::from(value.clone()), ..PutState::default() };
            (Type::PutState, put.encode_to_vec(), Some((key, value)))
        }
        "GET_STATE_BY_RANGE" => {
            let (start_key, end_key) = (arguments[1].to_owned(), arguments[2].to_owned());
            let range = GetStateByRange { start_key, end_key, ..GetStateByRange::default() };
            (Type::GetStateByRange, range.encode_to_vec(), None)
        }
        "QUERY_STATE_CLOSE" => {
            let id = QueryResponse::decode(last.payload.clone()).unwrap().id;
            (Type::QueryStateClose, QueryStateClose { id }.encode_to_vec(), None)
        }
        "COMPLETED" => {
            let response = Response {
                status: recorded_message.between("status=", " ").parse().unwrap(),
                message: recorded_message.between("message=\"", "\"").to_owned(),
                payload: vec![b'p'; recorded_message.size("\" payload=")],
            };
            (Type::Completed, response.encode_to_vec(), None)
        }
        other => panic!("unsupported message {other}"),
    };
    stream.send(request(call, kind, payload));
    written
}

async fn replay(recording: &str, release: Release, recorded: usize) {
    let peer = Peer::with(|_, config| {
        config.release = release;
        config.runtime_parameters.use_write_batch = false;
        config.runtime_parameters.use_get_multiple_keys = false;
    });
    let mut events = peer.tracer.subscribe();
    let mut server = ChaincodeProgram::plain().await;
    let connection = format!(r#"{{"address":"{}"}}"#, server.address);
    let id = peer.install(&package("basic_1.0", &[("connection.json", &connection)])).await.unwrap();
    let launching = {
        let (support, id) = (peer.support.clone(), id.clone());
        tokio::spawn(async move { support.launch(&id).await })
    };
    let mut stream = server.register(&id).await;
    launching.await.unwrap().unwrap();

    // KEEPALIVEs depend on the time.
    let lines: Vec<&str> = recording.lines().filter(|line| !line.contains(" KEEPALIVE ")).collect();
    let messages: Vec<Recorded<'_>> = lines.iter().filter_map(|line| Recorded::parse(line)).collect();
    let starts: Vec<usize> =
        (0..messages.len()).filter(|index| matches!(messages[*index].kind, "TRANSACTION" | "INIT")).collect();
    let mut transactions = 0;
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(messages.len());
        let [first, rest @ ..] = &messages[*start..end] else { continue };
        let arguments = first.arguments();
        let transaction_id = format!("{number:064x}");
        let (mut call, _) = peer.call(&id, &transaction_id);
        let args = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        let is_init = first.kind == "INIT";
        call.input = ChaincodeInput { args, is_init, ..ChaincodeInput::default() };
        call.is_init = is_init;
        call.signed_proposal.proposal_bytes = vec![1; first.size("proposal=")];
        call.signed_proposal.signature = vec![2; first.size("sig=")];
        let executing = {
            let support = peer.support.clone();
            tokio::spawn(async move { support.execute(call).await })
        };
        let call = stream.next().await;
        let mut last = call.clone();
        let mut written = Vec::new();
        for message in rest {
            if message.is_from_peer {
                last = stream.next().await;
            } else {
                written.extend(send_recorded(&stream, &call, message, &arguments, &last));
            }
        }
        if rest.last().is_some_and(|message| message.kind == "COMPLETED") {
            executing.await.unwrap().unwrap();
        } else {
            executing.abort();
        }
        if !written.is_empty() {
            peer.commit(written.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
        }
        transactions += 1;
    }
    assert_eq!(transactions, recorded);
    let seen: Vec<String> = events
        .drain()
        .iter()
        .map(ToString::to_string)
        .filter(|line| line.contains(" s1 "))
        .map(|line| comparable(&line))
        .collect();
    let expected: Vec<String> =
        lines.iter().filter(|line| line.contains(" s1 ")).map(|line| comparable(line)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn messages_match_a_recorded_3_1_peer() {
    replay(include_str!("../../fixtures/messages-3.1.txt"), Release::V3_1, 11).await;
    replay(include_str!("../../fixtures/messages-init-keepalive-3.1.txt"), Release::V3_1, 12).await;
}

#[tokio::test]
async fn messages_match_a_recorded_2_5_peer() {
    replay(include_str!("../../fixtures/messages-2.5.txt"), Release::V2_5, 11).await;
    replay(include_str!("../../fixtures/messages-init-keepalive-2.5.txt"), Release::V2_5, 12).await;
}
