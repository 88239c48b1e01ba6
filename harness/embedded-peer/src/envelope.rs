//! Decoding of envelopes' headers and other messages, with Fabric's error texts.

use fabric_protos::common::{ChannelHeader, Envelope, Payload};
use prost::Message;

/// Decodes a message. Fabric's error text contains `name` (`protoutil/unmarshalers.go`).
pub(crate) fn decode<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|_| format!("error unmarshalling {name}: proto: cannot parse invalid wire-format data"))
}

/// The channel header of an envelope (`protoutil.ChannelHeader`).
pub(crate) fn channel_header(envelope: &Envelope) -> Result<ChannelHeader, String> {
    let payload = Payload::decode(&*envelope.payload)
        .map_err(|_| "error unmarshalling Payload: proto: cannot parse invalid wire-format data")?;
    let header = payload.header.ok_or("header not set")?;
    if header.channel_header.is_empty() {
        return Err("channel header not set".to_owned());
    }
    ChannelHeader::decode(&*header.channel_header).map_err(|_| {
        "error unmarshalling channel header: error unmarshalling ChannelHeader: \
         proto: cannot parse invalid wire-format data"
            .to_owned()
    })
}
