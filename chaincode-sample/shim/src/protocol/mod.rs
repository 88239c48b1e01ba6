//! The chaincode side of the protocol with a peer, as a state machine without I/O.
//!
//! Messages and requests go in by method calls; actions come out of [`Protocol::next_output`], in
//! order. Nothing here waits, reads a clock or opens a socket, so every sequence of messages can be
//! tested.
//!
//! Messages are handled as in fabric-chaincode-go's `shim/handler.go`. A message that is invalid in
//! the current state is answered with ERROR and ends the stream. Where that shim would block forever
//! or send a message that the peer drops, this one answers:
//!
//! - A peer handles one request of a transaction at a time; further requests are queued here.
//! - A transaction's response is sent after its last request was answered.
//! - A TRANSACTION whose channel and transaction ID are already running is answered with ERROR,
//!   since the answers of both would be indistinguishable.
//! - The number of running and of queued transactions is limited ([`Limits`]). A transaction that a
//!   running one has called (the same transaction ID on another channel) is never queued, not even
//!   while stopping.

mod message;
#[cfg(any(test, fuzzing))]
pub(crate) mod model;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeEvent, ChaincodeMessage, SignedProposal};
use prost::Message as _;

use crate::response::Response;
use crate::stub_error::StubError;

pub(crate) use message::{Features, short};

/// Resource limits of one stream.
///
/// ```
/// use chaincode_shim::Config;
///
/// let mut config = Config::new("basic_1.0:0123abcd", std::net::SocketAddr::from(([0, 0, 0, 0], 9999)));
/// config.limits.running = 100;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Transactions that run concurrently; further ones are queued. Default 2500, which is the
    /// peer's own limit of concurrent proposals (`peer.limits.concurrency.endorserService` in
    /// `core.yaml`).
    pub running: usize,
    /// Queued transactions; further ones are answered with ERROR. Default 2500.
    pub waiting: usize,
    /// Size of an encoded message in bytes. Default and maximum: 100 MiB, the limit of
    /// fabric-chaincode-go.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running: 2500, waiting: 2500, message_bytes: MAX_MESSAGE_BYTES }
    }
}

/// Identifies a transaction on one stream; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallId(u64);

/// The function that the peer calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// TRANSACTION.
    Invoke,
    /// INIT.
    Init,
}

/// A transaction to run, still encoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Identifies it in every later call of [`Protocol`].
    pub(crate) id: CallId,
    /// The function to call.
    pub(crate) kind: CallKind,
    /// The channel.
    pub(crate) channel_id: String,
    /// Fabric's transaction ID.
    pub(crate) txid: String,
    /// An encoded `ChaincodeInput`.
    pub(crate) input: Bytes,
    /// The proposal that the client signed.
    pub(crate) proposal: Option<SignedProposal>,
    /// What the peer offered in READY.
    pub(crate) features: Features,
}

/// The outcome of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The chaincode returned a response, possibly an error.
    Answered {
        /// The response.
        response: Response,
        /// The event that it set.
        event: Option<ChaincodeEvent>,
    },
    /// The chaincode could not be called or could not finish.
    Failed(String),
}

/// Receives the answer to a request.
pub(crate) trait Waiter {
    /// Whether the answer is no longer needed; a request that was not sent yet is then dropped.
    fn is_cancelled(&self) -> bool;
}

/// The answer to a request: the payload of RESPONSE, or an error.
pub(crate) type Answer = Result<Bytes, StubError>;

/// An action for the owner of a [`Protocol`].
#[derive(Debug, PartialEq)]
pub(crate) enum Output<W> {
    /// Send this message to the peer.
    Send(ChaincodeMessage),
    /// Run this transaction and call [`Protocol::finish`].
    Start(Call),
    /// Deliver this answer.
    Answer(W, Answer),
    /// End the stream: after a protocol violation with its description, after [`Protocol::stop`]
    /// without.
    End(Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Established,
    Ready,
    Closed,
}

/// Channel and transaction ID, by which the peer identifies a transaction.
type Route = (String, String);

#[derive(Debug)]
struct Request<W> {
    message: ChaincodeMessage,
    waiter: Option<W>,
}

/// The request that was sent and is not answered yet.
#[derive(Debug)]
enum Pending<W> {
    None,
    Awaited(W),
    Unawaited,
}

impl<W> Pending<W> {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl<W> From<Option<W>> for Pending<W> {
    fn from(waiter: Option<W>) -> Self {
        waiter.map_or(Self::Unawaited, Self::Awaited)
    }
}

#[derive(Debug)]
struct Transaction<W> {
    route: Route,
    kind: CallKind,
    pending: Pending<W>,
    queued: VecDeque<Request<W>>,
    /// COMPLETED or ERROR, held back until the last request is answered.
    completion: Option<ChaincodeMessage>,
}

/// The state of one stream. `W` receives the answer to a request.
#[derive(Debug)]
pub(crate) struct Protocol<W> {
    limits: Limits,
    phase: Phase,
    features: Features,
    stopping: bool,
    next_id: u64,
    running: usize,
    routes: HashMap<Route, CallId>,
    transactions: HashMap<CallId, Transaction<W>>,
    waiting: VecDeque<Call>,
    outputs: VecDeque<Output<W>>,
}

impl<W: Waiter> Protocol<W> {
    /// A stream that the peer has just opened; the first output is REGISTER.
    ///
    /// `chaincode_id` is the package ID under which the peer expects this chaincode.
    pub(crate) fn new(chaincode_id: &str, limits: Limits) -> Self {
        let register = Output::Send(message::register(chaincode_id));
        Self {
            limits: Limits { message_bytes: limits.message_bytes.min(MAX_MESSAGE_BYTES), ..limits },
            phase: Phase::Created,
            features: Features::default(),
            stopping: false,
            next_id: 0,
            running: 0,
            routes: HashMap::new(),
            transactions: HashMap::new(),
            waiting: VecDeque::new(),
            outputs: VecDeque::from([register]),
        }
    }

