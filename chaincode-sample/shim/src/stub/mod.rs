//! What one transaction may know and ask: its arguments, who sent it, and
//! the ledger behind the peer.
//!
//! Calls of the ledger are requests to the peer; reading back what this
//! transaction wrote is not possible, as in every Fabric chaincode.

mod batch;
mod error;
mod keys;
mod private;
mod proposal;
mod query;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    self, ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, SignedProposal,
};
use prost::Message;

use crate::protocol::{Call, Features, TransactionId};
use crate::session::Session;
use crate::{ArgumentError, Arguments, Response};

use batch::WriteBatch;
pub use error::StubError;
pub use keys::{composite_key, split_composite_key};
use proposal::ProposalFacts;
pub use query::{HistoryResults, KeyModification, KeyValue, Page, StateResults};
pub(crate) use state::VALIDATION_PARAMETER;

/// A transaction's view of its proposal and of the ledger.
///
/// A handle: clones are the same transaction. Several calls at a time are
/// sent one after another, since a peer takes one at a time. When `invoke`
/// has returned, every further call of the ledger fails at once with
/// [`StubError::Ended`].
#[derive(Clone)]
pub struct Stub {
    inner: Arc<Inner>,
}

struct Inner {
    id: TransactionId,
    session: Arc<Session>,
    features: Features,
    txid: String,
    channel_id: String,
    input: ChaincodeInput,
    signed_proposal: Option<SignedProposal>,
    facts: Option<ProposalFacts>,
    event: Mutex<Option<ChaincodeEvent>>,
    batch: Mutex<Option<WriteBatch>>,
}

impl Stub {
    /// Reads a call; the error is the text for the peer.
    pub(crate) fn new(call: Call, session: Arc<Session>, features: Features) -> Result<Self, String> {
        let input = ChaincodeInput::decode(call.input)
            .map_err(|error| format!("the chaincode input cannot be read: {error}"))?;
        let facts = call.proposal.as_ref().map(ProposalFacts::read).transpose().map_err(|error| error.to_string())?;
        Ok(Self {
            inner: Arc::new(Inner {
                id: call.id,
                session,
                features,
                txid: call.txid,
                channel_id: call.channel_id,
                input,
                signed_proposal: call.proposal,
                facts,
                event: Mutex::new(None),
                batch: Mutex::new(None),
            }),
        })
    }

    /// Fabric's transaction ID: 64 hexadecimal digits.
    pub fn tx_id(&self) -> &str {
        &self.inner.txid
    }

    /// The channel.
    pub fn channel_id(&self) -> &str {
        &self.inner.channel_id
    }

    /// All arguments, the function's name first.
    pub fn args(&self) -> &[Vec<u8>] {
        &self.inner.input.args
    }

    /// All arguments as text; bytes that are no UTF-8 become U+FFFD.
    pub fn string_args(&self) -> Vec<String> {
        self.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    /// The function's name: the first argument, or empty without one.
    pub fn function(&self) -> String {
        let name = self.args().first().map(Vec::as_slice);
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    /// The arguments after the function's name, converted.
    ///
    /// ```
    /// # use chaincode_shim::{Error, Stub};
    /// # fn read(stub: &Stub) -> Result<(), Error> {
    /// let (id, size): (String, i64) = stub.parameters()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there are more or fewer, or one has another type.
    pub fn parameters<A: Arguments>(&self) -> Result<A, ArgumentError> {
        A::from_arguments(self.args().get(1..).unwrap_or_default())
    }

    /// Whether the client asked for initialization (`--isInit`).
    pub fn is_init(&self) -> bool {
        self.inner.input.is_init
    }

    /// What the peer's decorators added to the input.
    pub fn decorations(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.inner.input.decorations
    }

    /// The client: an encoded `msp.SerializedIdentity`. Empty when the peer
    /// sent no proposal.
    pub fn creator(&self) -> &[u8] {
        self.facts(|facts| facts.creator.as_slice())
    }

    /// Data of the proposal that stays off the ledger, by name.
    pub fn transient(&self) -> &BTreeMap<String, Vec<u8>> {
        static NONE: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        self.inner.facts.as_ref().map_or(&NONE, |facts| &facts.transient)
    }

    /// SHA-256 over nonce, creator and epoch: ties application data to this
    /// proposal. Empty when the peer sent no proposal.
    pub fn binding(&self) -> &[u8] {
        self.facts(|facts| facts.binding.as_slice())
    }

    /// What the client signed.
    pub fn signed_proposal(&self) -> Option<&SignedProposal> {
        self.inner.signed_proposal.as_ref()
    }

    /// The client's time stamp: the same on every peer, and not checked by
    /// any of them.
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.inner.facts.as_ref().and_then(|facts| facts.timestamp)
    }

    /// Sets the transaction's event; the last one set counts. Clients get it
    /// when the transaction is committed.
    ///
    /// # Errors
    ///
    /// When the name is empty.
    pub fn set_event(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::Invalid("the event's name is empty".to_owned()));
        }
        let event =
            ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..ChaincodeEvent::default() };
        *self.inner.event.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
        Ok(())
    }

    /// Calls another chaincode of the peer, in this transaction.
    ///
    /// On this channel (`channel` empty, or this one's name) its writes join
    /// this transaction's; on another channel they are dropped, and only the
    /// answer counts. A status of 400 and above is an answer like any other.
    ///
    /// # Errors
    ///
    /// When the peer could not make the call.
    pub async fn invoke_chaincode(&self, name: &str, args: Vec<Vec<u8>>, channel: &str) -> Result<Response, StubError> {
        let name = match channel {
            "" => name.to_owned(),
            channel => format!("{name}/{channel}"),
        };
        let spec = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId { name, ..ChaincodeId::default() }),
            input: Some(ChaincodeInput { args, ..ChaincodeInput::default() }),
            ..ChaincodeSpec::default()
        };
        let answer = self.ask(Type::InvokeChaincode, &spec).await?;
        let message: ChaincodeMessage = decode(Type::InvokeChaincode, answer)?;
        if message.r#type != i32::from(Type::Completed) {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            return Err(StubError::Peer(text));
        }
        let response: protos::Response = decode(Type::InvokeChaincode, message.payload)?;
        Ok(response.into())
    }

    /// The event that was set last, for the transaction's answer.
    pub(crate) fn take_event(&self) -> Option<ChaincodeEvent> {
        self.inner.event.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a request and waits for its answer.
    async fn ask(&self, kind: Type, payload: &impl Message) -> Result<Bytes, StubError> {
        let payload = Bytes::from(payload.encode_to_vec());
        self.inner.session.request(self.inner.id, kind, payload).await
    }

    /// Sends a request whose answer nobody needs.
    fn tell(&self, kind: Type, payload: &impl Message) {
        let payload = Bytes::from(payload.encode_to_vec());
        self.inner.session.tell(self.inner.id, kind, payload);
    }

    fn facts<'a>(&'a self, read: impl FnOnce(&'a ProposalFacts) -> &'a [u8]) -> &'a [u8] {
        self.inner.facts.as_ref().map(read).unwrap_or_default()
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arguments and transient data may be secret.
        formatter
            .debug_struct("Stub")
            .field("tx_id", &self.inner.txid)
            .field("channel_id", &self.inner.channel_id)
            .finish_non_exhaustive()
    }
}

/// Reads an answer of the peer.
fn decode<M: Message + Default>(request: Type, payload: Bytes) -> Result<M, StubError> {
    M::decode(payload).map_err(|source| StubError::Malformed { request: request.as_str_name(), source })
}
