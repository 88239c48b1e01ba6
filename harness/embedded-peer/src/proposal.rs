//! A signed proposal, unpacked, and the checks that do not depend on its creator.
//!
//! Order and texts of the checks are those of `core/endorser/msgvalidation.go`. `endorser` checks signature and
//! permissions.

use bytes::Bytes;
use fabric_primitives::transaction::transaction_id;
use fabric_protos::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_protos::protos::{
    ChaincodeHeaderExtension, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal,
    SignedProposal,
};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::envelope::decode;

/// A proposal with its nested messages.
#[derive(Clone, Debug)]
pub struct UnpackedProposal {
    /// The name of the chaincode in the header.
    pub chaincode: String,
    /// Whether the header has a chaincode ID.
    is_identified: bool,
    /// The name of the chaincode in the invocation, which the gateway uses to select endorsers.
    pub invoked: String,
    /// The channel header.
    pub channel_header: ChannelHeader,
    /// Encoded, as it was signed.
    pub channel_header_bytes: Vec<u8>,
    /// Creator and nonce.
    pub signature_header: SignatureHeader,
    /// Encoded, as it was signed.
    pub signature_header_bytes: Vec<u8>,
    /// Function and arguments.
    pub input: ChaincodeInput,
    /// The encoded `ChaincodeProposalPayload` without the transient data, as on the ledger.
    pub payload: Vec<u8>,
    /// Whether there is transient data.
    pub transient: bool,
    /// The proposal's hash, which endorsers sign.
    pub hash: [u8; 32],
    /// The proposal, decoded.
    pub proposal: Proposal,
    /// The proposal as received.
    pub signed: SignedProposal,
    /// The creator, cheap to clone.
    pub creator: Bytes,
    /// The signed bytes, cheap to clone.
    pub message: Bytes,
    /// The creator's signature, cheap to clone.
    pub signature: Bytes,
}

/// Checks the parts of a proposal that Fabric's filter in front of the endorser reads
/// (`core/handlers/auth/filter/expiration.go`).
///
/// # Errors
///
/// Fabric's text for the first malformed part.
pub fn filter(signed: &SignedProposal) -> Result<(), String> {
    let within = |part: &'static str| move |reason: String| format!("failed parsing {part}: {reason}");
    let proposal: Proposal = decode("Proposal", &signed.proposal_bytes).map_err(within("proposal"))?;
    let header: Header = decode("Header", &proposal.header).map_err(within("header"))?;
    let header = decode::<SignatureHeader>("SignatureHeader", &header.signature_header);
    header.map(drop).map_err(within("signature header"))
}

impl UnpackedProposal {
    /// Unpacks a proposal for an endorser.
    ///
    /// # Errors
    ///
    /// Fabric's text for the first malformed or missing part.
    pub fn new(signed: SignedProposal) -> Result<Self, String> {
        let unpacked = Self::for_gateway(signed)?;
        unpacked.check_chaincode()?;
        Ok(unpacked)
    }

    /// Unpacks a proposal for a gateway, which does not need a chaincode in the header.
    ///
    /// # Errors
    ///
    /// Fabric's text for the first malformed or missing part.
    pub fn for_gateway(signed: SignedProposal) -> Result<Self, String> {
        let proposal: Proposal = decode("Proposal", &signed.proposal_bytes)?;
        let header: Header = decode("Header", &proposal.header)?;
        let channel_header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
        let signature_header: SignatureHeader = decode("SignatureHeader", &header.signature_header)?;
        let extension: ChaincodeHeaderExtension = decode("ChaincodeHeaderExtension", &channel_header.extension)?;
        let is_identified = extension.chaincode_id.is_some();
        let chaincode = extension.chaincode_id.unwrap_or_default().name;
        let payload: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", &proposal.payload)?;
        let invocation: ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", &payload.input)?;
        let spec = invocation.chaincode_spec.ok_or("chaincode invocation spec did not contain chaincode spec")?;
        let input = spec.input.ok_or("chaincode input did not contain any input")?;

        let transient = !payload.transient_map.is_empty();
        let payload = if transient {
            ChaincodeProposalPayload { transient_map: [].into(), ..payload }.encode_to_vec()
        } else {
            payload.encode_to_vec()
        };
        let hash = Sha256::new()
            .chain_update(&header.channel_header)
            .chain_update(&header.signature_header)
            .chain_update(&payload)
            .finalize()
            .into();
        Ok(Self {
            chaincode,
            is_identified,
            invoked: spec.chaincode_id.unwrap_or_default().name,
            channel_header,
            channel_header_bytes: header.channel_header,
            creator: Bytes::copy_from_slice(&signature_header.creator),
            signature_header,
            signature_header_bytes: header.signature_header,
            input,
            payload,
            transient,
            hash,
            proposal,
            message: Bytes::copy_from_slice(&signed.proposal_bytes),
            signature: Bytes::copy_from_slice(&signed.signature),
            signed,
        })
    }

