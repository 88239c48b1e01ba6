//! One message of the shim protocol as one line of text, with the payload decoded. A payload that cannot
//! be decoded is shown as such; nothing panics.

use std::fmt::{self, Display, Formatter, Write};

use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{
    ChaincodeAdditionalParams, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, DelState,
    GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata, GetStateMultiple, PutState,
    PutStateMetadata, QueryStateClose, QueryStateNext, Response, WriteBatchState,
};

use super::Direction;

/// How much of an identifier is shown.
const SHORT_ID: usize = 8;

/// Writes type, transaction, channel, sizes and the decoded payload.
pub(super) fn line(
    formatter: &mut Formatter<'_>,
    message: &ChaincodeMessage,
    direction: Direction,
    total: usize,
) -> fmt::Result {
    let txid: String = message.txid.chars().take(SHORT_ID).collect();
    write!(
        formatter,
        "{:<18} txid={txid:<8} ch={:<9} payload={}B total={total}B",
        type_name(message.r#type),
        message.channel_id,
        message.payload.len(),
    )?;
    if let Some(proposal) = &message.proposal {
        write!(formatter, " proposal={}B sig={}B", proposal.proposal_bytes.len(), proposal.signature.len())?;
    }
    let decoded = Decoded { message, direction, in_full: formatter.alternate() }.to_string();
    if decoded.is_empty() { Ok(()) } else { write!(formatter, " {decoded}") }
}

/// The name of a message's type as in Fabric's .proto files, or its number.
fn type_name(number: i32) -> String {
    Type::try_from(number).map_or_else(|_| number.to_string(), |known| known.as_str_name().to_owned())
}

/// A message's payload, as text.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The message.
    pub message: &'a ChaincodeMessage,
    /// The direction: RESPONSE means different things in each.
    pub direction: Direction,
    /// Whether to decode every type, or only those that the recordings of real peers decode.
    pub in_full: bool,
}

impl Display for Decoded<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match Type::try_from(self.message.r#type) {
            Ok(Type::Register) => self.with(formatter, |id: &ChaincodeId, to| {
                write!(to, "ChaincodeID{{name:{}}}", quoted(id.name.as_bytes()))
            }),
            Ok(Type::Ready) => self.with(formatter, parameters),
            Ok(Type::Transaction | Type::Init) => self.with(formatter, input),
            Ok(Type::GetState) => self.with(formatter, |get: &GetState, to| {
                write!(to, "GetState{{key={} coll={}}}", text(&get.key), text(&get.collection))
            }),
            Ok(Type::PutState) => self.with(formatter, |put: &PutState, to| {
                let (key, collection) = (text(&put.key), text(&put.collection));
                write!(to, "PutState{{key={key} value={}B coll={collection}}}", put.value.len())
            }),
            Ok(Type::DelState) => self.with(formatter, |del: &DelState, to| {
                write!(to, "DelState{{key={} coll={}}}", text(&del.key), text(&del.collection))
            }),
            Ok(Type::Completed) => self.with(formatter, |response: &Response, to| {
                let (status, message) = (response.status, text(&response.message));
                write!(to, "Response{{status={status} message={message} payload={}B}}", response.payload.len())?;
                match &self.message.chaincode_event {
                    Some(event) if self.in_full => write!(to, " event={}", text(&event.event_name)),
                    _ => Ok(()),
                }
            }),
            Ok(known) if self.in_full => self.write_other(formatter, known),
            _ => Ok(()),
        }
    }
}

