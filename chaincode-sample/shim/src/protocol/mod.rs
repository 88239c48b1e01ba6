//! The conversation with one peer, without input or output.
//!
//! Messages and requests go in by method calls; what is to be done comes out
//! of [`Protocol::next_output`], in order. Nothing here waits, reads a clock
//! or opens a socket, so every sequence of messages can be tested.
//!
//! What each message does is what fabric-chaincode-go's `shim/handler.go`
//! does with it. A message that is not possible in the present state is
//! answered with ERROR and ends the stream. Where that shim would block for
//! ever or send what the peer drops, this one answers:
//!
//! - A peer takes one request of a transaction at a time; further ones wait
//!   here for their turn.
//! - A transaction's answer is sent after its last request was answered.
//! - A TRANSACTION whose channel and transaction ID are already running is
//!   answered with ERROR, since their answers could not be told apart.
//! - Only so many transactions run at a time and only so many wait
//!   ([`Limits`]); one that a running transaction has caused (the same
//!   transaction ID on another channel) never waits, not even for a stop.

mod message;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeEvent, ChaincodeMessage, SignedProposal};
use prost::Message as _;

use crate::stub::StubError;
use crate::{MAX_MESSAGE_BYTES, Response};

pub use message::Features;
pub(crate) use message::short;

/// How much one stream may ask of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions that run at a time; the rest wait. Default 2500, the
    /// peer's own limit of proposals at a time (`core.yaml`,
    /// `peer.limits.concurrency.endorserService`).
    pub running: usize,
    /// Transactions that wait; further ones are answered with ERROR.
    /// Default 2500.
    pub waiting: usize,
    /// Bytes of an encoded message. Default, and at most, [`MAX_MESSAGE_BYTES`].
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running: 2500, waiting: 2500, message_bytes: MAX_MESSAGE_BYTES }
    }
}

/// A transaction on one stream; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(u64);

/// Whether the peer asked for `init` or for `invoke`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// TRANSACTION.
    Invoke,
    /// INIT.
    Init,
}

/// A transaction to run, still encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Names it in every later call of [`Protocol`].
    pub id: TransactionId,
    /// What to call.
    pub kind: CallKind,
    /// The channel.
    pub channel_id: String,
    /// Fabric's transaction ID.
    pub txid: String,
    /// An encoded `ChaincodeInput`.
    pub input: Bytes,
    /// What the client signed.
    pub proposal: Option<SignedProposal>,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The chaincode answered, possibly with an error.
    Answered {
        /// Its answer.
        response: Response,
        /// The event that it set.
        event: Option<ChaincodeEvent>,
    },
    /// The chaincode could not be called or could not finish.
    Failed(String),
}

/// The one who waits for the answer to a request.
pub trait Waiter {
    /// Whether nobody waits any more; a request not yet sent is then dropped.
    fn is_gone(&self) -> bool;
}

/// What a request is answered with: the payload of RESPONSE, or why there is
/// none.
pub type Answer = Result<Bytes, StubError>;