    /// Checks that the header names a chaincode.
    ///
    /// # Errors
    ///
    /// Fabric's text.
    pub fn check_chaincode(&self) -> Result<(), String> {
        if !self.is_identified {
            return Err("ChaincodeHeaderExtension.ChaincodeId is nil".to_owned());
        }
        if self.chaincode.is_empty() {
            return Err("ChaincodeHeaderExtension.ChaincodeId.Name is empty".to_owned());
        }
        Ok(())
    }

    /// The channel's name, empty for proposals without a channel.
    pub fn channel(&self) -> &str {
        &self.channel_header.channel_id
    }

    /// The transaction ID in the header.
    pub fn transaction_id(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// Checks the headers.
    ///
    /// # Errors
    ///
    /// Fabric's text for the first error.
    pub fn check_headers(&self) -> Result<(), String> {
        let kind = self.channel_header.r#type;
        match HeaderType::try_from(kind) {
            Ok(HeaderType::EndorserTransaction | HeaderType::Config) => {}
            Ok(other) => return Err(format!("invalid header type {}", other.as_str_name())),
            Err(_) => return Err(format!("invalid header type {kind}")),
        }
        if self.channel_header.epoch != 0 {
            return Err("epoch is non-zero".to_owned());
        }
        if self.signature_header.nonce.is_empty() {
            return Err("nonce is empty".to_owned());
        }
        if self.signature_header.creator.is_empty() {
            return Err("creator is empty".to_owned());
        }
        let expected = transaction_id(&self.signature_header.nonce, &self.signature_header.creator);
        if self.transaction_id() != expected {
            return Err(format!("incorrectly computed txid '{}' -- expected '{expected}'", self.transaction_id()));
        }
        if self.signed.proposal_bytes.is_empty() {
            return Err("empty proposal bytes".to_owned());
        }
        if self.signed.signature.is_empty() {
            return Err("empty signature bytes".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fabric_protos::protos::{ChaincodeId, ChaincodeSpec};

    /// A proposal with a valid transaction ID and an invalid signature.
    pub(crate) fn proposal(channel: &str, chaincode: &str, arguments: &[&str]) -> Parts {
        let signature_header = SignatureHeader { creator: b"creator".to_vec(), nonce: b"nonce".to_vec() };
        let id = ChaincodeId { name: chaincode.to_owned(), ..ChaincodeId::default() };
        let extension = ChaincodeHeaderExtension { chaincode_id: Some(id.clone()) };
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: channel.to_owned(),
            tx_id: transaction_id(&signature_header.nonce, &signature_header.creator),
            extension: extension.encode_to_vec(),
            ..ChannelHeader::default()
        };
        let args = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        let input = ChaincodeInput { args, ..ChaincodeInput::default() };
        let spec = ChaincodeSpec { chaincode_id: Some(id), input: Some(input), ..ChaincodeSpec::default() };
        Parts {
            signature_header,
            channel_header,
            invocation: ChaincodeInvocationSpec { chaincode_spec: Some(spec) },
            transient: Vec::new(),
        }
    }

    #[derive(Clone)]
    pub(crate) struct Parts {
        pub(crate) signature_header: SignatureHeader,
        pub(crate) channel_header: ChannelHeader,
        pub(crate) invocation: ChaincodeInvocationSpec,
        pub(crate) transient: Vec<(String, Vec<u8>)>,
    }

    impl Parts {
        pub(crate) fn signed(&self) -> SignedProposal {
            let header = Header {
                channel_header: self.channel_header.encode_to_vec(),
                signature_header: self.signature_header.encode_to_vec(),
            };
            let payload = ChaincodeProposalPayload {
                input: self.invocation.encode_to_vec(),
                transient_map: self.transient.iter().cloned().collect(),
            };
            let proposal =
                Proposal { header: header.encode_to_vec(), payload: payload.encode_to_vec(), ..Proposal::default() };
            SignedProposal { proposal_bytes: proposal.encode_to_vec(), signature: b"signature".to_vec() }
        }

        fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
            let mut changed = self.clone();
            change(&mut changed);
            changed
        }
    }

    #[test]
    fn a_proposal_is_unpacked() {
        let unpacked = UnpackedProposal::new(proposal("ch", "basic", &["f", "a"]).signed()).unwrap();
        unpacked.check_headers().unwrap();
        assert_eq!((unpacked.channel(), &*unpacked.chaincode, &*unpacked.invoked), ("ch", "basic", "basic"));
        assert_eq!(unpacked.input.args, [b"f", b"a"]);
        assert_eq!(unpacked.transaction_id(), hex::encode(Sha256::digest(b"noncecreator")));
    }

    #[test]
    fn the_hash_excludes_transient_data() {
        let plain = proposal("ch", "basic", &["f"]);
        let secret = plain.with(|parts| parts.transient.push(("price".to_owned(), b"1".to_vec())));
        let [plain, secret] = [plain, secret].map(|parts| UnpackedProposal::new(parts.signed()).unwrap());
        assert!(secret.transient && !plain.transient);
        assert_eq!((secret.hash, &secret.payload), (plain.hash, &plain.payload));
        let hash = Sha256::new()
            .chain_update(&plain.channel_header_bytes)
            .chain_update(&plain.signature_header_bytes)
            .chain_update(&plain.payload)
            .finalize();
        assert_eq!(plain.hash, *hash);
    }

    #[test]
    fn missing_parts_have_fabrics_errors() {
        let good = proposal("ch", "basic", &["f"]);
        let text = |parts: &Parts| UnpackedProposal::new(parts.signed()).unwrap_err();
        assert_eq!(
            text(&good.with(|parts| parts.channel_header.extension.clear())),
            "ChaincodeHeaderExtension.ChaincodeId is nil"
        );
        let nameless = ChaincodeHeaderExtension { chaincode_id: Some(ChaincodeId::default()) };
        assert_eq!(
            text(&good.with(|parts| parts.channel_header.extension = nameless.encode_to_vec())),
            "ChaincodeHeaderExtension.ChaincodeId.Name is empty"
        );
        // A gateway accepts both.
        for extension in [Vec::new(), nameless.encode_to_vec()] {
            let parts = good.with(|parts| parts.channel_header.extension = extension);
            let unpacked = UnpackedProposal::for_gateway(parts.signed()).unwrap();
            assert_eq!((&*unpacked.chaincode, &*unpacked.invoked), ("", "basic"));
            assert_eq!(unpacked.check_chaincode(), UnpackedProposal::new(parts.signed()).map(drop));
        }
        assert_eq!(
            text(&good.with(|parts| parts.invocation.chaincode_spec = None)),
            "chaincode invocation spec did not contain chaincode spec"
        );
        assert_eq!(
            text(&good.with(|parts| parts.invocation.chaincode_spec = Some(ChaincodeSpec::default()))),
            "chaincode input did not contain any input"
        );
        let garbage = SignedProposal { proposal_bytes: b"\x0f".to_vec(), signature: Vec::new() };
        assert_eq!(
            UnpackedProposal::new(garbage).unwrap_err(),
            "error unmarshalling Proposal: proto: cannot parse invalid wire-format data"
        );
    }

    #[test]
    fn headers_are_checked_in_fabrics_order() {
        let good = proposal("ch", "basic", &["f"]);
        let text = |change: fn(&mut Parts)| {
            UnpackedProposal::new(good.with(change).signed()).unwrap().check_headers().unwrap_err()
        };
        assert_eq!(text(|parts| parts.channel_header.r#type = 4), "invalid header type ORDERER_TRANSACTION");
        assert_eq!(text(|parts| parts.channel_header.r#type = 77), "invalid header type 77");
        assert_eq!(text(|parts| parts.channel_header.epoch = 1), "epoch is non-zero");
        assert_eq!(text(|parts| parts.signature_header.nonce.clear()), "nonce is empty");
        assert_eq!(text(|parts| parts.signature_header.creator.clear()), "creator is empty");
        let expected = hex::encode(Sha256::digest(b"noncecreator"));
        assert_eq!(
            text(|parts| parts.channel_header.tx_id = "x".to_owned()),
            format!("incorrectly computed txid 'x' -- expected '{expected}'")
        );
        let unsigned = SignedProposal { signature: Vec::new(), ..good.signed() };
        assert_eq!(UnpackedProposal::new(unsigned).unwrap().check_headers().unwrap_err(), "empty signature bytes");
    }
}
