//! Proposals and the transactions made of them: the messages, their nesting and what is signed.
//!
//! Used alike for a chaincode's functions and for Fabric's own (`_lifecycle`, `cscc`, `qscc`).
//! Nothing is sent from here. The shapes are those of `protoutil/proputils.go` and `txutils.go`.

use std::collections::{BTreeMap, BTreeSet};

use fabric_protos::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use fabric_protos::msp::SerializedIdentity;
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeHeaderExtension, ChaincodeId,
    ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, ChaincodeSpec, Endorsement,
    Proposal as ProposalMessage, ProposalResponse, ProposalResponsePayload, Response, SignedProposal,
    Transaction as TransactionMessage, TransactionAction,
};
use prost::{DecodeError, Message as _};

use super::signer::{Signer, SignerError};

/// A call of a chaincode's function: what a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The channel; empty for functions of a peer itself, such as joining.
    pub channel: String,
    /// Name of the chaincode.
    pub chaincode: String,
    /// The function's name and, after it, its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Data that the chaincode may read and that never reaches the ledger.
    pub transient: BTreeMap<String, Vec<u8>>,
    /// Whether this is the first call of a chaincode whose definition requires one (default: no).
    pub init: bool,
}

impl Invocation {
    /// A call of `function`, without arguments.
    pub fn new(channel: &str, chaincode: &str, function: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            chaincode: chaincode.to_owned(),
            arguments: vec![function.into()],
            transient: BTreeMap::new(),
            init: false,
        }
    }

    /// A call that every chaincode answers, at least with an error, and that changes nothing: the query for the
    /// metadata of a contract.
    pub fn probe(channel: &str, chaincode: &str) -> Self {
        Self::new(channel, chaincode, "org.hyperledger.fabric:GetMetadata")
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<A: Into<Vec<u8>>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds transient data.
    #[must_use]
    pub fn transient(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.transient.insert(key.to_owned(), value.into());
        self
    }

    /// Marks the call as the chaincode's initialization.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.init = true;
        self
    }

    /// The signed proposal of this call, with a new transaction ID.
    ///
    /// # Errors
    /// [`SignerError`] when the system gives no random bytes.
    pub fn propose(&self, signer: &Signer) -> Result<Proposal, SignerError> {
        let context = signer.transaction_context()?;
        let chaincode_id = ChaincodeId { name: self.chaincode.clone(), ..Default::default() };
        let extension = ChaincodeHeaderExtension { chaincode_id: Some(chaincode_id.clone()) };
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            tx_id: context.transaction_id.clone(),
            timestamp: Some(context.time.into()),
            channel_id: self.channel.clone(),
            extension: extension.encode_to_vec(),
            ..Default::default()
        };
        let signature_header = SignatureHeader { creator: signer.creator().to_vec(), nonce: context.nonce };
        let header = Header {
            channel_header: channel_header.encode_to_vec(),
            signature_header: signature_header.encode_to_vec(),
        };
        let input = self.invocation_spec(chaincode_id).encode_to_vec();
        let payload = ChaincodeProposalPayload {
            input: input.clone(),
            transient_map: self.transient.clone().into_iter().collect(),
        };
        let proposal_bytes =
            ProposalMessage { header: header.encode_to_vec(), payload: payload.encode_to_vec(), ..Default::default() }
                .encode_to_vec();
        let signature = signer.sign(&proposal_bytes)?;
        Ok(Proposal {
            transaction_id: context.transaction_id,
            channel: self.channel.clone(),
            header,
            input,
            signed: SignedProposal { proposal_bytes, signature },
        })
    }

    fn invocation_spec(&self, chaincode_id: ChaincodeId) -> ChaincodeInvocationSpec {
        ChaincodeInvocationSpec {
            chaincode_spec: Some(ChaincodeSpec {
                chaincode_id: Some(chaincode_id),
                input: Some(ChaincodeInput { args: self.arguments.clone(), is_init: self.init, ..Default::default() }),
                ..Default::default()
            }),
        }
    }
}

