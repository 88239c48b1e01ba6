//! The peer's end of the conversation: one session for a call of a chaincode,
//! within this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
use super::{CHAINCODE, MockEvent};
use crate::Response;
use crate::chaincode::Runnable;
use crate::outbox::outbox;
use crate::protocol::{Features, Limits};
use crate::session::{Ending, Session};

/// How long a transaction may take (`chaincode.executetimeout` of a peer).
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(30);

/// Chaincodes that call each other may be this deep.
const MAX_DEPTH: usize = 16;

/// What a client proposes.
pub(super) struct Proposal {
    pub(super) tx_id: String,
    pub(super) channel_id: String,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) creator: Vec<u8>,
    pub(super) transient: BTreeMap<String, Vec<u8>>,
    pub(super) decorations: BTreeMap<String, Vec<u8>>,
    pub(super) time: SystemTime,
    pub(super) is_init: bool,
}

/// What the peer has.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) chaincodes: &'a BTreeMap<String, Arc<dyn Runnable>>,
    pub(super) channel_id: &'a str,
    pub(super) features: Features,
}

type Ended = Result<(Response, Option<MockEvent>), String>;

/// Runs a proposal; what the peer itself would refuse has status 500.
pub(super) async fn endorse(
    peer: Peer<'_>,
    simulation: &mut Simulation<'_>,
    proposal: &Proposal,
) -> (Response, Option<MockEvent>) {
    let input = ChaincodeInput {
        args: proposal.args.clone(),
        decorations: proposal.decorations.clone(),
        is_init: proposal.is_init,
    };
    let run = call(peer, simulation, proposal, CHAINCODE.to_owned(), input, MAX_DEPTH);
    match tokio::time::timeout(EXECUTE_TIMEOUT, run).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(text)) => (Response::error(text), None),
        Err(_) => (Response::error("timeout expired while executing transaction"), None),
    }
}

/// Calls one chaincode, and answers its requests until it has ended.
fn call<'a>(
    peer: Peer<'a>,
    simulation: &'a mut Simulation<'_>,
    proposal: &'a Proposal,
    name: String,
    input: ChaincodeInput,
    depth: usize,
) -> BoxFuture<'a, Ended> {
    Box::pin(async move {
        let chaincode = peer.chaincodes.get(&name);
        let chaincode = chaincode.ok_or_else(|| format!("the chaincode {name:?} is not on this MockLedger"))?;
        let (outbox, mut outbound) = outbox();
        let session = Session::new(Arc::clone(chaincode), &name, Limits::default(), outbox);
        let (to, incoming) = mpsc::unbounded_channel();
        // Ends when this function does, since that drops the sender.
        tokio::spawn(session.converse(UnboundedReceiverStream::new(incoming), Ending::default()));
        for message in opening(peer, proposal, &input) {
            send(&to, message)?;
        }
        while let Some(message) = outbound.next().await {
            let message = message.map_err(|status| status.message().to_owned())?;
            let kind = message.r#type();
            let answer = match kind {
                Type::Register => continue,
                Type::Completed | Type::Error => return ended(message),
                Type::InvokeChaincode => invoke(peer, simulation, proposal, &message.payload, depth).await,
                kind => simulation
                    .answer(&name, kind, &message.payload)
                    .map_err(|text| format!("{} failed: transaction ID: {}: {text}", kind.as_str_name(), message.txid)),
            };
            let (kind, payload) = match answer {
                Ok(payload) => (Type::Response, payload),
                Err(text) => (Type::Error, text.into_bytes()),
            };
            send(&to, of(kind, proposal, payload))?;
        }
        Err("the chaincode ended its stream".to_owned())
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
        Some((_, channel)) => return Err(format!("the channel {channel:?} is not on this MockLedger")),
    };
    if depth == 0 {
        return Err("chaincodes call each other without end".to_owned());
    }
    let input = spec.input.unwrap_or_default();
    let (response, _) = call(peer, simulation, proposal, name, input, depth - 1).await?;
    let answer = of(Type::Completed, proposal, protos::Response::from(response).encode_to_vec());
    Ok(answer.encode_to_vec())
}

fn ended(message: ChaincodeMessage) -> Ended {
    if message.r#type() == Type::Error {
        return Err(String::from_utf8_lossy(&message.payload).into_owned());
    }
    let response = protos::Response::decode(message.payload).map_err(|error| error.to_string())?;
    let event =
        message.chaincode_event.map(|event| MockEvent { name: event.event_name, payload: event.payload.clone() });
    Ok((response.into(), event))
}

fn opening(peer: Peer<'_>, proposal: &Proposal, input: &ChaincodeInput) -> [ChaincodeMessage; 3] {
    let size = |size: Option<usize>| size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default();
    let offer = ChaincodeAdditionalParams {
        use_write_batch: peer.features.write_batch.is_some(),
        max_size_write_batch: size(peer.features.write_batch),
        use_get_multiple_keys: peer.features.get_multiple.is_some(),
        max_size_get_multiple_keys: size(peer.features.get_multiple),
    };
    let kind = if input.is_init { Type::Init } else { Type::Transaction };
    let mut call = of(kind, proposal, input.encode_to_vec());
    call.proposal = Some(signed(proposal));
    [of(Type::Registered, proposal, Vec::new()), of(Type::Ready, proposal, offer.encode_to_vec()), call]
}

fn signed(proposal: &Proposal) -> SignedProposal {
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        timestamp: Some(proposal.time.into()),
        channel_id: proposal.channel_id.clone(),
        tx_id: proposal.tx_id.clone(),
        ..ChannelHeader::default()
    };
    let signature_header =
        SignatureHeader { creator: proposal.creator.clone(), nonce: proposal.tx_id.as_bytes()[..24].to_vec() };
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

fn of(kind: Type, proposal: &Proposal, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload: payload.into(),
        txid: proposal.tx_id.clone(),
        channel_id: proposal.channel_id.clone(),
        ..ChaincodeMessage::default()
    }
}

fn send(to: &mpsc::UnboundedSender<Result<ChaincodeMessage, Status>>, message: ChaincodeMessage) -> Result<(), String> {
    to.send(Ok(message)).map_err(|_| "the chaincode ended its stream".to_owned())
}
