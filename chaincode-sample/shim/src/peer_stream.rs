//! One stream to one peer: the protocol state machine and the outgoing messages, behind a lock.
//!
//! A [`Stub`](crate::Stub) sends its requests here. A session feeds in the peer's messages and
//! starts the transactions that a step returns.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::warn;

use crate::outbox::Outbox;
use crate::protocol::{Answer, Call, CallId, Limits, Output, Protocol, Waiter};
use crate::stub_error::StubError;

/// One stream.
pub(crate) struct PeerStream {
    protocol: Mutex<Protocol<Reply>>,
    outbox: Outbox,
    closed: CancellationToken,
}

/// Delivers an answer to the task that waits for it.
pub(crate) struct Reply(oneshot::Sender<Answer>);

impl Waiter for Reply {
    fn is_cancelled(&self) -> bool {
        self.0.is_closed()
    }
}

impl PeerStream {
    /// A stream that the peer has just opened.
    pub(crate) fn new(chaincode_id: &str, limits: Limits, outbox: Outbox) -> Self {
        Self { protocol: Mutex::new(Protocol::new(chaincode_id, limits)), outbox, closed: CancellationToken::new() }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&self, id: CallId, kind: Type, payload: Bytes) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.step(|protocol| protocol.request(id, kind, payload, Some(Reply(reply))));
        answer.await.unwrap_or(Err(StubError::Disconnected))
    }

    /// Sends a request and ignores its answer.
    pub(crate) fn notify(&self, id: CallId, kind: Type, payload: Bytes) {
        self.step(|protocol| protocol.request(id, kind, payload, None));
    }

    /// Changes the protocol state, carries out its outputs and returns the transactions to start.
    ///
    /// User code never runs in here, so a panic cannot leave the state half changed.
    pub(crate) fn step(&self, change: impl FnOnce(&mut Protocol<Reply>)) -> Vec<Call> {
        let mut protocol = self.protocol.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut protocol);
        let mut calls = Vec::new();
        while let Some(output) = protocol.next_output() {
            match output {
                Output::Send(message) => self.outbox.send(message),
                Output::Start(call) => calls.push(call),
                // The answer of a cancelled call is dropped.
                Output::Answer(reply, answer) => drop(reply.0.send(answer)),
                Output::End(reason) => {
                    if let Some(reason) = &reason {
                        warn!(reason, "the peer violated the protocol, closing the stream");
                    }
                    self.outbox.end(reason.map(Status::unknown));
                    self.closed.cancel();
                }
            }
        }
        calls
    }

    /// Waits until the stream is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until the peer has taken enough of the outgoing messages.
    pub(crate) async fn ready_to_receive(&self) {
        self.outbox.below_limit().await;
    }

    /// Closes the stream after the messages sent so far; with an error, if given.
    pub(crate) fn close(&self, status: Option<Status>) {
        self.outbox.end(status);
        self.closed.cancel();
    }
}