/// A signed proposal, ready for a peer or for the gateway.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Its transaction id.
    pub transaction_id: String,
    /// Its channel.
    pub channel: String,
    /// What is sent.
    pub signed: SignedProposal,
    header: Header,
    /// The invocation, encoded: what remains of the proposal when transient data is taken out.
    input: Vec<u8>,
}

impl Proposal {
    /// The signed transaction that carries these endorsements of this proposal.
    ///
    /// Endorsements of the same endorser count once. That all responses hold the same payload is the
    /// caller's to see to.
    ///
    /// # Errors
    /// [`SignerError`] when the system gives no random bytes.
    pub fn endorsed(&self, responses: &[ProposalResponse], signer: &Signer) -> Result<Transaction, SignerError> {
        let mut endorsements: Vec<Endorsement> = Vec::with_capacity(responses.len());
        for endorsement in responses.iter().filter_map(|response| response.endorsement.as_ref()) {
            if !endorsements.iter().any(|other| other.endorser == endorsement.endorser) {
                endorsements.push(endorsement.clone());
            }
        }
        let without_transient = ChaincodeProposalPayload { input: self.input.clone(), ..Default::default() };
        let action = ChaincodeActionPayload {
            chaincode_proposal_payload: without_transient.encode_to_vec(),
            action: Some(ChaincodeEndorsedAction {
                proposal_response_payload: responses
                    .first()
                    .map(|response| response.payload.clone())
                    .unwrap_or_default(),
                endorsements,
            }),
        };
        let transaction = TransactionMessage {
            actions: vec![TransactionAction {
                header: self.header.signature_header.clone(),
                payload: action.encode_to_vec(),
            }],
        };
        let payload = Payload { header: Some(self.header.clone()), data: transaction.encode_to_vec() };
        self.prepared(Envelope { payload: payload.encode_to_vec(), ..Default::default() }, signer)
    }

    /// The signed transaction that carries what the gateway made of this proposal.
    ///
    /// # Errors
    /// [`SignerError`] when the system gives no random bytes.
    pub fn prepared(&self, mut envelope: Envelope, signer: &Signer) -> Result<Transaction, SignerError> {
        envelope.signature = signer.sign(&envelope.payload)?;
        Ok(Transaction { transaction_id: self.transaction_id.clone(), channel: self.channel.clone(), envelope })
    }
}

/// A signed transaction, ready for ordering.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its id.
    pub transaction_id: String,
    /// Its channel.
    pub channel: String,
    /// What is sent.
    pub envelope: Envelope,
}

impl Transaction {
    /// The payload of the chaincode's response that the transaction carries.
    ///
    /// # Errors
    /// [`DecodeError`] when the envelope is not one of an endorsed transaction.
    pub fn result(&self) -> Result<Vec<u8>, DecodeError> {
        Ok(self.response()?.payload)
    }

    /// The chaincode's response that the transaction carries: status, message, payload.
    ///
    /// # Errors
    /// [`DecodeError`] when the envelope is not one of an endorsed transaction.
    pub fn response(&self) -> Result<Response, DecodeError> {
        response_of(&self.action()?.proposal_response_payload)
    }

    /// The MSP IDs of the organizations whose peers endorsed, each once, in order.
    ///
    /// # Errors
    /// The envelope is not an endorsed transaction, or an endorser is not a valid identity.
    pub fn endorsers(&self) -> Result<BTreeSet<String>, DecodeError> {
        let endorsements = self.action()?.endorsements;
        let identities =
            endorsements.iter().map(|endorsement| SerializedIdentity::decode(endorsement.endorser.as_slice()));
        identities.map(|identity| identity.map(|identity| identity.mspid)).collect()
    }

    fn action(&self) -> Result<ChaincodeEndorsedAction, DecodeError> {
        let payload = Payload::decode(self.envelope.payload.as_slice())?;
        let transaction = TransactionMessage::decode(payload.data.as_slice())?;
        let action = transaction.actions.first().map_or(&[][..], |action| &action.payload);
        Ok(ChaincodeActionPayload::decode(action)?.action.unwrap_or_default())
    }
}

