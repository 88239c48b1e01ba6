//! Every message in every state, and the sequences that peers were seen to
//! send.

use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeId};
use proptest::prelude::*;

use super::*;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Who {
    name: &'static str,
    gone: bool,
}

impl Waiter for Who {
    fn is_gone(&self) -> bool {
        self.gone
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as `request` takes it")]
fn who(name: &'static str) -> Option<Who> {
    Some(Who { name, gone: false })
}

#[allow(clippy::unnecessary_wraps, reason = "as `request` takes it")]
fn gone(name: &'static str) -> Option<Who> {
    Some(Who { name, gone: true })
}

fn message(kind: Type, channel: &str, txid: &str, payload: &[u8]) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        channel_id: channel.to_owned(),
        txid: txid.to_owned(),
        payload: Bytes::copy_from_slice(payload),
        ..ChaincodeMessage::default()
    }
}

/// What comes out, one short line each.
fn outputs(protocol: &mut Protocol<Who>) -> Vec<String> {
    std::iter::from_fn(|| protocol.next_output())
        .map(|output| match output {
            Output::Send(message) => format!(
                "send {} {}/{} {}",
                message::type_name(message.r#type),
                message.channel_id,
                message.txid,
                String::from_utf8_lossy(&message.payload),
            ),
            Output::Start(call) => {
                format!("start {:?} {}/{}", call.kind, call.channel_id, call.txid)
            }
            Output::Answer(who, Ok(payload)) => {
                format!("answer {} {}", who.name, String::from_utf8_lossy(&payload))
            }
            Output::Answer(who, Err(error)) => format!("answer {} error: {error}", who.name),
            Output::End(reason) => format!("end {}", reason.unwrap_or_default()),
        })
        .map(|line| line.trim_end().to_owned())
        .collect()
}

fn limits(running: usize, waiting: usize) -> Limits {
    Limits { running, waiting, ..Limits::default() }
}

fn ready_with(limits: Limits) -> Protocol<Who> {
    let mut protocol = Protocol::new("basic:1", limits);
    protocol.receive(message(Type::Registered, "", "", b""));
    protocol.receive(message(Type::Ready, "", "", b""));
    outputs(&mut protocol);
    protocol
}

fn ready() -> Protocol<Who> {
    ready_with(Limits::default())
}

/// Starts a transaction and gives its name.
fn begin(protocol: &mut Protocol<Who>, channel: &str, txid: &str) -> TransactionId {
    protocol.receive(message(Type::Transaction, channel, txid, b""));
    let outputs: Vec<_> = std::iter::from_fn(|| protocol.next_output()).collect();
    match outputs.as_slice() {
        [Output::Start(call)] => call.id,
        other => panic!("expected a start, saw {other:?}"),
    }
}

fn ok(payload: &str) -> Outcome {
    Outcome::Answered {
        response: Response { status: 200, message: String::new(), payload: payload.into() },
        event: None,
    }
}

#[test]
fn the_first_message_is_register_with_the_package_id() {
    let mut protocol: Protocol<Who> = Protocol::new("basic:1", Limits::default());
    let Some(Output::Send(first)) = protocol.next_output() else {
        panic!("nothing was sent");
    };
    assert_eq!(first.r#type, i32::from(Type::Register));
    let id = ChaincodeId::decode(first.payload).unwrap();
    assert_eq!(id.name, "basic:1");
    assert_eq!(protocol.next_output(), None);
}

#[test]
fn ready_says_what_the_peer_offers() {
    let offer = |write, write_size, get, get_size| {
        ChaincodeAdditionalParams {
            use_write_batch: write,
            max_size_write_batch: write_size,
            use_get_multiple_keys: get,
            max_size_get_multiple_keys: get_size,
        }
        .encode_to_vec()
    };
    let read = |payload: &[u8]| {
        let mut protocol: Protocol<Who> = Protocol::new("basic:1", Limits::default());
        protocol.receive(message(Type::Registered, "", "", b""));
        protocol.receive(message(Type::Ready, "", "", payload));
        let features = protocol.features();
        (features.write_batch, features.get_multiple)
    };
    assert_eq!(read(b""), (None, None), "2.5");
    assert_eq!(read(&offer(true, 1000, true, 900)), (Some(1000), Some(900)));
    assert_eq!(read(&offer(false, 1000, false, 1000)), (None, None));
    assert_eq!(read(&offer(true, 1, true, 0)), (Some(100), Some(100)));
    assert_eq!(read(b"\xff\xff"), (None, None), "unreadable");
}

#[test]
fn the_sequence_of_a_real_invoke() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "mychannel", "56836992");
    protocol.request(id, Type::GetState, "a1".into(), who("get"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE mychannel/56836992 a1"]);
    protocol.receive(message(Type::Response, "mychannel", "56836992", b""));
    assert_eq!(outputs(&mut protocol), ["answer get"]);
    protocol.request(id, Type::PutState, "v".into(), who("put"));
    assert_eq!(outputs(&mut protocol), ["send PUT_STATE mychannel/56836992 v"]);
    protocol.receive(message(Type::Response, "mychannel", "56836992", b""));
    assert_eq!(outputs(&mut protocol), ["answer put"]);
    protocol.finish(id, ok("done"));
    let sent = outputs(&mut protocol);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].starts_with("send COMPLETED mychannel/56836992"), "{sent:?}");
    assert!(sent[0].ends_with("done"), "{sent:?}");
    assert_eq!(protocol.open_transactions(), 0);
}