impl Decoded<'_> {
    /// Decodes the types that the recordings of real peers leave undecoded.
    fn write_other(&self, formatter: &mut Formatter<'_>, known: Type) -> fmt::Result {
        match known {
            Type::Error => formatter.write_str(&quoted(&self.message.payload)),
            Type::GetStateMultiple => self.with(formatter, |get: &GetStateMultiple, to| {
                write!(to, "GetStateMultiple{{keys={} coll={}}}", get.keys.len(), text(&get.collection))
            }),
            Type::GetStateByRange => self.with(formatter, |range: &GetStateByRange, to| {
                let (start, end) = (text(&range.start_key), text(&range.end_key));
                write!(to, "GetStateByRange{{start={start} end={end} coll={}}}", text(&range.collection))
            }),
            Type::GetQueryResult => self.with(formatter, |query: &GetQueryResult, to| {
                write!(to, "GetQueryResult{{query={} coll={}}}", text(&query.query), text(&query.collection))
            }),
            Type::GetHistoryForKey => self.with(formatter, |history: &GetHistoryForKey, to| {
                write!(to, "GetHistoryForKey{{key={}}}", text(&history.key))
            }),
            Type::QueryStateNext => {
                self.with(formatter, |next: &QueryStateNext, to| write!(to, "QueryStateNext{{id={}}}", text(&next.id)))
            }
            Type::QueryStateClose => self
                .with(formatter, |close: &QueryStateClose, to| write!(to, "QueryStateClose{{id={}}}", text(&close.id))),
            Type::GetStateMetadata => self.with(formatter, |get: &GetStateMetadata, to| {
                write!(to, "GetStateMetadata{{key={} coll={}}}", text(&get.key), text(&get.collection))
            }),
            Type::PutStateMetadata => self.with(formatter, |put: &PutStateMetadata, to| {
                write!(to, "PutStateMetadata{{key={} coll={}}}", text(&put.key), text(&put.collection))
            }),
            Type::GetPrivateDataHash => self.with(formatter, |get: &GetState, to| {
                write!(to, "GetPrivateDataHash{{key={} coll={}}}", text(&get.key), text(&get.collection))
            }),
            Type::PurgePrivateData => self.with(formatter, |del: &DelState, to| {
                write!(to, "PurgePrivateData{{key={} coll={}}}", text(&del.key), text(&del.collection))
            }),
            Type::WriteBatchState => self.with(formatter, |batch: &WriteBatchState, to| {
                write!(to, "WriteBatchState{{records={}}}", batch.rec.len())
            }),
            Type::InvokeChaincode => self.with(formatter, |spec: &ChaincodeSpec, to| {
                let name = spec.chaincode_id.as_ref().map_or("", |id| id.name.as_str());
                write!(to, "ChaincodeSpec{{name={} ", text(name))?;
                spec.input.as_ref().map_or(Ok(()), |called| input(called, to))?;
                to.write_str("}")
            }),
            _ => Ok(()),
        }
    }

    /// Decodes the payload and writes it, or the error.
    fn with<M: Message + Default>(
        &self,
        formatter: &mut Formatter<'_>,
        write: impl FnOnce(&M, &mut Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match M::decode(self.message.payload.clone()) {
            Ok(decoded) => write(&decoded, formatter),
            Err(error) => write!(formatter, "(cannot be decoded: {error})"),
        }
    }
}

fn input(input: &ChaincodeInput, to: &mut Formatter<'_>) -> fmt::Result {
    let arguments: Vec<String> = input.args.iter().map(|argument| quoted(argument)).collect();
    let (arguments, decorations) = (arguments.join(" "), input.decorations.len());
    write!(to, "ChaincodeInput{{args=[{arguments}] decorations={decorations} is_init={}}}", input.is_init)
}

fn parameters(parameters: &ChaincodeAdditionalParams, to: &mut Formatter<'_>) -> fmt::Result {
    let mut fields = Vec::new();
    if parameters.use_write_batch {
        fields.push("use_write_batch:true".to_owned());
    }
    if parameters.max_size_write_batch > 0 {
        fields.push(format!("max_size_write_batch:{}", parameters.max_size_write_batch));
    }
    if parameters.use_get_multiple_keys {
        fields.push("use_get_multiple_keys:true".to_owned());
    }
    if parameters.max_size_get_multiple_keys > 0 {
        fields.push(format!("max_size_get_multiple_keys:{}", parameters.max_size_get_multiple_keys));
    }
    write!(to, "ChaincodeAdditionalParams{{{}}}", fields.join(" "))
}

fn text(text: &str) -> String {
    quoted(text.as_bytes())
}

