//! The payload and signature of a proposal response, identical to those of Fabric's default
//! endorsement (`core/handlers/endorsement/builtin`).

use bytes::Bytes;
use fabric_protos::protos::{
    ChaincodeAction, ChaincodeEvent, ChaincodeId, Endorsement, ProposalResponsePayload, Response,
};
use prost::Message;

use crate::signer::{Signer, SignerError};

/// Encodes a `ProposalResponsePayload` with the results of a simulation and the proposal's hash.
pub fn payload(
    hash: &[u8],
    response: &Response,
    results: &[u8],
    event: Option<&ChaincodeEvent>,
    chaincode: &str,
    version: &str,
) -> Vec<u8> {
    let action = ChaincodeAction {
        results: results.to_vec(),
        events: event.map(Message::encode_to_vec).unwrap_or_default(),
        response: Some(response.clone()),
        chaincode_id: Some(ChaincodeId {
            name: chaincode.to_owned(),
            version: version.to_owned(),
            ..ChaincodeId::default()
        }),
    };
    ProposalResponsePayload { proposal_hash: hash.to_vec(), extension: action.encode_to_vec() }.encode_to_vec()
}

/// Signs the payload followed by the endorser's identity.
///
/// # Errors
///
/// The signer fails.
pub fn endorse(signer: &Signer, payload: &[u8]) -> Result<Endorsement, SignerError> {
    let identity: &Bytes = signer.identity();
    let signature = signer.sign(&[payload, identity].concat())?;
    Ok(Endorsement { endorser: identity.to_vec(), signature })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_nests_hash_results_event_response_and_chaincode() {
        let response = Response { status: 200, message: "m".to_owned(), payload: b"p".to_vec() };
        let event = ChaincodeEvent { event_name: "e".to_owned(), ..ChaincodeEvent::default() };
        let bytes = payload(b"hash", &response, b"rw", Some(&event), "basic", "1.0");
        // Field numbers of peer/proposal_response.proto and peer/proposal.proto.
        let action = [
            b"\x0a\x02rw\x12\x03\x1a\x01e".as_slice(),
            b"\x1a\x09\x08\xc8\x01\x12\x01m\x1a\x01p",
            b"\x22\x0c\x12\x05basic\x1a\x031.0",
        ]
        .concat();
        let length = u8::try_from(action.len()).unwrap();
        assert_eq!(bytes, [b"\x0a\x04hash\x12".as_slice(), &[length], &action].concat());
    }

    #[test]
    fn a_missing_event_encodes_to_nothing() {
        let response = Response { status: 200, ..Response::default() };
        let bytes = payload(b"h", &response, b"", None, "c", "1");
        assert_eq!(bytes, b"\x0a\x01h\x12\x0d\x1a\x03\x08\xc8\x01\x22\x06\x12\x01c\x1a\x011");
    }
}
