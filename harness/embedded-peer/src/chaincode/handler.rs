//! The peer's side of a chaincode stream: registration, transactions, and the handling of every
//! message. It does no I/O: it takes messages and returns frames.
//!
//! Follows Fabric's core/chaincode/handler.go.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fabric_network::release::Release;
use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage};
use tokio::sync::{mpsc, oneshot};

use super::call::Call;
use super::error::ExecuteReason;
use super::frame::framed;
use super::registry::Registry;
use super::requests;
use super::transaction::Transaction;
use crate::faults::{Action, Faults};
use crate::trace::{Direction, EventKind, Tracer};

/// State shared by all streams of a peer.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) node: Arc<str>,
    pub(super) release: Release,
    pub(super) parameters: ChaincodeAdditionalParams,
    pub(super) total_query_limit: i32,
    pub(super) execute_timeout: Duration,
    pub(super) keepalive: Option<Duration>,
    pub(super) tracer: Tracer,
    pub(super) faults: Faults,
}

/// A command from other tasks to a stream's task.
pub(super) enum Command {
    /// Send this frame.
    Send(Bytes),
    /// Handle this delayed message.
    Receive(Box<ChaincodeMessage>),
    /// End the stream.
    End(String),
}

/// The state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Created,
    Established,
    Ready,
}

/// The handler of one stream.
pub(super) struct Handler {
    pub(super) settings: Arc<Settings>,
    pub(super) stream: u64,
    registry: Arc<Registry>,
    commands: mpsc::UnboundedSender<Command>,
    state: Mutex<State>,
    transactions: Mutex<Transactions>,
}

struct State {
    phase: Phase,
    package_id: String,
    /// Where to report the server's registration, and the server's address.
    registration: Option<(Arc<Mutex<String>>, String)>,
}

#[derive(Default)]
struct Transactions {
    active: HashMap<String, Arc<Transaction>>,
    is_closed: bool,
}

