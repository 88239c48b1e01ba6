//! The conversation with a peer: any messages, in any order, between any calls of the chaincode. Every
//! waiter is answered once, a transaction at most once, nothing is sent after the end.
//!
//! The input is a list of steps: one byte says which, further ones what.
#![no_main]

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use chaincode_shim::Response;
use chaincode_shim::protocol::{Limits, Outcome, Output, Protocol, TransactionId, Waiter};
use fabric_protos::prost::Message;
use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_message::Type;
use libfuzzer_sys::fuzz_target;

/// One who waits, by number; those whose number is divisible by 7 are gone.
struct Asker {
    number: usize,
    answered: Rc<RefCell<Vec<bool>>>,
}

impl Waiter for Asker {
    fn is_gone(&self) -> bool {
        self.number % 7 == 6
    }
}

struct Steps<'a>(&'a [u8]);

impl Steps<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(Bytes::copy_from_slice(taken))
    }
}

struct Conversation {
    protocol: Protocol<Asker>,
    answered: Rc<RefCell<Vec<bool>>>,
    started: Vec<TransactionId>,
    completed: usize,
    is_over: bool,
}

impl Conversation {
    fn step(&mut self, steps: &mut Steps<'_>) -> Option<()> {
        match steps.byte()? % 8 {
            0 => {
                // Whatever a stream can carry.
                if let Ok(message) = ChaincodeMessage::decode(steps.bytes()?) {
                    self.protocol.receive(message);
                }
            }
            1..=3 => {
                let kind = i32::from(steps.byte()? % 32) - 1;
                let message = ChaincodeMessage {
                    r#type: kind,
                    txid: (steps.byte()? % 8).to_string(),
                    channel_id: (steps.byte()? % 2).to_string(),
                    payload: steps.bytes()?,
                    ..ChaincodeMessage::default()
                };
                self.protocol.receive(message);
            }
            4 | 5 => {
                let id = self.transaction(steps.byte()?)?;
                let kind = Type::try_from(i32::from(steps.byte()? % 32)).unwrap_or(Type::GetState);
                let (waits, payload) = (steps.byte()?.is_multiple_of(2), steps.bytes()?);
                let waiter = waits.then(|| {
                    let mut answered = self.answered.borrow_mut();
                    answered.push(false);
                    Asker { number: answered.len() - 1, answered: Rc::clone(&self.answered) }
                });
                self.protocol.request(id, kind, payload, waiter);
            }
            6 => {
                let id = self.transaction(steps.byte()?)?;
                let outcome = match steps.byte()? % 2 {
                    0 => Outcome::Failed("as asked".to_owned()),
                    _ => Outcome::Answered {
                        response: Response { status: i32::from(steps.byte()?) * 4, ..Response::default() },
                        event: None,
                    },
                };
                self.protocol.finish(id, outcome);
            }
            _ if steps.byte()? == 0 => self.protocol.stop(),
            _ => {}
        }
        Some(())
    }

    fn transaction(&self, byte: u8) -> Option<TransactionId> {
        self.started.get(usize::from(byte) % self.started.len().max(1)).copied()
    }

    fn drain(&mut self) {
        while let Some(output) = self.protocol.next_output() {
            match output {
                Output::Answer(asker, _) => {
                    let was = std::mem::replace(&mut asker.answered.borrow_mut()[asker.number], true);
                    assert!(!was, "answered twice");
                }
                Output::Send(message) => {
                    assert!(!self.is_over, "sent after the end");
                    assert!(message.encoded_len() <= 512);
                    self.completed += usize::from(message.r#type() == Type::Completed);
                }
                Output::Start(call) => {
                    assert!(!self.is_over, "started after the end");
                    self.started.push(call.id);
                }
                Output::End(_) => {
                    assert!(!self.is_over, "ended twice");
                    self.is_over = true;
                }
            }
        }
        assert!(self.completed <= self.started.len());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut steps = Steps(bytes);
    let limits = Limits { running: 2, waiting: 2, message_bytes: 300 };
    let answered = Rc::default();
    let protocol = Protocol::new("basic:1", limits);
    let mut conversation = Conversation { protocol, answered, started: Vec::new(), completed: 0, is_over: false };
    if steps.byte() != Some(0) {
        for kind in [Type::Registered, Type::Ready] {
            conversation.protocol.receive(ChaincodeMessage { r#type: kind.into(), ..ChaincodeMessage::default() });
        }
    }
    while conversation.step(&mut steps).is_some() {
        conversation.drain();
    }
    conversation.protocol.disconnect();
    conversation.drain();
    let answered = conversation.answered.borrow();
    let gone = |number: &usize| number % 7 == 6;
    assert!((0..answered.len()).filter(|number| !gone(number)).all(|number| answered[number]), "somebody still waits");
});
