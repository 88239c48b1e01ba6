//! Decodes an envelope and checks its creator's signature and the endorsements
//! (`core/common/validation/msgvalidation.go` and the first half of the dispatcher).

use std::collections::HashSet;
use std::sync::Arc;

use fabric_primitives::transaction::transaction_id;
use fabric_protos::common::{ChannelHeader, ConfigEnvelope, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, ChaincodeHeaderExtension, ProposalResponsePayload,
    Transaction, TxValidationCode as Code,
};
use prost::Message;
use ring::digest::{Context, SHA256};

use super::TransactionKind;
use crate::config::ChannelConfig;
use crate::ledger::{NamespaceSet, ReadWriteSets};
use crate::msp::Identity;
use crate::policy::{SignedData, signers};

/// A decoded envelope, checked without the state.
pub(super) struct Opened {
    pub(super) id: String,
    pub(super) kind: TransactionKind,
    pub(super) content: Result<Content, Code>,
}

/// The content of a valid envelope.
pub(super) enum Content {
    Config(Box<ConfigEnvelope>),
    /// An endorser transaction. Its error code applies only after the check for duplicate IDs.
    Endorser(Result<Action, Code>),
}

/// A chaincode action and its endorsers.
pub(super) struct Action {
    pub(super) chaincode: String,
    pub(super) sets: Arc<ReadWriteSets>,
    pub(super) event: Option<ChaincodeEvent>,
    /// The distinct endorsers with a valid signature.
    pub(super) endorsers: Vec<Arc<Identity>>,
}

/// Decodes and checks an envelope.
pub(super) fn open(envelope: &[u8], config: &ChannelConfig) -> Opened {
    let wrong = |code| Opened { id: String::new(), kind: TransactionKind::Other, content: Err(code) };
    let Ok(envelope) = Envelope::decode(envelope) else { return wrong(Code::InvalidOtherReason) };
    let Ok(payload) = Payload::decode(&*envelope.payload) else { return wrong(Code::BadPayload) };
    let headers = payload.header.as_ref().and_then(headers);
    let Some((channel_header, signature_header)) = headers else { return wrong(Code::BadCommonHeader) };
    let kind = match HeaderType::try_from(channel_header.r#type) {
        Ok(HeaderType::EndorserTransaction) => TransactionKind::Endorser,
        Ok(HeaderType::Config) => TransactionKind::Config,
        _ => TransactionKind::Other,
    };
    let content = content(&envelope, &payload, &channel_header, &signature_header, config);
    let id = if channel_header.tx_id.is_empty() {
        transaction_id(&signature_header.nonce, &signature_header.creator)
    } else {
        channel_header.tx_id
    };
    Opened { id, kind, content }
}

fn headers(header: &Header) -> Option<(ChannelHeader, SignatureHeader)> {
    let channel = ChannelHeader::decode(&*header.channel_header).ok()?;
    Some((channel, SignatureHeader::decode(&*header.signature_header).ok()?))
}

