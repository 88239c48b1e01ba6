//! Messages as text: one line, shortened, without secrets.

use embedded_peer::trace::{Decoded, Direction};
use fabric_protos::common::{ChannelHeader, Header};
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeInvocationSpec, ChaincodeMessage, ChaincodeProposalPayload, Proposal, Response, SignedProposal,
};
use prost::Message as _;

use super::Content;

/// Maximum length of a message's text, in characters.
const TEXT: usize = 240;

/// Maximum length of one argument or payload, in characters.
const PART: usize = 64;

/// Makes a text presentable: one line, no control characters, shortened. A text that contains a private
/// key is replaced.
pub(crate) fn presentable(text: &str) -> String {
    if text.contains("PRIVATE KEY") {
        return "(not shown: contains a private key)".to_owned();
    }
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shortened(one_line.trim_end(), TEXT)
}

fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bytes as quoted text if they are text, otherwise their number.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("PRIVATE KEY") => presentable(text),
        Ok(text) if is_text(text) => format!("{:?}", shortened(text, PART)),
        _ => format!("{} bytes", bytes.len()),
    }
}

fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

/// A proposal as a call: channel, chaincode, function, arguments, and the names and sizes of transient
/// data.
pub(crate) fn proposal(signed: &SignedProposal) -> String {
    call(signed).unwrap_or_else(|_| "(cannot decode the proposal)".to_owned())
}

fn call(signed: &SignedProposal) -> Result<String, prost::DecodeError> {
    let proposal = Proposal::decode(signed.proposal_bytes.as_slice())?;
    let header = Header::decode(proposal.header.as_slice())?;
    let channel = ChannelHeader::decode(header.channel_header.as_slice())?.channel_id;
    let payload = ChaincodeProposalPayload::decode(proposal.payload.as_slice())?;
    let spec = ChaincodeInvocationSpec::decode(payload.input.as_slice())?.chaincode_spec.unwrap_or_default();
    let name = spec.chaincode_id.unwrap_or_default().name;
    let arguments = spec.input.unwrap_or_default().args;
    let (function, arguments) = arguments.split_first().map_or((&[][..], &[][..]), |(first, rest)| (first, rest));
    let arguments: Vec<String> = arguments.iter().map(|argument| bytes(argument)).collect();
    let function = String::from_utf8_lossy(function);
    let mut text = format!("{name} {}({})", shortened(&function, PART), arguments.join(", "));
    if !channel.is_empty() {
        text = format!("{channel}: {text}");
    }
    let mut transient: Vec<_> = payload.transient_map.iter().collect();
    transient.sort_unstable();
    let transient: Vec<String> =
        transient.into_iter().map(|(name, value)| format!("{name}: {} bytes", value.len())).collect();
    if !transient.is_empty() {
        text = format!("{text}, transient {{{}}}", transient.join(", "));
    }
    Ok(text)
}

/// Whether a proposal contains transient data.
pub(crate) fn has_transient_data(signed: &SignedProposal) -> bool {
    let proposal = Proposal::decode(signed.proposal_bytes.as_slice()).unwrap_or_default();
    let payload = ChaincodeProposalPayload::decode(proposal.payload.as_slice());
    payload.is_ok_and(|payload| !payload.transient_map.is_empty())
}

/// A chaincode's response: status, message, and the payload or its size.
pub(crate) fn response(response: &Response) -> String {
    let mut text = format!("status {}", response.status);
    if !response.message.is_empty() {
        text = format!("{text}, {}", response.message);
    }
    if !response.payload.is_empty() {
        // Not quoted as arguments are, because it is usually JSON.
        let payload = match std::str::from_utf8(&response.payload) {
            Ok(payload) if is_text(payload) => shortened(payload, 2 * PART),
            _ => format!("{} bytes", response.payload.len()),
        };
        text = format!("{text}, {payload}");
    }
    text
}