#[test]
fn an_error_of_the_peer_reaches_the_one_who_asked() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "k".into(), who("get"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Error, "ch", "tx", b"no ledger context"));
    assert_eq!(outputs(&mut protocol), ["answer get error: no ledger context"]);
}

#[test]
fn answers_are_routed_by_channel_and_transaction() {
    let mut protocol = ready();
    // Joined to one text, these two would be the same.
    let first = begin(&mut protocol, "ch1", "1");
    let second = begin(&mut protocol, "ch", "11");
    protocol.request(first, Type::GetState, "k".into(), who("first"));
    protocol.request(second, Type::GetState, "k".into(), who("second"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "11", b"for second"));
    protocol.receive(message(Type::Response, "ch1", "1", b"for first"));
    assert_eq!(outputs(&mut protocol), ["answer second for second", "answer first for first"]);
}

#[test]
fn requests_of_a_transaction_take_turns() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "1".into(), who("one"));
    protocol.request(id, Type::GetState, "2".into(), gone("two"));
    protocol.request(id, Type::QueryStateClose, "3".into(), None);
    protocol.request(id, Type::GetState, "4".into(), who("four"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx 1"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"a"));
    assert_eq!(outputs(&mut protocol), ["answer one a", "send QUERY_STATE_CLOSE ch/tx 3"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"b"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx 4"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"c"));
    assert_eq!(outputs(&mut protocol), ["answer four c"]);
}

#[test]
fn a_request_that_nobody_waits_for_any_more_is_not_sent() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "1".into(), who("one"));
    protocol.request(id, Type::PutState, "2".into(), gone("two"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["answer one"]);
}

#[test]
fn the_answer_of_a_transaction_waits_for_its_last_request() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "k".into(), None);
    protocol.request(id, Type::QueryStateClose, "q".into(), None);
    outputs(&mut protocol);
    protocol.finish(id, ok("x"));
    assert_eq!(outputs(&mut protocol), [""; 0]);
    protocol.request(id, Type::GetState, "k".into(), who("late"));
    assert!(outputs(&mut protocol)[0].starts_with("answer late error: the transaction has ended"));
    protocol.receive(message(Type::Response, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["send QUERY_STATE_CLOSE ch/tx q"]);
    protocol.receive(message(Type::Error, "ch", "tx", b"no ledger context"));
    assert!(outputs(&mut protocol)[0].starts_with("send COMPLETED ch/tx"));
}

#[test]
fn a_request_after_the_end_fails_even_if_the_same_transaction_came_again() {
    let mut protocol = ready();
    let first = begin(&mut protocol, "ch", "tx");
    protocol.finish(first, ok(""));
    outputs(&mut protocol);
    let second = begin(&mut protocol, "ch", "tx");
    assert_ne!(first, second);
    protocol.request(first, Type::PutState, "k".into(), who("old"));
    assert!(outputs(&mut protocol)[0].starts_with("answer old error: the transaction has ended"));
    protocol.finish(first, ok(""));
    assert_eq!(outputs(&mut protocol), [""; 0]);
    assert_eq!(protocol.open_transactions(), 1);
}

#[test]
fn an_init_that_fails_is_answered_with_error() {
    let mut protocol = ready();
    for (status, expected) in [(200, "COMPLETED"), (499, "COMPLETED"), (500, "ERROR")] {
        protocol.receive(message(Type::Init, "ch", "tx", b""));
        let Some(Output::Start(call)) = protocol.next_output() else {
            panic!("not started");
        };
        assert_eq!(call.kind, CallKind::Init);
        let response = Response { status, message: "why".to_owned(), payload: Vec::new() };
        let event = Some(ChaincodeEvent { event_name: "e".to_owned(), ..ChaincodeEvent::default() });
        protocol.finish(call.id, Outcome::Answered { response, event });
        let Some(Output::Send(sent)) = protocol.next_output() else {
            panic!("not answered");
        };
        assert_eq!(message::type_name(sent.r#type), expected);
        assert_eq!(sent.chaincode_event.unwrap().event_name, "e");
        if expected == "ERROR" {
            assert_eq!(sent.payload, "why");
        }
    }
}

#[test]
fn a_call_that_could_not_be_made_is_answered_with_error() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.finish(id, Outcome::Failed("the input cannot be read".to_owned()));
    assert_eq!(outputs(&mut protocol), ["send ERROR ch/tx the input cannot be read"]);
}

#[test]
fn keepalive_is_echoed_in_every_state() {
    let mut protocol: Protocol<Who> = Protocol::new("basic:1", Limits::default());
    outputs(&mut protocol);
    for next in [Type::Registered, Type::Ready, Type::Transaction] {
        protocol.receive(message(Type::Keepalive, "", "", b"x"));
        assert_eq!(outputs(&mut protocol), ["send KEEPALIVE / x"]);
        protocol.receive(message(next, "", "", b""));
        outputs(&mut protocol);
    }
}

#[test]
fn a_message_that_is_not_possible_is_answered_and_ends_the_stream() {
    use Type::{Completed, GetState, Init, Ready, Register, Registered, Response, Transaction};
    let before_ready = [Register, Ready, Init, Transaction, Response, Completed, Type::Error];
    let established = [Register, Registered, Init, Transaction, Response, Type::Error];
    let when_ready = [Register, Registered, Ready, Completed, GetState, Type::Undefined];
    let states: [(&str, &[Type], &[Type]); 3] = [
        ("created", &[], &before_ready),
        ("established", &[Registered], &established),
        ("ready", &[Registered, Ready], &when_ready),
    ];
    for (state, path, impossible) in states {
        for kind in impossible {
            let mut protocol: Protocol<Who> = Protocol::new("basic:1", Limits::default());
            for step in path {
                protocol.receive(message(*step, "", "", b""));
            }
            outputs(&mut protocol);
            protocol.receive(message(*kind, "ch", "0123456789", b""));
            let name = kind.as_str_name();
            let reason = format!("[01234567] message {name} is not possible in state {state}");
            let expected = [format!("send ERROR /0123456789 {reason}"), format!("end {reason}")];
            assert_eq!(outputs(&mut protocol), expected, "{name} in {state}");
            protocol.receive(message(Registered, "", "", b""));
            assert_eq!(outputs(&mut protocol), [""; 0], "after the end");
        }
    }
}

#[test]
fn a_message_of_an_unknown_type_ends_the_stream() {
    let mut protocol = ready();
    let mut unknown = message(Type::Ready, "", "tx", b"");
    unknown.r#type = 99;
    protocol.receive(unknown);
    assert_eq!(outputs(&mut protocol)[1], "end [tx] message 99 is not possible in state ready");
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_stream() {
    let reason = "[tx] nobody waits for this answer";
    for has_transaction in [false, true] {
        let mut protocol = ready();
        if has_transaction {
            begin(&mut protocol, "ch", "tx");
        }
        protocol.receive(message(Type::Response, "ch", "tx", b""));
        let expected = [format!("send ERROR /tx {reason}"), format!("end {reason}")];
        assert_eq!(outputs(&mut protocol), expected);
    }
}

#[test]
fn a_second_answer_ends_the_stream_and_frees_those_who_wait() {
    let mut protocol = ready();
    let first = begin(&mut protocol, "ch", "1");
    let second = begin(&mut protocol, "ch", "2");
    protocol.request(first, Type::GetState, "k".into(), who("first"));
    protocol.request(second, Type::GetState, "k".into(), who("second"));
    protocol.request(second, Type::GetState, "k".into(), who("queued"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "1", b""));
    protocol.receive(message(Type::Response, "ch", "1", b""));
    let lines = outputs(&mut protocol);
    assert_eq!(lines[0], "answer first");
    assert_eq!(lines[1], "send ERROR /1 [1] nobody waits for this answer");
    assert_eq!(lines[2], "answer second error: the stream to the peer has ended");
    assert_eq!(lines[3], "answer queued error: the stream to the peer has ended");
    assert_eq!(lines[4], "end [1] nobody waits for this answer");
    protocol.request(first, Type::GetState, "k".into(), who("late"));
    assert_eq!(outputs(&mut protocol), ["answer late error: the stream to the peer has ended"]);
}

#[test]
fn a_transaction_that_is_already_running_is_refused() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.receive(message(Type::Transaction, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["send ERROR ch/tx this transaction is already running"]);
    protocol.request(id, Type::GetState, "k".into(), who("get"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx k"]);
}

#[test]
fn transactions_beyond_the_limit_wait_and_beyond_that_are_refused() {
    let mut protocol = ready_with(limits(1, 1));
    let first = begin(&mut protocol, "ch", "1");
    protocol.receive(message(Type::Transaction, "ch", "2", b""));
    assert_eq!(outputs(&mut protocol), [""; 0]);
    protocol.receive(message(Type::Transaction, "ch", "3", b""));
    assert_eq!(outputs(&mut protocol), ["send ERROR ch/3 too many transactions are waiting for this chaincode"]);
    protocol.finish(first, ok(""));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("send COMPLETED ch/1"), "{lines:?}");
    assert_eq!(lines[1..], ["start Invoke ch/2"]);
}

#[test]
fn a_transaction_never_waits_for_its_own_caller() {
    let mut protocol = ready_with(limits(1, 1));
    let outer = begin(&mut protocol, "ch1", "tx");
    protocol.request(outer, Type::InvokeChaincode, "self".into(), who("outer"));
    outputs(&mut protocol);
    let inner = begin(&mut protocol, "ch2", "tx");
    protocol.stop();
    assert_eq!(outputs(&mut protocol), [""; 0]);
    let nested_while_stopping = begin(&mut protocol, "ch3", "tx");
    protocol.finish(nested_while_stopping, ok(""));
    protocol.finish(inner, ok(""));
    protocol.receive(message(Type::Response, "ch1", "tx", b"r"));
    protocol.finish(outer, ok(""));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("send COMPLETED ch3/tx"), "{lines:?}");
    assert!(lines[1].starts_with("send COMPLETED ch2/tx"), "{lines:?}");
    assert_eq!(lines[2], "answer outer r");
    assert!(lines[3].starts_with("send COMPLETED ch1/tx"), "{lines:?}");
    assert_eq!(lines[4], "end");
}

#[test]
fn stop_ends_the_stream_after_the_last_running_transaction() {
    let mut protocol = ready_with(limits(1, 1));
    let running = begin(&mut protocol, "ch", "1");
    protocol.receive(message(Type::Transaction, "ch", "2", b""));
    protocol.stop();
    protocol.receive(message(Type::Transaction, "ch", "3", b""));
    assert_eq!(
        outputs(&mut protocol),
        ["send ERROR ch/2 the chaincode server is stopping", "send ERROR ch/3 the chaincode server is stopping"]
    );
    protocol.request(running, Type::GetState, "k".into(), who("get"));
    protocol.receive(message(Type::Response, "ch", "1", b"v"));
    protocol.finish(running, ok(""));
    let lines = outputs(&mut protocol);
    assert_eq!(lines[..2], ["send GET_STATE ch/1 k", "answer get v"]);
    assert!(lines[2].starts_with("send COMPLETED ch/1"), "{lines:?}");
    assert_eq!(lines[3], "end");
}

#[test]
fn stop_without_transactions_ends_the_stream_at_once() {
    let mut protocol = ready();
    protocol.stop();
    protocol.stop();
    assert_eq!(outputs(&mut protocol), ["end"]);
}

#[test]
fn what_a_message_cannot_hold_fails_alone() {
    let mut protocol = ready_with(Limits { message_bytes: 100, ..Limits::default() });
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::PutState, vec![b'v'; 100].into(), who("put"));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("answer put error: the request has 1"), "{lines:?}");
    protocol.finish(id, ok(&"x".repeat(100)));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("send ERROR ch/tx the answer has 1"), "{lines:?}");
}

