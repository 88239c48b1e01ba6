//! A transaction's arguments, proposal and ledger calls.
//!
//! Ledger calls are requests to the peer. As in every Fabric chaincode, a transaction cannot read
//! its own writes.

mod batch;
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

use crate::arguments::{ArgumentError, Arguments};
use crate::peer_stream::PeerStream;
use crate::protocol::{Call, CallId, Features};
use crate::response::Response;
use crate::stub_error::StubError;

use batch::WriteBatch;
pub use keys::{composite_key, split_composite_key};
use proposal::ProposalContents;
pub use query::{HistoryResults, KeyModification, KeyValue, Page, StateResults};

/// The metadata entry that contains a key's endorsement policy (`peer.MetaDataKeys` of Fabric's
/// protos).
pub(crate) const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// A transaction: its arguments, its proposal and the ledger.
///
/// A stub is a handle; clones refer to the same transaction. Concurrent ledger calls are sent one
/// after another, since a peer handles one at a time. After `invoke` has returned, every ledger call
/// fails immediately with [`StubError::Ended`].
///
/// ```
/// use chaincode_shim::{Error, Stub};
///
/// async fn transfer(stub: Stub, id: String, new_owner: String) -> Result<String, Error> {
///     let owner = stub.get_state(&id).await?.ok_or_else(|| Error::new(format!("asset {id} not found")))?;
///     stub.put_state(&id, new_owner).await?;
///     stub.set_event("Transferred", id)?;
///     Ok(String::from_utf8_lossy(&owner).into_owned())
/// }
/// ```
#[derive(Clone)]
pub struct Stub {
    inner: Arc<Inner>,
}

struct Inner {
    id: CallId,
    stream: Arc<PeerStream>,
    features: Features,
    txid: String,
    channel_id: String,
    input: ChaincodeInput,
    signed_proposal: Option<SignedProposal>,
    proposal: Option<ProposalContents>,
    event: Mutex<Option<ChaincodeEvent>>,
    batch: Mutex<Option<WriteBatch>>,
}

impl Stub {
    /// Decodes a call; the error is the message for the peer.
    pub(crate) fn new(call: Call, stream: Arc<PeerStream>) -> Result<Self, String> {
        let input = ChaincodeInput::decode(call.input).map_err(|error| format!("invalid chaincode input: {error}"))?;
        let proposal =
            call.proposal.as_ref().map(ProposalContents::read).transpose().map_err(|error| error.to_string())?;
        Ok(Self {
            inner: Arc::new(Inner {
                id: call.id,
                stream,
                features: call.features,
                txid: call.txid,
                channel_id: call.channel_id,
                input,
                signed_proposal: call.proposal,
                proposal,
                event: Mutex::new(None),
                batch: Mutex::new(None),
            }),
        })
    }

    /// Fabric's transaction ID: 64 hexadecimal digits.
    pub fn tx_id(&self) -> &str {
        &self.inner.txid
    }

    /// The channel's name.
    pub fn channel_id(&self) -> &str {
        &self.inner.channel_id
    }

    /// All arguments; the first one is the function's name.
    pub fn args(&self) -> &[Vec<u8>] {
        &self.inner.input.args
    }

    /// All arguments as text; invalid UTF-8 is replaced by U+FFFD.
    pub fn string_args(&self) -> Vec<String> {
        self.args().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    /// The function's name: the first argument, or empty if there is none.
    pub fn function(&self) -> String {
        let name = self.args().first().map(Vec::as_slice);
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    /// The arguments after the function's name, converted to `A`.
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
    /// When their number or the type of one is wrong.
    pub fn parameters<A: Arguments>(&self) -> Result<A, ArgumentError> {
        A::from_arguments(self.args().get(1..).unwrap_or_default())
    }

    /// Whether the client asked for initialization (`--isInit`).
    pub fn is_init(&self) -> bool {
        self.inner.input.is_init
    }

    /// The entries that the peer's decorators added to the input.
    pub fn decorations(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.inner.input.decorations
    }

    /// The client, an encoded `msp.SerializedIdentity`; empty if the peer sent no proposal.
    pub fn creator(&self) -> &[u8] {
        self.proposal_bytes(|proposal| &proposal.creator)
    }

    /// The proposal's transient data, by name. It is not written to the ledger.
    pub fn transient(&self) -> &BTreeMap<String, Vec<u8>> {
        static NONE: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        self.inner.proposal.as_ref().map_or(&NONE, |proposal| &proposal.transient)
    }

    /// SHA-256 of nonce, creator and epoch, which binds application data to this proposal; empty if
    /// the peer sent no proposal.
    pub fn binding(&self) -> &[u8] {
        self.proposal_bytes(|proposal| &proposal.binding)
    }

    /// The proposal that the client signed.
    pub fn signed_proposal(&self) -> Option<&SignedProposal> {
        self.inner.signed_proposal.as_ref()
    }

    /// The client's timestamp: the same on every peer, and verified by none.
    pub fn timestamp(&self) -> Option<SystemTime> {
        self.inner.proposal.as_ref().and_then(|proposal| proposal.timestamp)
    }

    /// Sets the transaction's event, replacing an earlier one. Clients receive it when the
    /// transaction is committed.
    ///
    /// # Errors
    ///
    /// When the name is empty.
    pub fn set_event(&self, name: &str, payload: impl Into<Vec<u8>>) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::Invalid("the event name is empty".to_owned()));
        }
        let event =
            ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..ChaincodeEvent::default() };
        *self.inner.event.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
        Ok(())
    }

    /// Calls another chaincode of the peer within this transaction.
    ///
    /// On this channel (`channel` is empty or its name) the writes of the called chaincode join this
    /// transaction. On another channel they are discarded. A response with status 400 or higher is
    /// returned as `Ok`.
    ///
    /// # Errors
    ///
    /// When the peer cannot make the call.
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
        let answer = self.request(Type::InvokeChaincode, &spec).await?;
        let message: ChaincodeMessage = decode(Type::InvokeChaincode, answer)?;
        if message.r#type != i32::from(Type::Completed) {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            return Err(StubError::Peer(text));
        }
        let response: protos::Response = decode(Type::InvokeChaincode, message.payload)?;
        Ok(response.into())
    }

    /// Removes the event that was set last.
    pub(crate) fn take_event(&self) -> Option<ChaincodeEvent> {
        self.inner.event.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a request and waits for its answer.
    async fn request(&self, kind: Type, payload: &impl Message) -> Result<Bytes, StubError> {
        let payload = Bytes::from(payload.encode_to_vec());
        self.inner.stream.request(self.inner.id, kind, payload).await
    }

    /// Sends a request and ignores its answer.
    fn notify(&self, kind: Type, payload: &impl Message) {
        let payload = Bytes::from(payload.encode_to_vec());
        self.inner.stream.notify(self.inner.id, kind, payload);
    }

    fn proposal_bytes<'a>(&'a self, read: impl FnOnce(&'a ProposalContents) -> &'a [u8]) -> &'a [u8] {
        self.inner.proposal.as_ref().map(read).unwrap_or_default()
    }
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arguments and transient data may be confidential.
        formatter
            .debug_struct("Stub")
            .field("tx_id", &self.inner.txid)
            .field("channel_id", &self.inner.channel_id)
            .finish_non_exhaustive()
    }
}

/// Decodes an answer of the peer.
fn decode<M: Message + Default>(request: Type, payload: Bytes) -> Result<M, StubError> {
    M::decode(payload).map_err(|source| StubError::Malformed { request: request.as_str_name(), source })
}