/// Bytes in quotes, as Go's `%q` writes them: what is not printable text is escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                control if control.is_control() && u32::from(control) < 0x80 => {
                    // Writing to a string cannot fail.
                    let _ = write!(quoted, "\\x{:02x}", u32::from(control));
                }
                control if control.is_control() => {
                    let _ = write!(quoted, "\\u{:04x}", u32::from(control));
                }
                '\u{10ffff}' => quoted.push_str("\\U0010ffff"),
                printable => quoted.push(printable),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use fabric_protos::protos::SignedProposal;

    use super::*;
    use crate::trace::{Event, EventKind};

    fn shown(message: ChaincodeMessage, direction: Direction) -> String {
        let total = message.encoded_len();
        let kind = EventKind::ChaincodeMessage { stream: 1, direction, message: Arc::new(message), total };
        Event { at: Duration::from_micros(1_166_598), node: "peer0".into(), kind }.to_string()
    }

    fn message(r#type: Type, txid: &str, payload: Vec<u8>) -> ChaincodeMessage {
        let channel_id = if txid.is_empty() { String::new() } else { "mychannel".to_owned() };
        let (txid, payload) = (txid.to_owned(), Bytes::from(payload));
        ChaincodeMessage { r#type: r#type.into(), txid, payload, channel_id, ..ChaincodeMessage::default() }
    }

    const TXID: &str = "56836992aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// The lines were recorded between real peers and a chaincode.
    #[test]
    fn lines_match_the_recording_of_a_real_peer() {
        let id = ChaincodeId {
            name: "basic_1.0:58e9d2b9a04af9a09ca9af2837e4fba8b68359f2a458611e70f152304fe144d3".to_owned(),
            ..ChaincodeId::default()
        };
        assert_eq!(
            shown(message(Type::Register, "", id.encode_to_vec()), Direction::ChaincodeToPeer),
            " 1166.598ms s1 C>P REGISTER           txid=         ch=          payload=76B total=80B ChaincodeID{name:\"basic_1.0:58e9d2b9a04af9a09ca9af2837e4fba8b68359f2a458611e70f152304fe144d3\"}"
        );
        let ready = ChaincodeAdditionalParams {
            max_size_write_batch: 1000,
            max_size_get_multiple_keys: 1000,
            ..ChaincodeAdditionalParams::default()
        };
        assert_eq!(
            shown(message(Type::Ready, "", ready.encode_to_vec()), Direction::PeerToChaincode),
            " 1166.598ms s1 P>C READY              txid=         ch=          payload=6B total=10B ChaincodeAdditionalParams{max_size_write_batch:1000 max_size_get_multiple_keys:1000}"
        );
        let args = ["CreateAsset", "a1", "blue", "1", "tom", "1"].map(|argument| argument.as_bytes().to_vec());
        let input = ChaincodeInput { args: args.to_vec(), ..ChaincodeInput::default() };
        let mut call = message(Type::Transaction, TXID, input.encode_to_vec());
        call.proposal = Some(SignedProposal { proposal_bytes: vec![1; 1016], signature: vec![2; 70] });
        assert_eq!(
            shown(call, Direction::PeerToChaincode),
            " 1166.598ms s1 P>C TRANSACTION        txid=56836992 ch=mychannel payload=34B total=1209B proposal=1016B sig=70B ChaincodeInput{args=[\"CreateAsset\" \"a1\" \"blue\" \"1\" \"tom\" \"1\"] decorations=0 is_init=false}"
        );
        let put = PutState { key: "a1".to_owned(), value: Bytes::from(vec![3; 68]), collection: String::new() };
        assert_eq!(
            shown(message(Type::PutState, TXID, put.encode_to_vec()), Direction::ChaincodeToPeer),
            " 1166.598ms s1 C>P PUT_STATE          txid=56836992 ch=mychannel payload=74B total=155B PutState{key=\"a1\" value=68B coll=\"\"}"
        );
        let response = Response { status: 200, payload: vec![4; 68], ..Response::default() };
        assert_eq!(
            shown(message(Type::Completed, TXID, response.encode_to_vec()), Direction::ChaincodeToPeer),
            " 1166.598ms s1 C>P COMPLETED          txid=56836992 ch=mychannel payload=73B total=154B Response{status=200 message=\"\" payload=68B}"
        );
    }

    #[test]
    fn text_is_escaped_as_in_go() {
        assert_eq!(quoted(b"a\"b\\\n\x00\xff\xc3\xa9"), "\"a\\\"b\\\\\\n\\x00\\xffé\"");
        assert_eq!(text("\u{0}\u{10ffff}initialized"), "\"\\x00\\U0010ffffinitialized\"");
    }

    #[test]
    fn an_invalid_payload_is_shown_as_such() {
        let line = shown(message(Type::GetState, TXID, vec![0xff; 3]), Direction::ChaincodeToPeer);
        assert!(line.contains("payload=3B total=84B (cannot be decoded: "), "{line}");
        let mut unknown = message(Type::Response, TXID, Vec::new());
        unknown.r#type = 99;
        assert!(shown(unknown, Direction::ChaincodeToPeer).contains(" C>P 99 "));
    }
}