/// What the owner of a [`Protocol`] has to do.
#[derive(Debug, PartialEq)]
pub enum Output<W> {
    /// Send this message to the peer.
    Send(ChaincodeMessage),
    /// Run this transaction and call [`Protocol::finish`].
    Start(Call),
    /// Hand this answer over.
    Answer(W, Answer),
    /// End the stream: after a violation with its description, after
    /// [`Protocol::stop`] without.
    End(Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Established,
    Ready,
    Closed,
}

/// Channel and transaction ID: how the peer names a transaction.
type Route = (String, String);

#[derive(Debug)]
struct Request<W> {
    message: ChaincodeMessage,
    waiter: Option<W>,
}

/// The request that was sent and not yet answered.
#[derive(Debug)]
enum UnderWay<W> {
    None,
    Wanted(W),
    Unwanted,
}

impl<W> UnderWay<W> {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl<W> From<Option<W>> for UnderWay<W> {
    fn from(waiter: Option<W>) -> Self {
        waiter.map_or(Self::Unwanted, Self::Wanted)
    }
}

#[derive(Debug)]
struct Transaction<W> {
    route: Route,
    kind: CallKind,
    request: UnderWay<W>,
    queued: VecDeque<Request<W>>,
    /// The answer, held back until the last request is answered.
    last: Option<ChaincodeMessage>,
}

/// One stream's state. `W` is what a request's answer is given to.
#[derive(Debug)]
pub struct Protocol<W> {
    chaincode_id: String,
    limits: Limits,
    phase: Phase,
    features: Features,
    stopping: bool,
    next_id: u64,
    running: usize,
    routes: HashMap<Route, TransactionId>,
    transactions: HashMap<TransactionId, Transaction<W>>,
    waiting: VecDeque<Call>,
    outputs: VecDeque<Output<W>>,
}

impl<W: Waiter> Protocol<W> {
    /// A stream that the peer has just opened; the first output is REGISTER.
    ///
    /// `chaincode_id` is the package ID under which the peer expects this
    /// chaincode.
    pub fn new(chaincode_id: &str, limits: Limits) -> Self {
        let mut protocol = Self {
            chaincode_id: chaincode_id.to_owned(),
            limits: Limits { message_bytes: limits.message_bytes.min(MAX_MESSAGE_BYTES), ..limits },
            phase: Phase::Created,
            features: Features::default(),
            stopping: false,
            next_id: 0,
            running: 0,
            routes: HashMap::new(),
            transactions: HashMap::new(),
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
        };
        protocol.send(message::register(&protocol.chaincode_id));
        protocol
    }

    /// What to do next, or nothing until the next call.
    pub fn next_output(&mut self) -> Option<Output<W>> {
        self.outputs.pop_front()
    }

    /// What the peer offered in READY.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Transactions that run or wait.
    pub fn open_transactions(&self) -> usize {
        self.transactions.len()
    }

    /// Takes a message of the peer.
    pub fn receive(&mut self, incoming: ChaincodeMessage) {
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
                let reason = format!("[{txid}] message {name} is not possible in state {state}");
                self.violation(incoming.txid, reason);
            }
        }
    }

    /// Sends a request of a running transaction, now or when its turn comes.
    ///
    /// The answer comes as [`Output::Answer`] for `waiter`; without a waiter
    /// it is dropped.
    pub fn request(&mut self, id: TransactionId, kind: Type, payload: Bytes, waiter: Option<W>) {
        let refused = match self.transactions.get(&id) {
            _ if self.phase == Phase::Closed => Some(StubError::Disconnected),
            Some(transaction) if transaction.last.is_none() => None,
            _ => Some(StubError::Ended),
        };
        if let Some(error) = refused {
            self.refuse(waiter, error);
            return;
        }
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        let message = message::of(kind, &transaction.route, payload);
        let size = message.encoded_len();
        if size > self.limits.message_bytes {
            let limit = self.limits.message_bytes;
            self.refuse(waiter, StubError::TooLarge { size, limit });
            return;
        }
        let request = Request { message, waiter };
        if transaction.request.is_none() {
            transaction.request = request.waiter.into();
            self.outputs.push_back(Output::Send(request.message));
        } else {
            // Someone who gives up again and again must not fill the queue.
            transaction.queued.retain(|queued| !queued.waiter.as_ref().is_some_and(Waiter::is_gone));
            transaction.queued.push_back(request);
        }
    }

    /// Takes the outcome of a transaction.
    pub fn finish(&mut self, id: TransactionId, outcome: Outcome) {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        if transaction.last.is_some() {
            return;
        }
        transaction.last =
            Some(message::last(transaction.kind, &transaction.route, outcome, self.limits.message_bytes));
        self.advance(id);
    }

    /// Takes no new transactions, and ends the stream once none is running.
    pub fn stop(&mut self) {
        if self.stopping || self.phase == Phase::Closed {
            return;
        }
        self.stopping = true;
        while let Some(call) = self.waiting.pop_front() {
            self.forget(call.id);
            self.reject((call.channel_id, call.txid), message::STOPPING);
        }
        self.end_when_idle();
    }