/// A message between a peer and a chaincode. Values appear with their size only.
pub(crate) fn chaincode(message: &ChaincodeMessage, direction: Direction) -> Content {
    let known = Type::try_from(message.r#type);
    let kind = known.map_or_else(|_| message.r#type.to_string(), |known| known.as_str_name().to_owned());
    let decoded = Decoded { message, direction, in_full: true }.to_string();
    let text = match (decoded.is_empty(), message.payload.len()) {
        (false, _) => decoded,
        (true, 0) => String::new(),
        (true, size) => format!("{size} bytes"),
    };
    let failed = known == Ok(Type::Error) || known == Ok(Type::Completed) && is_error(&message.payload);
    Content { kind, text, transaction: message.txid.clone(), failed }
}

/// A status of 400 or above fails the endorsement.
fn is_error(payload: &[u8]) -> bool {
    Response::decode(payload).is_ok_and(|response| response.status >= 400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Invocation, Signer};

    fn signer() -> Signer {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        Signer::new("Org1MSP", &certificate.pem(), &key.serialize_pem()).unwrap()
    }

    #[test]
    fn a_proposal_is_shown_as_a_call_without_transient_values() {
        let call = Invocation::new("mychannel", "basic", "Create").argument("a\"1").argument([0xff, 0]);
        let call = call.transient("price", "hush-hush").transient("asset", "12");
        let text = proposal(&call.propose(&signer()).unwrap().signed);
        assert_eq!(text, r#"mychannel: basic Create("a\"1", 2 bytes), transient {asset: 2 bytes, price: 9 bytes}"#);
        let broken = SignedProposal { proposal_bytes: vec![0xff; 9], ..SignedProposal::default() };
        assert!(proposal(&broken).contains("cannot decode"));
    }

    #[test]
    fn a_response_shows_its_payload_unquoted() {
        let text = |payload: &[u8]| response(&Response { status: 200, payload: payload.into(), ..Response::default() });
        assert_eq!(text(br#"{"ID":"a"}"#), r#"status 200, {"ID":"a"}"#);
        assert_eq!(text(b"\x00\x01"), "status 200, 2 bytes");
        assert_eq!(text(b""), "status 200");
        let refused = Response { status: 500, message: "no asset".to_owned(), ..Response::default() };
        assert_eq!(response(&refused), "status 500, no asset");
    }

    #[test]
    fn private_keys_are_not_shown_and_texts_have_one_line() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let invocation = Invocation::new("c", "basic", "Keep").argument(key.clone());
        let text = proposal(&invocation.propose(&signer()).unwrap().signed);
        assert!(!text.contains("BEGIN") && text.contains("not shown"), "{text}");
        assert!(!presentable(&format!("x {key}")).contains("BEGIN"));
        assert_eq!(presentable("a\nb\u{1b}[31m\u{9b}c\n"), "a b [31m c");
        assert_eq!(presentable(&"ä".repeat(500)).chars().count(), TEXT + 1);
    }

    #[test]
    fn a_chaincode_message_has_type_transaction_and_failure() {
        let refused = Response { status: 500, message: "no asset".to_owned(), ..Response::default() };
        let message = ChaincodeMessage {
            r#type: Type::Completed.into(),
            txid: "t1".to_owned(),
            payload: refused.encode_to_vec().into(),
            ..ChaincodeMessage::default()
        };
        let content = chaincode(&message, Direction::ChaincodeToPeer);
        assert_eq!((content.kind.as_str(), content.transaction.as_str(), content.failed), ("COMPLETED", "t1", true));
        assert!(content.text.contains("no asset"), "{}", content.text);
        let value = ChaincodeMessage { r#type: Type::Response.into(), payload: vec![7; 5].into(), ..message };
        let content = chaincode(&value, Direction::PeerToChaincode);
        assert_eq!((content.text.as_str(), content.failed), ("5 bytes", false));
    }
}