impl fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handler").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Handler {
    pub(super) fn new(
        settings: Arc<Settings>,
        registry: Arc<Registry>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let handler = Self {
            stream: settings.tracer.next_stream(),
            settings,
            registry,
            commands,
            state: Mutex::new(State { phase: Phase::Created, package_id: String::new(), registration: None }),
            transactions: Mutex::default(),
        };
        (Arc::new(handler), receiver)
    }

    /// The registered package ID; empty before registration.
    pub(super) fn package_id(&self) -> String {
        self.state().package_id.clone()
    }

    /// Reports the package ID that the server registers, in case the caller expects another one.
    pub(super) fn report_registration(&self, progress: Arc<Mutex<String>>, address: String) {
        self.state().registration = Some((progress, address));
    }

    /// Whether transactions can be executed.
    pub(super) fn is_ready(&self) -> bool {
        self.state().phase == Phase::Ready
    }

    /// Handles a message of the chaincode and appends the answers to `out`. An error ends the
    /// stream and is Fabric's text.
    pub(super) fn receive(
        self: &Arc<Self>,
        message: ChaincodeMessage,
        total: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<(), String> {
        const UP: Direction = Direction::ChaincodeToPeer;
        let settings = &self.settings;
        if settings.tracer.is_enabled() {
            let message = Arc::new(message.clone());
            settings.tracer.emit(&settings.node, || EventKind::ChaincodeMessage {
                stream: self.stream,
                direction: UP,
                message,
                total,
            });
        }
        match settings.faults.check(&settings.node, UP, type_name(message.r#type)) {
            None => self.handle(message, out),
            Some(Action::Drop) => Ok(()),
            Some(Action::Delay(time)) => {
                let commands = self.commands.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // The stream may have ended.
                    let _ = commands.send(Command::Receive(Box::new(message)));
                });
                Ok(())
            }
            Some(Action::Fail(text)) => match Type::try_from(message.r#type) {
                Ok(Type::Register) => Err(text),
                Ok(Type::Completed | Type::Error) => {
                    self.notify(ChaincodeMessage { r#type: Type::Error.into(), payload: text.into(), ..message });
                    Ok(())
                }
                _ => {
                    self.answer(&message, Err(text), out);
                    Ok(())
                }
            },
        }
    }

    /// Handles a message without fault injection.
    pub(super) fn handle(self: &Arc<Self>, message: ChaincodeMessage, out: &mut Vec<Bytes>) -> Result<(), String> {
        let kind = Type::try_from(message.r#type);
        if kind == Ok(Type::Keepalive) {
            return Ok(());
        }
        let phase = self.state().phase;
        let unexpected = |state| {
            let (txid, number) = (&message.txid, message.r#type);
            let name = Type::try_from(number).map_or(number.to_string(), |kind| kind.as_str_name().to_owned());
            Err(format!("[{txid}] Fabric side handler cannot handle message ({name}) while in {state} state"))
        };
        match (phase, kind) {
            (Phase::Created, Ok(Type::Register)) => {
                self.register(&message, out);
                Ok(())
            }
            (Phase::Created, _) => unexpected("created"),
            (Phase::Established, _) => {
                Err(format!("handle message: invalid state established for transaction {}", message.txid))
            }
            (Phase::Ready, Ok(Type::Completed | Type::Error)) => {
                self.notify(message);
                Ok(())
            }
            (Phase::Ready, Ok(kind)) if requests::is_request(kind) => {
                self.request(message, kind, out);
                Ok(())
            }
            (Phase::Ready, _) => unexpected("ready"),
        }
    }

    fn register(self: &Arc<Self>, message: &ChaincodeMessage, out: &mut Vec<Bytes>) {
        let id = match ChaincodeId::decode(message.payload.clone()) {
            Ok(id) => id.name,
            Err(error) => {
                tracing::error!("error in received REGISTER, could not unmarshal registration info: {error}");
                return;
            }
        };
        if id.is_empty() {
            tracing::error!("error in handling register chaincode, chaincodeID name is empty");
            return;
        }
        {
            let mut state = self.state();
            id.clone_into(&mut state.package_id);
            if let Some((progress, address)) = &state.registration {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                *progress = format!("the server at {address} registered as {id:?}");
            }
        }
        if let Err(error) = self.registry.register(&id, self) {
            let note = || EventKind::Note(format!("failed to start {id} -- {error}"));
            self.settings.tracer.emit(&self.settings.node, note);
            self.registry.finish_launch(&id, Err(error));
            return;
        }
        self.send(message_of(Type::Registered, Bytes::new()), out);
        self.state().phase = Phase::Established;
        let parameters = if self.settings.release.has_key_batches() {
            self.settings.parameters.encode_to_vec().into()
        } else {
            Bytes::new()
        };
        self.send(message_of(Type::Ready, parameters), out);
        self.state().phase = Phase::Ready;
        self.registry.finish_launch(&id, Ok(()));
    }

    /// Handles a ledger request of the chaincode.
    fn request(self: &Arc<Self>, message: ChaincodeMessage, kind: Type, out: &mut Vec<Bytes>) {
        let key = context_key(&message.channel_id, &message.txid);
        let transaction = self.transactions().active.get(&key).cloned();
        let Some(transaction) = transaction else {
            let reason = match kind {
                Type::InvokeChaincode => "could not get valid transaction",
                _ => "no ledger context",
            };
            self.answer(&message, Err(reason.to_owned()), out);
            return;
        };
        if !transaction.begin_request() {
            tracing::error!(
                "[{}] another request is pending for this transaction of {}: cannot process",
                message.txid,
                self.package_id()
            );
            return;
        }
        if !requests::is_long(kind) {
            let result = requests::answer(&transaction, &message, kind, self.settings.total_query_limit);
            transaction.end_request();
            self.answer(&message, result, out);
            return;
        }
        let handler = self.clone();
        tokio::spawn(async move {
            let result = if kind == Type::InvokeChaincode {
                requests::invoke(&transaction, &message).await
            } else {
                let (asked, limit) = (message.clone(), handler.settings.total_query_limit);
                let of = transaction.clone();
                tokio::task::spawn_blocking(move || requests::answer(&of, &asked, kind, limit))
                    .await
                    .unwrap_or_else(|_| Err("panic during execution".to_owned()))
            };
            transaction.end_request();
            drop(transaction);
            let mut out = Vec::new();
            handler.answer(&message, result, &mut out);
            handler.send_later(out);
        });
    }

    /// Answers a request. The error is formatted as in Fabric.
    fn answer(&self, message: &ChaincodeMessage, result: Result<Bytes, String>, out: &mut Vec<Bytes>) {
        let (kind, payload) = match result {
            Ok(payload) => (Type::Response, payload),
            Err(error) => {
                let name = type_name(message.r#type);
                let text = format!("{name} failed: transaction ID: {}: {error}", message.txid);
                tracing::error!("[{}] {text}", message.txid);
                (Type::Error, text.into())
            }
        };
        let answer = ChaincodeMessage {
            txid: message.txid.clone(),
            channel_id: message.channel_id.clone(),
            ..message_of(kind, payload)
        };
        self.send(answer, out);
    }

    /// Passes the final message of a transaction to its caller.
    fn notify(&self, message: ChaincodeMessage) {
        let key = context_key(&message.channel_id, &message.txid);
        let Some(transaction) = self.transactions().active.remove(&key) else {
            tracing::debug!("no caller waits for transaction {}", message.txid);
            return;
        };
        let done = transaction.take_done();
        drop(transaction);
        if let Some(done) = done {
            // The caller may be gone.
            let _ = done.send(Ok(message));
        }
    }

    /// Executes a transaction and waits for its end.
    pub(super) async fn execute(self: &Arc<Self>, call: Call) -> Result<ChaincodeMessage, ExecuteReason> {
        let kind = if call.is_init { Type::Init } else { Type::Transaction };
        let key = context_key(&call.channel, &call.transaction_id);
        let (done, end) = oneshot::channel();
        let payload = call.input.encode_to_vec();
        let message = ChaincodeMessage {
            proposal: Some(call.signed_proposal),
            txid: call.transaction_id.clone(),
            channel_id: call.channel.clone(),
            ..message_of(kind, payload.into())
        };
        let transaction = Transaction::new(
            call.channel,
            call.transaction_id,
            call.chaincode,
            call.is_init,
            call.simulation,
            call.host,
            done,
        );
        let active = self.begin(key, transaction)?;
        let mut out = Vec::with_capacity(1);
        self.send(message, &mut out);
        self.send_later(out);
        let deadline = tokio::time::Instant::now() + self.settings.execute_timeout;
        Execution(Some((active, end, deadline))).end().await
    }

    fn begin(self: &Arc<Self>, key: String, transaction: Transaction) -> Result<Active, ExecuteReason> {
        let mut transactions = self.transactions();
        if transactions.is_closed {
            return Err(ExecuteReason::StreamTerminated);
        }
        if transactions.active.contains_key(&key) {
            let (transaction_id, channel) = (transaction.id, transaction.channel);
            return Err(ExecuteReason::Exists { transaction_id, channel });
        }
        let transaction = Arc::new(transaction);
        transactions.active.insert(key.clone(), transaction.clone());
        Ok(Active { handler: self.clone(), key, transaction: Arc::downgrade(&transaction) })
    }

    /// Frames a message for the chaincode and traces it. Applies the injected faults.
    fn send(&self, message: ChaincodeMessage, out: &mut Vec<Bytes>) {
        const DOWN: Direction = Direction::PeerToChaincode;
        let settings = &self.settings;
        let message = match settings.faults.check(&settings.node, DOWN, type_name(message.r#type)) {
            None => message,
            Some(Action::Drop) => return,
            Some(Action::Delay(time)) => {
                let (frame, total) = framed(&message);
                let (commands, stream) = (self.commands.clone(), self.stream);
                let settings = settings.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    trace_sent(&settings, stream, message, total);
                    let _ = commands.send(Command::Send(frame));
                });
                return;
            }
            Some(Action::Fail(text)) => match Type::try_from(message.r#type) {
                Ok(Type::Transaction | Type::Init) => {
                    let key = context_key(&message.channel_id, &message.txid);
                    let transaction = self.transactions().active.remove(&key);
                    if let Some(done) = transaction.and_then(|transaction| transaction.take_done()) {
                        let _ = done.send(Err(text));
                    }
                    return;
                }
                Ok(Type::Response | Type::Error) => {
                    ChaincodeMessage { r#type: Type::Error.into(), payload: text.into(), ..message }
                }
                _ => {
                    let _ = self.commands.send(Command::End(text));
                    return;
                }
            },
        };
        let (frame, total) = framed(&message);
        if total > MAX_MESSAGE_BYTES {
            self.refuse_to_send(message, total);
            return;
        }
        trace_sent(settings, self.stream, message, total);
        out.push(frame);
    }

    /// Ends the message's transaction and the stream, as after an error of grpc-go's `Send`.
    fn refuse_to_send(&self, message: ChaincodeMessage, total: usize) {
        let text = format!(
            "[{}] error sending {}: rpc error: code = ResourceExhausted desc = trying to send message larger than max \
             ({total} vs. {MAX_MESSAGE_BYTES})",
            message.txid.get(..8).unwrap_or(&message.txid),
            type_name(message.r#type),
        );
        tracing::error!("{text}");
        let end = format!("received error while sending message, ending chaincode support stream: {text}");
        self.notify(ChaincodeMessage { r#type: Type::Error.into(), payload: text.into(), ..message });
        let _ = self.commands.send(Command::End(end));
    }

    /// The frame of a KEEPALIVE.
    pub(super) fn keepalive(&self, out: &mut Vec<Bytes>) {
        self.send(message_of(Type::Keepalive, Bytes::new()), out);
    }

    /// Sends frames from outside of the stream's task.
    fn send_later(&self, frames: Vec<Bytes>) {
        for frame in frames {
            // Without a task the stream has ended, and all callers have been notified.
            let _ = self.commands.send(Command::Send(frame));
        }
    }

    /// Ends all transactions because the stream has ended.
    pub(super) fn end(self: &Arc<Self>) {
        let ended = {
            let mut transactions = self.transactions();
            transactions.is_closed = true;
            std::mem::take(&mut transactions.active)
        };
        self.registry.deregister(&self.package_id(), self);
        for transaction in ended.into_values() {
            // Dropping the sender notifies the caller.
            drop(transaction.take_done());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction in execution; dropping it ends the transaction.
struct Active {
    handler: Arc<Handler>,
    key: String,
    transaction: std::sync::Weak<Transaction>,
}

/// A transaction whose end is awaited. As in Fabric, it goes on when its caller goes away: otherwise the chaincode's
/// next request would fail without a ledger context.
struct Execution(Option<(Active, End, tokio::time::Instant)>);

type End = oneshot::Receiver<Result<ChaincodeMessage, String>>;

impl Execution {
    async fn end(&mut self) -> Result<ChaincodeMessage, ExecuteReason> {
        let Some((_, end, deadline)) = &mut self.0 else { return Err(ExecuteReason::StreamTerminated) };
        let ended = tokio::time::timeout_at(*deadline, end).await;
        self.0 = None;
        match ended {
            Ok(Ok(Ok(message))) => Ok(message),
            Ok(Ok(Err(text))) => Err(ExecuteReason::Send(text)),
            Ok(Err(_)) => Err(ExecuteReason::StreamTerminated),
            Err(_) => Err(ExecuteReason::Timeout),
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let (Some((active, end, deadline)), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let _ = tokio::time::timeout_at(deadline, end).await;
                drop(active);
            });
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut transactions = self.handler.transactions();
        // After the chaincode ended it, the same transaction may have started again.
        if let Some(active) = transactions.active.get(&self.key)
            && std::ptr::eq(Arc::as_ptr(active), self.transaction.as_ptr())
        {
            transactions.active.remove(&self.key);
        }
    }
}

fn trace_sent(settings: &Settings, stream: u64, message: ChaincodeMessage, total: usize) {
    settings.tracer.emit(&settings.node, || EventKind::ChaincodeMessage {
        stream,
        direction: Direction::PeerToChaincode,
        message: Arc::new(message),
        total,
    });
}

fn context_key(channel: &str, transaction_id: &str) -> String {
    let mut key = String::with_capacity(channel.len() + transaction_id.len());
    key.push_str(channel);
    key.push_str(transaction_id);
    key
}

fn message_of(kind: Type, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind.into(), payload, ..ChaincodeMessage::default() }
}

/// The name of a message type in Fabric's .proto files.
fn type_name(number: i32) -> &'static str {
    Type::try_from(number).map_or("unknown", |kind| kind.as_str_name())
}