fn content(
    envelope: &Envelope,
    payload: &Payload,
    channel_header: &ChannelHeader,
    signature_header: &SignatureHeader,
    config: &ChannelConfig,
) -> Result<Content, Code> {
    let kind = HeaderType::try_from(channel_header.r#type).map_err(|_| Code::BadCommonHeader)?;
    let known = matches!(kind, HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config);
    if !known || channel_header.epoch != 0 || !is_signature_header(signature_header) {
        return Err(Code::BadCommonHeader);
    }
    check_creator(envelope, channel_header, signature_header, config).ok_or(Code::BadCreatorSignature)?;
    match kind {
        HeaderType::EndorserTransaction => {
            if channel_header.tx_id != transaction_id(&signature_header.nonce, &signature_header.creator) {
                return Err(Code::BadProposalTxid);
            }
            let header = payload.header.as_ref().ok_or(Code::BadCommonHeader)?;
            let transaction = check_transaction(&payload.data, header).ok_or(Code::InvalidEndorserTransaction)?;
            Ok(Content::Endorser(action(channel_header, transaction, config)))
        }
        HeaderType::Config => {
            let envelope = ConfigEnvelope::decode(&*payload.data).map_err(|_| Code::InvalidConfigTransaction)?;
            Ok(Content::Config(Box::new(envelope)))
        }
        _ => Err(Code::UnsupportedTxPayload),
    }
}

fn is_signature_header(header: &SignatureHeader) -> bool {
    !header.nonce.is_empty() && !header.creator.is_empty()
}

fn check_creator(
    envelope: &Envelope,
    channel_header: &ChannelHeader,
    signature_header: &SignatureHeader,
    config: &ChannelConfig,
) -> Option<()> {
    if channel_header.channel_id != config.channel() {
        return None;
    }
    let creator = config.msps().identity(&signature_header.creator).ok()?;
    creator.verify(&envelope.payload, &envelope.signature).ok()
}

/// A transaction with one action that matches its proposal.
fn check_transaction(data: &[u8], header: &Header) -> Option<ChaincodeActionPayload> {
    let transaction = Transaction::decode(data).ok()?;
    let [action] = &*transaction.actions else { return None };
    let signature_header = SignatureHeader::decode(&*action.header).ok()?;
    if !is_signature_header(&signature_header) {
        return None;
    }
    let payload = ChaincodeActionPayload::decode(&*action.payload).ok()?;
    if payload.chaincode_proposal_payload.is_empty() {
        return None;
    }
    let response = ProposalResponsePayload::decode(&*payload.action.as_ref()?.proposal_response_payload).ok()?;
    let mut context = Context::new(&SHA256);
    for part in [&header.channel_header, &action.header, &payload.chaincode_proposal_payload] {
        context.update(part);
    }
    (context.finish().as_ref() == response.proposal_hash).then_some(payload)
}

/// The chaincode action, checked as in Fabric's dispatcher.
fn action(
    channel_header: &ChannelHeader,
    payload: ChaincodeActionPayload,
    config: &ChannelConfig,
) -> Result<Action, Code> {
    let extension = ChaincodeHeaderExtension::decode(&*channel_header.extension);
    let extension = extension.map_err(|_| Code::BadHeaderExtension)?;
    let endorsed = payload.action.ok_or(Code::BadResponsePayload)?;
    let action = chaincode_action(&endorsed.proposal_response_payload).ok_or(Code::BadResponsePayload)?;
    let sets = ReadWriteSets::parse(&action.results).map_err(|_| Code::BadRwset)?;
    let called = extension.chaincode_id.ok_or(Code::InvalidOtherReason)?;
    let ran = action.chaincode_id.ok_or(Code::InvalidOtherReason)?;
    if called.name.is_empty() || called.name != ran.name || ran.version.is_empty() {
        return Err(Code::InvalidChaincode);
    }
    let event = match &*action.events {
        [] => None,
        events => {
            let event = ChaincodeEvent::decode(events).map_err(|_| Code::InvalidOtherReason)?;
            if event.chaincode_id != called.name {
                return Err(Code::InvalidOtherReason);
            }
            Some(event)
        }
    };
    let mut seen = HashSet::new();
    if !sets.namespaces.iter().all(|set| seen.insert(&set.namespace)) {
        return Err(Code::IllegalWriteset);
    }
    let response = &endorsed.proposal_response_payload;
    let signed: Vec<_> = endorsed
        .endorsements
        .into_iter()
        .map(|endorsement| SignedData {
            message: [&**response, &*endorsement.endorser].concat().into(),
            identity: endorsement.endorser.into(),
            signature: endorsement.signature.into(),
        })
        .collect();
    let endorsers = signers(&signed, config.msps());
    Ok(Action { chaincode: called.name, sets: Arc::new(sets), event, endorsers })
}

fn chaincode_action(response: &[u8]) -> Option<ChaincodeAction> {
    let response = ProposalResponsePayload::decode(response).ok()?;
    if response.extension.is_empty() {
        return None;
    }
    ChaincodeAction::decode(&*response.extension).ok()
}

impl Action {
    /// The chaincodes whose policies apply: the called one and all that are written to.
    pub(super) fn namespaces(&self) -> Vec<&str> {
        let written = self.sets.namespaces.iter().filter(|set| writes(set)).map(|set| &*set.namespace);
        let others = written.filter(|namespace| *namespace != self.chaincode);
        std::iter::once(&*self.chaincode).chain(others).collect()
    }
}

fn writes(set: &NamespaceSet) -> bool {
    let public = !set.set.writes.is_empty() || !set.set.metadata_writes.is_empty();
    let hashed = |hashed: &fabric_protos::kvrwset::HashedRwSet| {
        !hashed.hashed_writes.is_empty() || !hashed.metadata_writes.is_empty()
    };
    public || set.collections.iter().any(|collection| hashed(&collection.hashed))
}