/// What a peer, or a chaincode, may do next.
#[derive(Debug, Clone)]
enum Step {
    Receive(i32, u8, Vec<u8>),
    Request(u64, bool),
    Finish(u64),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..27i32, 0..4u8, prop::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(kind, txid, payload)| Step::Receive(kind, txid, payload)),
        8 => (0..8u64, any::<bool>()).prop_map(|(id, waits)| Step::Request(id, waits)),
        4 => (0..8u64).prop_map(Step::Finish),
        1 => Just(Step::Stop),
    ]
}

proptest! {
    /// Nothing panics; every waiter is answered exactly once by the end; a
    /// transaction is answered at most once; nothing is sent after the end.
    #[test]
    fn no_sequence_breaks_the_rules(steps in prop::collection::vec(step(), 0..200)) {
        let mut protocol: Protocol<Counted> = Protocol::new("basic:1", limits(2, 2));
        protocol.receive(message(Type::Registered, "", "", b""));
        protocol.receive(message(Type::Ready, "", "", b""));
        let (mut asked, mut answered, mut ended) = (0, Vec::new(), false);
        let (mut started, mut completed) = (0usize, 0usize);
        for step in steps {
            match step {
                Step::Receive(kind, txid, payload) => protocol.receive(ChaincodeMessage {
                    r#type: kind,
                    txid: txid.to_string(),
                    payload: payload.into(),
                    ..ChaincodeMessage::default()
                }),
                Step::Request(id, waits) => {
                    let waiter = waits.then(|| { asked += 1; Counted(asked) });
                    protocol.request(TransactionId(id), Type::GetState, Bytes::new(), waiter);
                }
                Step::Finish(id) => protocol.finish(TransactionId(id), ok("")),
                Step::Stop => protocol.stop(),
            }
            while let Some(output) = protocol.next_output() {
                match output {
                    Output::Answer(who, _) => answered.push(who.0),
                    Output::Send(sent) => {
                        prop_assert!(!ended, "sent after the end");
                        completed += usize::from(sent.r#type == i32::from(Type::Completed));
                    }
                    Output::Start(_) => { prop_assert!(!ended); started += 1; }
                    Output::End(_) => { prop_assert!(!ended, "ended twice"); ended = true; }
                }
            }
        }
        protocol.disconnect();
        while let Some(output) = protocol.next_output() {
            if let Output::Answer(who, _) = output { answered.push(who.0); }
        }
        answered.sort_unstable();
        prop_assert_eq!(answered, (1..=asked).collect::<Vec<_>>());
        prop_assert!(completed <= started);
    }
}

#[derive(Debug)]
struct Counted(u32);

impl Waiter for Counted {
    fn is_gone(&self) -> bool {
        false
    }
}
