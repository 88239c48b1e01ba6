//! The peer's side of the protocol: one in-process session for each call of a chaincode.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fabric_primitives::limits::NONCE_BYTES;
use fabric_primitives::transaction::transaction_id;
use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    self, ChaincodeAdditionalParams, ChaincodeInput, ChaincodeMessage, ChaincodeProposalPayload, ChaincodeSpec,
    SignedProposal,
};
use futures::future::BoxFuture;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::simulation::Simulation;
use super::transaction::MockEvent;
use crate::chaincode::DynChaincode;
use crate::outbox::outbox;
use crate::protocol::{Features, Limits};
use crate::response::Response;
use crate::session::{Session, Shutdown};

/// The time limit of a transaction (`chaincode.executetimeout` of a peer).
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum depth of calls between chaincodes.
const MAX_DEPTH: usize = 16;

/// A client's proposal.
pub(super) struct Proposal {
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) creator: Vec<u8>,
    /// The ID of this nonce and creator.
    pub(super) tx_id: String,
    pub(super) channel_id: String,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) transient: BTreeMap<String, Vec<u8>>,
    pub(super) decorations: BTreeMap<String, Vec<u8>>,
    pub(super) time: SystemTime,
    pub(super) is_init: bool,
}

impl Proposal {
    pub(super) fn set_creator(&mut self, creator: Vec<u8>) {
        self.tx_id = transaction_id(&self.nonce, &creator);
        self.creator = creator;
    }
}

/// The peer's chaincodes, channel and features.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) chaincodes: &'a BTreeMap<String, Arc<dyn DynChaincode>>,
    pub(super) channel_id: &'a str,
    pub(super) features: Features,
}

type Outcome = Result<(Response, Option<MockEvent>), String>;

/// Runs a proposal. An error of the peer itself becomes a response with status 500.
pub(super) async fn endorse(
    peer: Peer<'_>,
    simulation: &mut Simulation<'_>,
    proposal: &Proposal,
    chaincode: &str,
) -> (Response, Option<MockEvent>) {
    let input = ChaincodeInput {
        args: proposal.args.clone(),
        decorations: proposal.decorations.clone(),
        is_init: proposal.is_init,
    };
    let run = call(peer, simulation, proposal, chaincode.to_owned(), input, MAX_DEPTH);
    match tokio::time::timeout(EXECUTE_TIMEOUT, run).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(text)) => (Response::error(text), None),
        Err(_) => (Response::error("timeout expired while executing transaction"), None),
    }
}

/// Calls a chaincode and answers its requests until it completes.
fn call<'a>(
    peer: Peer<'a>,
    simulation: &'a mut Simulation<'_>,
    proposal: &'a Proposal,
    name: String,
    input: ChaincodeInput,
    depth: usize,
) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let chaincode = peer.chaincodes.get(&name);
        let chaincode =
            chaincode.ok_or_else(|| format!("chaincode {name:?} not found: add it with MockLedger::with_chaincode"))?;
        let (outbox, mut outbound) = outbox();
        let session = Session::new(Arc::clone(chaincode), &name, Limits::default(), outbox);
        let (to, incoming) = mpsc::unbounded_channel();
        // Ends with this function, which drops the sender.
        tokio::spawn(session.serve(UnboundedReceiverStream::new(incoming), Shutdown::default()));
        for message in opening_messages(peer, proposal, &input) {
            send(&to, message)?;
        }
        while let Some(message) = outbound.next().await {
            let message = message.map_err(|status| status.message().to_owned())?;
            let kind = message.r#type();
            let answer = match kind {
                Type::Register => continue,
                Type::Completed | Type::Error => return completed(message),
                Type::InvokeChaincode => invoke(peer, simulation, proposal, &message.payload, depth).await,
                kind => simulation
                    .answer(&name, kind, &message.payload)
                    .map_err(|text| format!("{} failed: transaction ID: {}: {text}", kind.as_str_name(), message.txid)),
            };
            let (kind, payload) = match answer {
                Ok(payload) => (Type::Response, payload),
                Err(text) => (Type::Error, text.into_bytes()),
            };
            send(&to, new_message(kind, proposal, payload))?;
        }
        Err("the chaincode closed its stream".to_owned())
    })
}

