//! Any messages in any order, between any calls of the chaincode, and the rules that must hold.
//!
//! Run by a property test and by the fuzz target `protocol`. The input is a list of steps: one byte
//! selects the step, the following ones are its arguments.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// A waiter with a number; every seventh one is cancelled.
struct Numbered {
    number: usize,
    answered: Rc<RefCell<Vec<bool>>>,
}

impl Waiter for Numbered {
    fn is_cancelled(&self) -> bool {
        is_cancelled(self.number)
    }
}

fn is_cancelled(number: usize) -> bool {
    number % 7 == 6
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

struct Model {
    protocol: Protocol<Numbered>,
    /// By number of the waiter.
    answered: Rc<RefCell<Vec<bool>>>,
    started: usize,
    completed: usize,
    ended: bool,
}

impl Model {
    fn step(&mut self, steps: &mut Steps<'_>) -> Option<()> {
        match steps.byte()? % 8 {
            0 => {
                // Anything that a stream can carry.
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
                let id = self.call(steps.byte()?);
                let kind = Type::try_from(i32::from(steps.byte()? % 32)).unwrap_or(Type::GetState);
                let (waits, payload) = (steps.byte()?.is_multiple_of(2), steps.bytes()?);
                let waiter = waits.then(|| {
                    let mut answered = self.answered.borrow_mut();
                    answered.push(false);
                    Numbered { number: answered.len() - 1, answered: Rc::clone(&self.answered) }
                });
                self.protocol.request(id, kind, payload, waiter);
            }
            6 => {
                let id = self.call(steps.byte()?);
                let outcome = match steps.byte()? % 2 {
                    0 => Outcome::Failed("as requested".to_owned()),
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

    /// A call that was started, or the one that comes next.
    fn call(&self, byte: u8) -> CallId {
        CallId(u64::from(byte) % (self.started as u64 + 1))
    }

    fn check_outputs(&mut self) {
        while let Some(output) = self.protocol.next_output() {
            match output {
                Output::Answer(waiter, _) => {
                    let was_answered = std::mem::replace(&mut waiter.answered.borrow_mut()[waiter.number], true);
                    assert!(!was_answered, "answered twice");
                }
                Output::Send(message) => {
                    assert!(!self.ended, "sent after the end");
                    assert!(message.encoded_len() <= 512);
                    self.completed += usize::from(message.r#type() == Type::Completed);
                }
                Output::Start(_) => {
                    assert!(!self.ended, "started after the end");
                    self.started += 1;
                }
                Output::End(_) => {
                    assert!(!self.ended, "ended twice");
                    self.ended = true;
                }
            }
        }
        assert!(self.completed <= self.started);
    }
}

/// Runs the steps. Every waiter is answered exactly once, a cancelled one at most once; a
/// transaction is completed at most once; nothing is sent after the end.
///
/// # Panics
///
/// When a rule is broken.
pub(crate) fn run(bytes: &[u8]) {
    let mut steps = Steps(bytes);
    let limits = Limits { running: 2, waiting: 2, message_bytes: 300 };
    let mut model = Model {
        protocol: Protocol::new("basic:1", limits),
        answered: Rc::default(),
        started: 0,
        completed: 0,
        ended: false,
    };
    if steps.byte() != Some(0) {
        for kind in [Type::Registered, Type::Ready] {
            model.protocol.receive(ChaincodeMessage { r#type: kind.into(), ..ChaincodeMessage::default() });
        }
    }
    while model.step(&mut steps).is_some() {
        model.check_outputs();
    }
    model.protocol.disconnect();
    model.check_outputs();
    let answered = model.answered.borrow();
    let unanswered = (0..answered.len()).filter(|number| !is_cancelled(*number) && !answered[*number]);
    assert_eq!(unanswered.count(), 0, "a waiter was not answered");
}
