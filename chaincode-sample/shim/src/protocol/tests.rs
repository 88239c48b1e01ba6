//! Every message in every state, and the sequences that real peers send.

use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeId};
use proptest::prelude::*;

use super::*;

/// A waiter with a name.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Named {
    name: &'static str,
    cancelled: bool,
}

impl Waiter for Named {
    fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the type that `request` takes")]
fn waiter(name: &'static str) -> Option<Named> {
    Some(Named { name, cancelled: false })
}

#[allow(clippy::unnecessary_wraps, reason = "the type that `request` takes")]
fn cancelled(name: &'static str) -> Option<Named> {
    Some(Named { name, cancelled: true })
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

/// The outputs, one line each.
fn outputs(protocol: &mut Protocol<Named>) -> Vec<String> {
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
            Output::Answer(waiter, Ok(payload)) => {
                format!("answer {} {}", waiter.name, String::from_utf8_lossy(&payload))
            }
            Output::Answer(waiter, Err(error)) => format!("answer {} error: {error}", waiter.name),
            Output::End(reason) => format!("end {}", reason.unwrap_or_default()),
        })
        .map(|line| line.trim_end().to_owned())
        .collect()
}

fn limits(running: usize, waiting: usize) -> Limits {
    Limits { running, waiting, ..Limits::default() }
}

fn ready_with(limits: Limits) -> Protocol<Named> {
    let mut protocol = Protocol::new("basic:1", limits);
    protocol.receive(message(Type::Registered, "", "", b""));
    protocol.receive(message(Type::Ready, "", "", b""));
    outputs(&mut protocol);
    protocol
}

fn ready() -> Protocol<Named> {
    ready_with(Limits::default())
}

/// Starts a transaction and returns its ID.
fn begin(protocol: &mut Protocol<Named>, channel: &str, txid: &str) -> CallId {
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
    let mut protocol: Protocol<Named> = Protocol::new("basic:1", Limits::default());
    let Some(Output::Send(first)) = protocol.next_output() else {
        panic!("nothing was sent");
    };
    assert_eq!(first.r#type, i32::from(Type::Register));
    let id = ChaincodeId::decode(first.payload).unwrap();
    assert_eq!(id.name, "basic:1");
    assert_eq!(protocol.next_output(), None);
}

#[test]
fn a_call_has_the_features_that_the_peer_offers_in_ready() {
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
        let mut protocol: Protocol<Named> = Protocol::new("basic:1", Limits::default());
        protocol.receive(message(Type::Registered, "", "", b""));
        protocol.receive(message(Type::Ready, "", "", payload));
        protocol.receive(message(Type::Transaction, "ch", "tx", b""));
        let call = std::iter::from_fn(|| protocol.next_output()).find_map(|output| match output {
            Output::Start(call) => Some(call),
            _ => None,
        });
        let features = call.expect("no transaction was started").features;
        (features.write_batch, features.get_multiple)
    };
    assert_eq!(read(b""), (None, None), "2.5");
    assert_eq!(read(&offer(true, 1000, true, 900)), (Some(1000), Some(900)));
    assert_eq!(read(&offer(false, 1000, false, 1000)), (None, None));
    assert_eq!(read(&offer(true, 1, true, 0)), (Some(100), Some(100)));
    assert_eq!(read(b"\xff\xff"), (None, None), "invalid");
}

#[test]
fn the_sequence_of_a_real_invoke() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "mychannel", "56836992");
    protocol.request(id, Type::GetState, "a1".into(), waiter("get"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE mychannel/56836992 a1"]);
    protocol.receive(message(Type::Response, "mychannel", "56836992", b""));
    assert_eq!(outputs(&mut protocol), ["answer get"]);
    protocol.request(id, Type::PutState, "v".into(), waiter("put"));
    assert_eq!(outputs(&mut protocol), ["send PUT_STATE mychannel/56836992 v"]);
    protocol.receive(message(Type::Response, "mychannel", "56836992", b""));
    assert_eq!(outputs(&mut protocol), ["answer put"]);
    protocol.finish(id, ok("done"));
    let sent = outputs(&mut protocol);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].starts_with("send COMPLETED mychannel/56836992"), "{sent:?}");
    assert!(sent[0].ends_with("done"), "{sent:?}");
    assert_eq!(protocol.transactions.len(), 0);
}