/// A call from one chaincode to another.
async fn invoke(
    peer: Peer<'_>,
    simulation: &mut Simulation<'_>,
    proposal: &Proposal,
    payload: &[u8],
    depth: usize,
) -> Result<Vec<u8>, String> {
    let spec = ChaincodeSpec::decode(payload).map_err(|error| error.to_string())?;
    let name = spec.chaincode_id.map(|id| id.name).unwrap_or_default();
    let name = match name.split_once('/') {
        None => name,
        Some((name, channel)) if channel == peer.channel_id => name.to_owned(),
        Some((_, channel)) => return Err(format!("channel {channel:?} not found: a MockLedger has one channel")),
    };
    if depth == 0 {
        return Err("too many nested calls between chaincodes".to_owned());
    }
    let input = spec.input.unwrap_or_default();
    let (response, _) = call(peer, simulation, proposal, name, input, depth - 1).await?;
    let answer = new_message(Type::Completed, proposal, protos::Response::from(response).encode_to_vec());
    Ok(answer.encode_to_vec())
}

fn completed(message: ChaincodeMessage) -> Outcome {
    if message.r#type() == Type::Error {
        return Err(String::from_utf8_lossy(&message.payload).into_owned());
    }
    let response = protos::Response::decode(message.payload).map_err(|error| error.to_string())?;
    let event =
        message.chaincode_event.map(|event| MockEvent { name: event.event_name, payload: event.payload.clone() });
    Ok((response.into(), event))
}

fn opening_messages(peer: Peer<'_>, proposal: &Proposal, input: &ChaincodeInput) -> [ChaincodeMessage; 3] {
    let size = |size: Option<usize>| size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default();
    let offer = ChaincodeAdditionalParams {
        use_write_batch: peer.features.write_batch.is_some(),
        max_size_write_batch: size(peer.features.write_batch),
        use_get_multiple_keys: peer.features.get_multiple.is_some(),
        max_size_get_multiple_keys: size(peer.features.get_multiple),
    };
    let kind = if input.is_init { Type::Init } else { Type::Transaction };
    let mut call = new_message(kind, proposal, input.encode_to_vec());
    call.proposal = Some(signed_proposal(proposal));
    [
        new_message(Type::Registered, proposal, Vec::new()),
        new_message(Type::Ready, proposal, offer.encode_to_vec()),
        call,
    ]
}

fn signed_proposal(proposal: &Proposal) -> SignedProposal {
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        timestamp: Some(proposal.time.into()),
        channel_id: proposal.channel_id.clone(),
        tx_id: proposal.tx_id.clone(),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: proposal.creator.clone(), nonce: proposal.nonce.to_vec() };
    let header =
        Header { channel_header: channel_header.encode_to_vec(), signature_header: signature_header.encode_to_vec() };
    let payload =
        ChaincodeProposalPayload { transient_map: proposal.transient.clone(), ..ChaincodeProposalPayload::default() };
    let proposal = protos::Proposal {
        header: header.encode_to_vec(),
        payload: payload.encode_to_vec(),
        ..protos::Proposal::default()
    };
    SignedProposal { proposal_bytes: proposal.encode_to_vec(), signature: Vec::new() }
}

fn new_message(kind: Type, proposal: &Proposal, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload: payload.into(),
        txid: proposal.tx_id.clone(),
        channel_id: proposal.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

fn send(to: &mpsc::UnboundedSender<Result<ChaincodeMessage, Status>>, message: ChaincodeMessage) -> Result<(), String> {
    to.send(Ok(message)).map_err(|_| "the chaincode closed its stream".to_owned())
}