    /// The stream is gone: whoever waits learns it, and nothing is sent.
    pub fn disconnect(&mut self) {
        self.phase = Phase::Closed;
        self.waiting.clear();
        self.routes.clear();
        self.running = 0;
        let transactions = std::mem::take(&mut self.transactions);
        for transaction in transactions.into_values() {
            let under_way = match transaction.request {
                UnderWay::Wanted(waiter) => Some(waiter),
                UnderWay::Unwanted | UnderWay::None => None,
            };
            let queued = transaction.queued.into_iter();
            let queued = queued.filter_map(|request| request.waiter);
            for waiter in under_way.into_iter().chain(queued) {
                self.outputs.push_back(Output::Answer(waiter, Err(StubError::Disconnected)));
            }
        }
    }

    fn begin(&mut self, kind: CallKind, incoming: ChaincodeMessage) {
        let route = (incoming.channel_id, incoming.txid);
        if self.routes.contains_key(&route) {
            self.reject(route, "this transaction is already running");
            return;
        }
        let nested = (self.stopping || self.running >= self.limits.running) && self.is_nested(&route.1);
        if self.stopping && !nested {
            self.reject(route, message::STOPPING);
            return;
        }
        let may_run = nested || self.running < self.limits.running;
        if !may_run && self.waiting.len() >= self.limits.waiting {
            self.reject(route, "too many transactions are waiting for this chaincode");
            return;
        }
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        let call = Call {
            id,
            kind,
            channel_id: route.0.clone(),
            txid: route.1.clone(),
            input: incoming.payload,
            proposal: incoming.proposal,
        };
        self.routes.insert(route.clone(), id);
        self.transactions
            .insert(id, Transaction { route, kind, request: UnderWay::None, queued: VecDeque::new(), last: None });
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

    /// Whether a running transaction has called, over another chaincode or
    /// channel, the one that now arrives. It must not wait for its caller.
    fn is_nested(&self, txid: &str) -> bool {
        self.transactions.values().any(|transaction| transaction.route.1 == txid && !transaction.request.is_none())
    }

    fn answer(&mut self, route: Route, answer: Answer) {
        let id = self.routes.get(&route).copied();
        let under_way = id
            .and_then(|id| self.transactions.get_mut(&id))
            .map(|found| std::mem::replace(&mut found.request, UnderWay::None));
        let (Some(id), Some(UnderWay::Wanted(_) | UnderWay::Unwanted)) = (id, &under_way) else {
            let reason = format!("[{}] nobody waits for this answer", message::short(&route.1));
            self.violation(route.1, reason);
            return;
        };
        if let Some(UnderWay::Wanted(waiter)) = under_way {
            self.outputs.push_back(Output::Answer(waiter, answer));
        }
        self.advance(id);
    }

    /// Sends the next request, or the transaction's answer when none is left.
    fn advance(&mut self, id: TransactionId) {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        if !transaction.request.is_none() {
            return;
        }
        while let Some(request) = transaction.queued.pop_front() {
            if request.waiter.as_ref().is_some_and(Waiter::is_gone) {
                continue;
            }
            transaction.request = request.waiter.into();
            self.outputs.push_back(Output::Send(request.message));
            return;
        }
        let Some(last) = transaction.last.take() else {
            return;
        };
        self.forget(id);
        self.send(last);
        self.running = self.running.saturating_sub(1);
        while self.running < self.limits.running
            && let Some(call) = self.waiting.pop_front()
        {
            self.start(call);
        }
        self.end_when_idle();
    }

    fn forget(&mut self, id: TransactionId) {
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

    fn reject(&mut self, route: Route, reason: &str) {
        self.send(message::error(route, reason));
    }

    fn refuse(&mut self, waiter: Option<W>, error: StubError) {
        if let Some(waiter) = waiter {
            self.outputs.push_back(Output::Answer(waiter, Err(error)));
        }
    }

    fn send(&mut self, message: ChaincodeMessage) {
        self.outputs.push_back(Output::Send(message));
    }
}