/// The chaincode's response within an encoded `ProposalResponsePayload`.
fn response_of(proposal_response_payload: &[u8]) -> Result<Response, DecodeError> {
    let payload = ProposalResponsePayload::decode(proposal_response_payload)?;
    let action = ChaincodeAction::decode(payload.extension.as_slice())?;
    Ok(action.response.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::identity;

    fn invocation() -> Invocation {
        Invocation::new("mychannel", "basic", "CreateAsset")
            .argument("asset1")
            .arguments([b"\xff\x00".to_vec()])
            .transient("secret", "hush")
            .init()
    }

    fn endorsement(endorser: &str) -> ProposalResponse {
        let action = ChaincodeAction {
            response: Some(Response { payload: b"done".to_vec(), ..Default::default() }),
            ..Default::default()
        };
        let payload = ProposalResponsePayload { extension: action.encode_to_vec(), ..Default::default() };
        ProposalResponse {
            payload: payload.encode_to_vec(),
            endorsement: Some(Endorsement { endorser: endorser.into(), signature: b"s".to_vec() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_proposal_reads_back_as_what_was_asked() {
        let (signer, _) = identity();
        let proposal = invocation().propose(&signer).unwrap();

        let message = ProposalMessage::decode(proposal.signed.proposal_bytes.as_slice()).unwrap();
        let header = Header::decode(message.header.as_slice()).unwrap();
        let channel = ChannelHeader::decode(header.channel_header.as_slice()).unwrap();
        assert_eq!(channel.r#type, 3, "ENDORSER_TRANSACTION");
        assert_eq!(channel.channel_id, "mychannel");
        assert_eq!(channel.tx_id, proposal.transaction_id);
        assert!(channel.timestamp.is_some());
        let extension = ChaincodeHeaderExtension::decode(channel.extension.as_slice()).unwrap();
        assert_eq!(extension.chaincode_id.unwrap().name, "basic");
        let signature = SignatureHeader::decode(header.signature_header.as_slice()).unwrap();
        assert_eq!(signature.creator, signer.creator());

        let payload = ChaincodeProposalPayload::decode(message.payload.as_slice()).unwrap();
        assert_eq!(payload.transient_map["secret"], b"hush");
        let spec = ChaincodeInvocationSpec::decode(payload.input.as_slice()).unwrap().chaincode_spec.unwrap();
        assert_eq!(spec.chaincode_id.unwrap().name, "basic");
        let input = spec.input.unwrap();
        assert_eq!(input.args, [&b"CreateAsset"[..], b"asset1", b"\xff\x00"]);
        assert!(input.is_init);
    }

    #[test]
    fn a_transaction_carries_each_endorser_once_and_no_transient_data() {
        let (signer, _) = identity();
        let proposal = invocation().propose(&signer).unwrap();
        let responses = ["one", "two", "one"].map(endorsement);
        let transaction = proposal.endorsed(&responses, &signer).unwrap();
        assert_eq!(transaction.result().unwrap(), b"done");

        let payload = Payload::decode(transaction.envelope.payload.as_slice()).unwrap();
        assert_eq!(payload.header.as_ref(), Some(&proposal.header));
        let action = TransactionMessage::decode(payload.data.as_slice()).unwrap().actions.remove(0);
        assert_eq!(action.header, proposal.header.signature_header);
        let action = ChaincodeActionPayload::decode(action.payload.as_slice()).unwrap();
        let without_transient = ChaincodeProposalPayload::decode(action.chaincode_proposal_payload.as_slice()).unwrap();
        assert_eq!(without_transient.input, proposal.input);
        assert!(without_transient.transient_map.is_empty(), "transient data must not reach the ledger");
        let endorsers: Vec<_> = action.action.unwrap().endorsements.into_iter().map(|one| one.endorser).collect();
        assert_eq!(endorsers, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn an_envelope_of_something_else_has_no_result_and_does_no_harm() {
        let (signer, _) = identity();
        let proposal = invocation().propose(&signer).unwrap();
        for payload in [&b"\xff\xff\xff"[..], b"{}", b"\x12\x02\x0a\x00"] {
            let envelope = Envelope { payload: payload.to_vec(), ..Default::default() };
            let transaction = proposal.prepared(envelope, &signer).unwrap();
            assert!(transaction.result().map_or(true, |result| result.is_empty()), "{payload:?}");
        }
    }
}