#[test]
fn an_error_from_the_peer_reaches_its_waiter() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "k".into(), waiter("get"));
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
    protocol.request(first, Type::GetState, "k".into(), waiter("first"));
    protocol.request(second, Type::GetState, "k".into(), waiter("second"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "11", b"for second"));
    protocol.receive(message(Type::Response, "ch1", "1", b"for first"));
    assert_eq!(outputs(&mut protocol), ["answer second for second", "answer first for first"]);
}

#[test]
fn requests_of_a_transaction_are_sent_one_at_a_time() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "1".into(), waiter("one"));
    protocol.request(id, Type::GetState, "2".into(), cancelled("two"));
    protocol.request(id, Type::QueryStateClose, "3".into(), None);
    protocol.request(id, Type::GetState, "4".into(), waiter("four"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx 1"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"a"));
    assert_eq!(outputs(&mut protocol), ["answer one a", "send QUERY_STATE_CLOSE ch/tx 3"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"b"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx 4"]);
    protocol.receive(message(Type::Response, "ch", "tx", b"c"));
    assert_eq!(outputs(&mut protocol), ["answer four c"]);
}

#[test]
fn a_cancelled_request_is_not_sent() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "1".into(), waiter("one"));
    protocol.request(id, Type::PutState, "2".into(), cancelled("two"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["answer one"]);
}

#[test]
fn a_transaction_completes_after_its_last_request() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::GetState, "k".into(), None);
    protocol.request(id, Type::QueryStateClose, "q".into(), None);
    outputs(&mut protocol);
    protocol.finish(id, ok("x"));
    assert_eq!(outputs(&mut protocol), [""; 0]);
    protocol.request(id, Type::GetState, "k".into(), waiter("late"));
    assert!(outputs(&mut protocol)[0].starts_with("answer late error: the transaction has ended"));
    protocol.receive(message(Type::Response, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["send QUERY_STATE_CLOSE ch/tx q"]);
    protocol.receive(message(Type::Error, "ch", "tx", b"no ledger context"));
    assert!(outputs(&mut protocol)[0].starts_with("send COMPLETED ch/tx"));
}

#[test]
fn a_request_of_an_ended_transaction_fails_even_if_its_id_runs_again() {
    let mut protocol = ready();
    let first = begin(&mut protocol, "ch", "tx");
    protocol.finish(first, ok(""));
    outputs(&mut protocol);
    let second = begin(&mut protocol, "ch", "tx");
    assert_ne!(first, second);
    protocol.request(first, Type::PutState, "k".into(), waiter("old"));
    assert!(outputs(&mut protocol)[0].starts_with("answer old error: the transaction has ended"));
    protocol.finish(first, ok(""));
    assert_eq!(outputs(&mut protocol), [""; 0]);
    assert_eq!(protocol.transactions.len(), 1);
}

#[test]
fn a_failed_init_is_answered_with_error() {
    let mut protocol = ready();
    for (status, expected) in [(200, "COMPLETED"), (499, "COMPLETED"), (500, "ERROR")] {
        protocol.receive(message(Type::Init, "ch", "tx", b""));
        let Some(Output::Start(call)) = protocol.next_output() else {
            panic!("nothing was started");
        };
        assert_eq!(call.kind, CallKind::Init);
        let response = Response { status, message: "why".to_owned(), payload: Vec::new() };
        let event = Some(ChaincodeEvent { event_name: "e".to_owned(), ..ChaincodeEvent::default() });
        protocol.finish(call.id, Outcome::Answered { response, event });
        let Some(Output::Send(sent)) = protocol.next_output() else {
            panic!("nothing was sent");
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
    let mut protocol: Protocol<Named> = Protocol::new("basic:1", Limits::default());
    outputs(&mut protocol);
    for next in [Type::Registered, Type::Ready, Type::Transaction] {
        protocol.receive(message(Type::Keepalive, "", "", b"x"));
        assert_eq!(outputs(&mut protocol), ["send KEEPALIVE / x"]);
        protocol.receive(message(next, "", "", b""));
        outputs(&mut protocol);
    }
}

#[test]
fn an_unexpected_message_is_answered_and_ends_the_stream() {
    use Type::{Completed, GetState, Init, Ready, Register, Registered, Response, Transaction};
    let before_ready = [Register, Ready, Init, Transaction, Response, Completed, Type::Error];
    let established = [Register, Registered, Init, Transaction, Response, Type::Error];
    let when_ready = [Register, Registered, Ready, Completed, GetState, Type::Undefined];
    let states: [(&str, &[Type], &[Type]); 3] = [
        ("created", &[], &before_ready),
        ("established", &[Registered], &established),
        ("ready", &[Registered, Ready], &when_ready),
    ];
    for (state, path, unexpected) in states {
        for kind in unexpected {
            let mut protocol: Protocol<Named> = Protocol::new("basic:1", Limits::default());
            for step in path {
                protocol.receive(message(*step, "", "", b""));
            }
            outputs(&mut protocol);
            protocol.receive(message(*kind, "ch", "0123456789", b""));
            let name = kind.as_str_name();
            let reason = format!("[01234567] unexpected message {name} in state {state}");
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
    assert_eq!(outputs(&mut protocol)[1], "end [tx] unexpected message 99 in state ready");
}

#[test]
fn an_unexpected_answer_ends_the_stream() {
    let reason = "[tx] unexpected answer: no request is pending";
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
fn a_second_answer_ends_the_stream_and_fails_all_waiters() {
    let mut protocol = ready();
    let first = begin(&mut protocol, "ch", "1");
    let second = begin(&mut protocol, "ch", "2");
    protocol.request(first, Type::GetState, "k".into(), waiter("first"));
    protocol.request(second, Type::GetState, "k".into(), waiter("second"));
    protocol.request(second, Type::GetState, "k".into(), waiter("queued"));
    outputs(&mut protocol);
    protocol.receive(message(Type::Response, "ch", "1", b""));
    protocol.receive(message(Type::Response, "ch", "1", b""));
    let lines = outputs(&mut protocol);
    assert_eq!(lines[0], "answer first");
    assert_eq!(lines[1], "send ERROR /1 [1] unexpected answer: no request is pending");
    assert_eq!(lines[2], "answer second error: the stream to the peer has ended");
    assert_eq!(lines[3], "answer queued error: the stream to the peer has ended");
    assert_eq!(lines[4], "end [1] unexpected answer: no request is pending");
    protocol.request(first, Type::GetState, "k".into(), waiter("late"));
    assert_eq!(outputs(&mut protocol), ["answer late error: the stream to the peer has ended"]);
}

#[test]
fn a_duplicate_transaction_is_rejected() {
    let mut protocol = ready();
    let id = begin(&mut protocol, "ch", "tx");
    protocol.receive(message(Type::Transaction, "ch", "tx", b""));
    assert_eq!(outputs(&mut protocol), ["send ERROR ch/tx this transaction is already running"]);
    protocol.request(id, Type::GetState, "k".into(), waiter("get"));
    assert_eq!(outputs(&mut protocol), ["send GET_STATE ch/tx k"]);
}

#[test]
fn excess_transactions_wait_until_the_queue_is_full() {
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
fn a_nested_transaction_never_waits_for_its_caller() {
    let mut protocol = ready_with(limits(1, 1));
    let outer = begin(&mut protocol, "ch1", "tx");
    protocol.request(outer, Type::InvokeChaincode, "self".into(), waiter("outer"));
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
    protocol.request(running, Type::GetState, "k".into(), waiter("get"));
    protocol.receive(message(Type::Response, "ch", "1", b"v"));
    protocol.finish(running, ok(""));
    let lines = outputs(&mut protocol);
    assert_eq!(lines[..2], ["send GET_STATE ch/1 k", "answer get v"]);
    assert!(lines[2].starts_with("send COMPLETED ch/1"), "{lines:?}");
    assert_eq!(lines[3], "end");
}

#[test]
fn stop_without_transactions_ends_the_stream_immediately() {
    let mut protocol = ready();
    protocol.stop();
    protocol.stop();
    assert_eq!(outputs(&mut protocol), ["end"]);
}

#[test]
fn an_oversized_message_fails_only_its_own_call() {
    let mut protocol = ready_with(Limits { message_bytes: 100, ..Limits::default() });
    let id = begin(&mut protocol, "ch", "tx");
    protocol.request(id, Type::PutState, vec![b'v'; 100].into(), waiter("put"));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("answer put error: the request has 1"), "{lines:?}");
    protocol.finish(id, ok(&"x".repeat(100)));
    let lines = outputs(&mut protocol);
    assert!(lines[0].starts_with("send ERROR ch/tx the response has 1"), "{lines:?}");
}

proptest! {
    #[test]
    fn any_sequence_of_steps_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        model::run(&bytes);
    }
}