    /// The next action, or nothing until the next call.
    pub(crate) fn next_output(&mut self) -> Option<Output<W>> {
        self.outputs.pop_front()
    }

    /// Handles a message from the peer.
    pub(crate) fn receive(&mut self, incoming: ChaincodeMessage) {
        if self.phase == Phase::Closed {
            return;
        }
        let kind = Type::try_from(incoming.r#type);
        match (self.phase, kind) {
            (_, Ok(Type::Keepalive)) => self.send(incoming),
            (Phase::Created, Ok(Type::Registered)) => self.phase = Phase::Established,
            (Phase::Established, Ok(Type::Ready)) => {
                self.phase = Phase::Ready;
                self.features = Features::from_ready(&incoming.payload);
            }
            (Phase::Ready, Ok(Type::Response)) => {
                let (route, payload) = message::split(incoming);
                self.answer(route, Ok(payload));
            }
            (Phase::Ready, Ok(Type::Error)) => {
                let (route, payload) = message::split(incoming);
                let text = String::from_utf8_lossy(&payload).into_owned();
                self.answer(route, Err(StubError::Peer(text)));
            }
            (Phase::Ready, Ok(Type::Transaction)) => self.begin(CallKind::Invoke, incoming),
            (Phase::Ready, Ok(Type::Init)) => self.begin(CallKind::Init, incoming),
            _ => {
                let name = message::type_name(incoming.r#type);
                let state = match self.phase {
                    Phase::Created => "created",
                    Phase::Established => "established",
                    Phase::Ready | Phase::Closed => "ready",
                };
                let txid = message::short(&incoming.txid);
                let reason = format!("[{txid}] unexpected message {name} in state {state}");
                self.violation(incoming.txid, reason);
            }
        }
    }

    /// Sends a request of a running transaction, now or after the requests before it.
    ///
    /// The answer is an [`Output::Answer`] for `waiter`; without a waiter it is dropped.
    pub(crate) fn request(&mut self, id: CallId, kind: Type, payload: Bytes, waiter: Option<W>) {
        if self.phase == Phase::Closed {
            return self.reject_request(waiter, StubError::Disconnected);
        }
        let Some(transaction) = self.transactions.get_mut(&id).filter(|found| found.completion.is_none()) else {
            return self.reject_request(waiter, StubError::Ended);
        };
        let message = message::new(kind, &transaction.route, payload);
        let (size, limit) = (message.encoded_len(), self.limits.message_bytes);
        if size > limit {
            return self.reject_request(waiter, StubError::TooLarge { size, limit });
        }
        if transaction.pending.is_none() {
            transaction.pending = waiter.into();
            self.outputs.push_back(Output::Send(message));
        } else {
            // Calls that are cancelled again and again must not fill the queue.
            transaction.queued.retain(|queued| !queued.waiter.as_ref().is_some_and(Waiter::is_cancelled));
            transaction.queued.push_back(Request { message, waiter });
        }
    }

    /// Sends the outcome of a transaction once its last request is answered.
    pub(crate) fn finish(&mut self, id: CallId, outcome: Outcome) {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        if transaction.completion.is_some() {
            return;
        }
        let limit = self.limits.message_bytes;
        transaction.completion = Some(message::completion(transaction.kind, &transaction.route, outcome, limit));
        self.advance(id);
    }

    /// Refuses new transactions, and ends the stream once none is running.
    pub(crate) fn stop(&mut self) {
        if self.stopping || self.phase == Phase::Closed {
            return;
        }
        self.stopping = true;
        while let Some(call) = self.waiting.pop_front() {
            self.remove(call.id);
            self.reject_transaction((call.channel_id, call.txid), message::STOPPING);
        }
        self.end_when_idle();
    }

    /// The stream is gone: fails all requests, and sends nothing more.
    pub(crate) fn disconnect(&mut self) {
        self.phase = Phase::Closed;
        self.waiting.clear();
        self.routes.clear();
        self.running = 0;
        let transactions = std::mem::take(&mut self.transactions);
        for transaction in transactions.into_values() {
            let pending = match transaction.pending {
                Pending::Awaited(waiter) => Some(waiter),
                Pending::Unawaited | Pending::None => None,
            };
            let queued = transaction.queued.into_iter().filter_map(|request| request.waiter);
            for waiter in pending.into_iter().chain(queued) {
                self.outputs.push_back(Output::Answer(waiter, Err(StubError::Disconnected)));
            }
        }
    }

    fn begin(&mut self, kind: CallKind, incoming: ChaincodeMessage) {
        let route = (incoming.channel_id, incoming.txid);
        if self.routes.contains_key(&route) {
            self.reject_transaction(route, "this transaction is already running");
            return;
        }
        let nested = (self.stopping || self.running >= self.limits.running) && self.is_nested(&route.1);
        if self.stopping && !nested {
            self.reject_transaction(route, message::STOPPING);
            return;
        }
        let may_run = nested || self.running < self.limits.running;
        if !may_run && self.waiting.len() >= self.limits.waiting {
            self.reject_transaction(route, "too many transactions are waiting for this chaincode");
            return;
        }
        let id = CallId(self.next_id);
        self.next_id += 1;
        let call = Call {
            id,
            kind,
            channel_id: route.0.clone(),
            txid: route.1.clone(),
            input: incoming.payload,
            proposal: incoming.proposal,
            features: self.features,
        };
        self.routes.insert(route.clone(), id);
        self.transactions
            .insert(id, Transaction { route, kind, pending: Pending::None, queued: VecDeque::new(), completion: None });
        if may_run {
            self.start(call);
        } else {
            self.waiting.push_back(call);
        }
    }

    fn start(&mut self, call: Call) {
        self.running += 1;
        self.outputs.push_back(Output::Start(call));
    }

    /// Whether a running transaction has called the one that now arrives, through another chaincode
    /// or channel. It must not wait for its caller.
    fn is_nested(&self, txid: &str) -> bool {
        self.transactions.values().any(|transaction| transaction.route.1 == txid && !transaction.pending.is_none())
    }

    fn answer(&mut self, route: Route, answer: Answer) {
        let id = self.routes.get(&route).copied();
        let pending = id
            .and_then(|id| self.transactions.get_mut(&id))
            .map(|found| std::mem::replace(&mut found.pending, Pending::None));
        let (Some(id), Some(Pending::Awaited(_) | Pending::Unawaited)) = (id, &pending) else {
            let reason = format!("[{}] unexpected answer: no request is pending", message::short(&route.1));
            self.violation(route.1, reason);
            return;
        };
        if let Some(Pending::Awaited(waiter)) = pending {
            self.outputs.push_back(Output::Answer(waiter, answer));
        }
        self.advance(id);
    }

    /// Sends the next request or, if there is none, the transaction's completion.
    fn advance(&mut self, id: CallId) {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        if !transaction.pending.is_none() {
            return;
        }
        while let Some(request) = transaction.queued.pop_front() {
            if request.waiter.as_ref().is_some_and(Waiter::is_cancelled) {
                continue;
            }
            transaction.pending = request.waiter.into();
            self.outputs.push_back(Output::Send(request.message));
            return;
        }
        let Some(completion) = transaction.completion.take() else {
            return;
        };
        self.remove(id);
        self.send(completion);
        self.running = self.running.saturating_sub(1);
        while self.running < self.limits.running
            && let Some(call) = self.waiting.pop_front()
        {
            self.start(call);
        }
        self.end_when_idle();
    }

    fn remove(&mut self, id: CallId) {
        if let Some(transaction) = self.transactions.remove(&id) {
            self.routes.remove(&transaction.route);
        }
    }

    fn end_when_idle(&mut self) {
        if self.stopping && self.transactions.is_empty() && self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.outputs.push_back(Output::End(None));
        }
    }

    fn violation(&mut self, txid: String, reason: String) {
        self.send(message::error((String::new(), txid), &reason));
        self.disconnect();
        self.outputs.push_back(Output::End(Some(reason)));
    }

    fn reject_transaction(&mut self, route: Route, reason: &str) {
        self.send(message::error(route, reason));
    }

    fn reject_request(&mut self, waiter: Option<W>, error: StubError) {
        if let Some(waiter) = waiter {
            self.outputs.push_back(Output::Answer(waiter, Err(error)));
        }
    }

    fn send(&mut self, message: ChaincodeMessage) {
        self.outputs.push_back(Output::Send(message));
    }
}
