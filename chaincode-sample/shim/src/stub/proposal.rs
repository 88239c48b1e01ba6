//! The contents of a signed proposal.
//!
//! Decoded once, before the chaincode is called, with the checks of fabric-chaincode-go
//! (`shim/stub.go`). The peer has verified the signature.

use std::collections::BTreeMap;
use std::time::SystemTime;

use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::{ChaincodeProposalPayload, Proposal, SignedProposal};
use prost::Message;
use sha2::{Digest, Sha256};

/// Why a proposal is invalid.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum ProposalError {
    #[error("invalid {part}: {source}")]
    Malformed { part: &'static str, source: prost::DecodeError },
    #[error("the proposal has no header")]
    NoHeader,
    #[error("unsupported proposal type {0}: expected ENDORSER_TRANSACTION or CONFIG")]
    Type(i32),
}

#[derive(Debug)]
pub(super) struct ProposalContents {
    pub(super) creator: Vec<u8>,
    pub(super) transient: BTreeMap<String, Vec<u8>>,
    pub(super) binding: Vec<u8>,
    pub(super) timestamp: Option<SystemTime>,
}

impl ProposalContents {
    pub(super) fn read(signed: &SignedProposal) -> Result<Self, ProposalError> {
        let proposal: Proposal = part("proposal", &signed.proposal_bytes)?;
        if proposal.header.is_empty() {
            return Err(ProposalError::NoHeader);
        }
        let header: Header = part("proposal's header", &proposal.header)?;
        let channel_header: ChannelHeader = part("proposal's channel header", &header.channel_header)?;
        let supported = [HeaderType::EndorserTransaction, HeaderType::Config];
        if !supported.map(i32::from).contains(&channel_header.r#type) {
            return Err(ProposalError::Type(channel_header.r#type));
        }
        let signature: SignatureHeader = part("proposal's signature header", &header.signature_header)?;
        let payload: ChaincodeProposalPayload = part("proposal's payload", &proposal.payload)?;
        let binding = Sha256::new()
            .chain_update(&signature.nonce)
            .chain_update(&signature.creator)
            .chain_update(channel_header.epoch.to_le_bytes())
            .finalize();
        Ok(Self {
            binding: binding.to_vec(),
            creator: signature.creator,
            transient: payload.transient_map,
            timestamp: channel_header.timestamp.and_then(|time| time.try_into().ok()),
        })
    }
}

fn part<M: Message + Default>(part: &'static str, bytes: &[u8]) -> Result<M, ProposalError> {
    M::decode(bytes).map_err(|source| ProposalError::Malformed { part, source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(kind: i32, seconds: i64, nanos: i32) -> SignedProposal {
        let channel_header = ChannelHeader {
            r#type: kind,
            timestamp: Some(prost_types::Timestamp { seconds, nanos }),
            ..ChannelHeader::default()
        };
        let header = Header { channel_header: channel_header.encode_to_vec(), ..Header::default() };
        let proposal = Proposal { header: header.encode_to_vec(), ..Proposal::default() };
        SignedProposal { proposal_bytes: proposal.encode_to_vec(), signature: Vec::new() }
    }

    #[test]
    fn only_transactions_and_configurations_are_supported() {
        for (kind, supported) in [(0, false), (1, true), (2, false), (3, true), (99, false)] {
            let read = ProposalContents::read(&signed(kind, 0, 0));
            assert_eq!(read.is_ok(), supported, "type {kind}: {read:?}");
        }
    }

    #[test]
    fn a_timestamp_out_of_range_is_none() {
        let read = |seconds, nanos| ProposalContents::read(&signed(3, seconds, nanos)).unwrap();
        assert!(read(1000, 5).timestamp.is_some());
        assert!(read(i64::MIN, i32::MIN).timestamp.is_none());
        let _ = read(i64::MAX, i32::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let nested = Proposal { header: bytes.clone(), ..Proposal::default() };
            for proposal_bytes in [bytes, nested.encode_to_vec()] {
                let signed = SignedProposal { proposal_bytes, signature: Vec::new() };
                let _ = ProposalContents::read(&signed);
            }
        }
    }
}
