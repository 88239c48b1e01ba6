//! One stream of one peer: runs the transactions that the state machine
//! starts, and carries messages between it and the stream.
//!
//! Knows tasks, not sockets: incoming messages are any stream, outgoing ones
//! go to an [`Outbox`].

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::protos::ChaincodeMessage;
use fabric_protos::protos::chaincode_message::Type;
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, error, info_span, warn};

use crate::Response;
use crate::chaincode::Runnable;
use crate::outbox::Outbox;
use crate::protocol::{
    Answer, Call, CallKind, Features, Limits, Outcome, Output, Protocol, TransactionId, Waiter, short,
};
use crate::stub::{Stub, StubError};

/// When streams end: both are given by the server.
#[derive(Clone, Default)]
pub(crate) struct Ending {
    /// Take no new transactions, end when the running ones have.
    pub(crate) stop: CancellationToken,
    /// End now.
    pub(crate) abort: CancellationToken,
}

/// One stream.
pub(crate) struct Session {
    protocol: Mutex<Protocol<Asker>>,
    outbox: Outbox,
    chaincode: Arc<dyn Runnable>,
    closed: CancellationToken,
}

struct Asker(oneshot::Sender<Answer>);

impl Waiter for Asker {
    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

impl Session {
    pub(crate) fn new(chaincode: Arc<dyn Runnable>, chaincode_id: &str, limits: Limits, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            protocol: Mutex::new(Protocol::new(chaincode_id, limits)),
            outbox,
            chaincode,
            closed: CancellationToken::new(),
        })
    }

    /// Talks with the peer until one of both ends the stream.
    pub(crate) async fn converse<S>(self: Arc<Self>, incoming: S, ending: Ending)
    where
        S: Stream<Item = Result<ChaincodeMessage, Status>>,
    {
        let mut incoming = pin!(incoming);
        let mut closed = pin!(self.closed.cancelled());
        let mut abort = pin!(ending.abort.cancelled());
        let mut stop = pin!(ending.stop.cancelled().fuse());
        self.step(|_| ());
        loop {
            let message = tokio::select! {
                biased;
                () = &mut closed => break,
                () = &mut abort => {
                    self.outbox.end(Some(Status::unavailable("the chaincode server has stopped")));
                    break;
                }
                () = &mut stop => {
                    self.step(Protocol::stop);
                    continue;
                }
                message = incoming.next() => message,
            };
            match message {
                Some(Ok(message)) => self.step(|protocol| protocol.receive(message)),
                Some(Err(status)) => {
                    // A message that is none, or a connection that is gone.
                    debug!(%status, "the stream of the peer broke");
                    self.outbox.end(Some(status));
                    break;
                }
                None => break,
            }
            tokio::select! {
                biased;
                () = self.outbox.relieved() => {}
                () = &mut abort => {}
            }
        }
        self.step(Protocol::disconnect);
        self.closed.cancel();
        self.outbox.end(None);
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(self: &Arc<Self>, id: TransactionId, kind: Type, payload: Bytes) -> Answer {
        let (asker, answer) = oneshot::channel();
        self.step(|protocol| protocol.request(id, kind, payload, Some(Asker(asker))));
        answer.await.unwrap_or(Err(StubError::Disconnected))
    }

    /// Sends a request whose answer nobody waits for.
    pub(crate) fn tell(self: &Arc<Self>, id: TransactionId, kind: Type, payload: Bytes) {
        self.step(|protocol| protocol.request(id, kind, payload, None));
    }

    /// Moves the state machine and does what it asks for. User code never
    /// runs in here, so a panic cannot leave the state half changed.
    fn step<T>(self: &Arc<Self>, change: impl FnOnce(&mut Protocol<Asker>) -> T) -> T {
        let mut protocol = self.protocol.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut protocol);
        while let Some(output) = protocol.next_output() {
            match output {
                Output::Send(message) => self.outbox.send(message),
                Output::Start(call) => {
                    let features = protocol.features();
                    tokio::spawn(Arc::clone(self).execute(call, features));
                }
                // Nobody waits any more: the answer is dropped.
                Output::Answer(asker, answer) => drop(asker.0.send(answer)),
                Output::End(reason) => {
                    if let Some(reason) = &reason {
                        warn!(reason, "the peer broke the protocol, the stream ends");
                    }
                    self.outbox.end(reason.map(Status::unknown));
                    self.closed.cancel();
                }
            }
        }
        result
    }

    /// Runs a transaction and hands its outcome to the state machine. When
    /// the stream ends first, nobody can take an answer: the call is dropped.
    async fn execute(self: Arc<Self>, call: Call, features: Features) {
        let id = call.id;
        let span = info_span!("transaction", txid = short(&call.txid), channel = call.channel_id, function = Empty);
        let run = AssertUnwindSafe(self.run(call, features).instrument(span.clone())).catch_unwind();
        let outcome = tokio::select! {
            biased;
            outcome = run => outcome,
            () = self.closed.cancelled() => return,
        };
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref());
            span.in_scope(|| error!(text, "the chaincode panicked"));
            Outcome::Answered { response: Response::error(format!("the chaincode panicked: {text}")), event: None }
        });
        self.step(|protocol| protocol.finish(id, outcome));
    }

    async fn run(self: &Arc<Self>, call: Call, features: Features) -> Outcome {
        let kind = call.kind;
        let stub = match Stub::new(call, Arc::clone(self), features) {
            Ok(stub) => stub,
            Err(reason) => return Outcome::Failed(reason),
        };
        let span = Span::current();
        if !span.is_disabled() {
            span.record("function", function_name(&stub));
        }
        let response = Arc::clone(&self.chaincode).run(kind, stub.clone()).await;
        debug!(status = response.status, "transaction done");
        if kind == CallKind::Init && response.status >= Response::ERROR {
            // Nothing of it counts, and the peer is told so at once.
            return Outcome::Answered { response, event: stub.take_event() };
        }
        match stub.finish_write_batch().await {
            Ok(()) => Outcome::Answered { response, event: stub.take_event() },
            Err(error) => Outcome::Failed(format!("the write batch failed: {error}")),
        }
    }
}

/// The function's name for the log, of a length that a log can bear.
fn function_name(stub: &Stub) -> String {
    stub.function().chars().take(64).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
