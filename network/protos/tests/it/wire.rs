//! Encoded messages, compared with bytes written by hand from the field numbers of Fabric's messages.

use fabric_protos::bytes::Bytes;
use fabric_protos::common::{ChannelHeader, ConfigGroup, ConfigValue, HeaderType, MspRole, msp_role};
use fabric_protos::gateway::{self, ErrorDetail};
use fabric_protos::prost::Message;
use fabric_protos::prost_types::{Any, Timestamp};
use fabric_protos::protos::{
    self, ChaincodeHeaderExtension, ChaincodeId, ChaincodeMessage, ChaincodeProposalPayload, ProposalResponse,
    PutStateMetadata, Response, StateMetadata, chaincode_message,
};
use fabric_protos::{discovery, gossip, orderer, rpc, transientstore};

#[test]
fn a_register_message_is_encoded_as_a_chaincode_sends_it() {
    let id = ChaincodeId { name: "basic:0a".to_owned(), ..ChaincodeId::default() };
    let register = ChaincodeMessage {
        r#type: chaincode_message::Type::Register.into(),
        payload: id.encode_to_vec().into(),
        ..ChaincodeMessage::default()
    };
    let bytes = b"\x08\x01\x1a\x0a\x12\x08basic:0a";
    assert_eq!(register.encode_to_vec(), bytes);
    assert_eq!(ChaincodeMessage::decode(&bytes[..]), Ok(register));
}

#[test]
fn a_payload_shares_the_bytes_that_it_was_decoded_from() {
    let frame = Bytes::from_static(b"\x08\x0d\x1a\x05value\x22\x02tx\x3a\x02ch");
    let message = ChaincodeMessage::decode(frame.clone()).unwrap();
    assert_eq!(message.r#type(), chaincode_message::Type::Response);
    assert_eq!((&*message.txid, &*message.channel_id), ("tx", "ch"));
    assert_eq!(&*message.payload, b"value");
    assert!(frame.as_ptr_range().contains(&message.payload.as_ptr()));
}

#[test]
fn unused_field_numbers_are_skipped() {
    // Numbers of removed fields: 1 in the header extension, 2 in PutStateMetadata, 3 in ProposalResponse.
    let extension = ChaincodeHeaderExtension { chaincode_id: Some(ChaincodeId::default()) };
    assert_eq!(extension.encode_to_vec(), b"\x12\x00");
    let metadata = StateMetadata { metakey: "k".to_owned(), value: b"v".to_vec() };
    let put = PutStateMetadata { key: "a".to_owned(), collection: "c".to_owned(), metadata: Some(metadata) };
    assert_eq!(put.encode_to_vec(), b"\x0a\x01a\x1a\x01c\x22\x06\x0a\x01k\x12\x01v");
    let response = Response { status: 200, ..Response::default() };
    let response = ProposalResponse { version: 1, response: Some(response), ..ProposalResponse::default() };
    assert_eq!(response.encode_to_vec(), b"\x08\x01\x22\x03\x08\xc8\x01");
}

#[test]
fn a_channel_header_is_encoded_field_by_field() {
    let header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        version: 1,
        timestamp: Some(Timestamp { seconds: 1, nanos: 2 }),
        channel_id: "ch".to_owned(),
        tx_id: "tx".to_owned(),
        epoch: 300,
        extension: b"e".to_vec(),
        tls_cert_hash: b"h".to_vec(),
    };
    assert_eq!(
        header.encode_to_vec(),
        b"\x08\x03\x10\x01\x1a\x04\x08\x01\x10\x02\x22\x02ch\x2a\x02tx\x30\xac\x02\x3a\x01e\x42\x01h"
    );
}

#[test]
fn an_unknown_field_is_ignored() {
    let role = MspRole::decode(&b"\x0a\x01M\x10\x03\xf2\x3f\x03new"[..]).unwrap();
    assert_eq!(role, MspRole { msp_identifier: "M".to_owned(), role: msp_role::MspRoleType::Peer.into() });
}

#[test]
fn maps_are_encoded_in_the_order_of_their_keys() {
    let value = |text: &str| ConfigValue { value: text.into(), ..ConfigValue::default() };
    let entries = [("b", value("2")), ("a", value("1"))].map(|(key, value)| (key.to_owned(), value));
    let group = ConfigGroup { values: entries.into(), ..ConfigGroup::default() };
    assert_eq!(group.encode_to_vec(), b"\x1a\x08\x0a\x01a\x12\x03\x12\x011\x1a\x08\x0a\x01b\x12\x03\x12\x012");
    let transient = [("b".to_owned(), b"2".to_vec()), ("a".to_owned(), b"1".to_vec())];
    let payload = ChaincodeProposalPayload { transient_map: transient.into(), ..ChaincodeProposalPayload::default() };
    assert_eq!(payload.encode_to_vec(), b"\x12\x06\x0a\x01a\x12\x011\x12\x06\x0a\x01b\x12\x012");
}

#[test]
fn truncated_and_invalid_bytes_are_errors() {
    for bytes in [&b"\x08"[..], b"\x1a\x7fshort", b"\x0f", b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        assert!(ChaincodeMessage::decode(bytes).is_err(), "{bytes:x?}");
    }
    assert!(ConfigGroup::decode(&*nested(20)).is_ok());
    assert!(ConfigGroup::decode(&*nested(200)).is_err(), "nesting is limited");
}

/// Nested groups, each the only value in `groups` of the outer one.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| {
        let entry = [&[0x12], &*length(inner.len()), &inner].concat();
        [&[0x12], &*length(entry.len()), &entry].concat()
    })
}

/// A length as a varint.
fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.extend(u8::try_from(length % 0x80 + 0x80));
        length /= 0x80;
    }
    bytes.extend(u8::try_from(length));
    bytes
}

#[test]
fn the_gateways_details_are_decoded_from_the_status_header() {
    let header =
        b"\x08\x0a\x12\x03bad\x1a\x32\x0a\x27type.googleapis.com/gateway.ErrorDetail\x12\x07\x0a\x01a\x12\x02Or";
    let detail = ErrorDetail { address: "a".to_owned(), msp_id: "Or".to_owned(), message: String::new() };
    let any = Any { type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(), value: detail.encode_to_vec() };
    let status = rpc::Status { code: 10, message: "bad".to_owned(), details: vec![any] };
    assert_eq!(rpc::Status::decode(&header[..]), Ok(status));
}

#[test]
fn a_peers_state_is_encoded_as_gossip_does() {
    let chaincode = gossip::Chaincode { name: "c".to_owned(), version: "2".to_owned(), ..gossip::Chaincode::default() };
    let state = gossip::StateInfo {
        timestamp: Some(gossip::PeerTime { inc_num: 1, seq_num: 2 }),
        pki_id: b"p".to_vec(),
        channel_mac: b"m".to_vec(),
        properties: Some(gossip::Properties { ledger_height: 3, left_channel: false, chaincodes: vec![chaincode] }),
    };
    let message = gossip::GossipMessage {
        tag: gossip::gossip_message::Tag::ChanOrOrg.into(),
        content: Some(gossip::gossip_message::Content::StateInfo(state)),
        ..gossip::GossipMessage::default()
    };
    let bytes = b"\x18\x05\x7a\x18\x12\x04\x08\x01\x10\x02\x1a\x01p\x22\x01m\x2a\x0a\x08\x03\x1a\x06\x0a\x01c\x12\x012";
    assert_eq!(message.encode_to_vec(), bytes);
    let member = gossip::Member { endpoint: "h:1".to_owned(), metadata: Vec::new(), pki_id: b"p".to_vec() };
    let alive = gossip::AliveMessage { membership: Some(member), timestamp: None, identity: b"i".to_vec() };
    let content = Some(gossip::gossip_message::Content::AliveMsg(alive));
    let message = gossip::GossipMessage { content, ..gossip::GossipMessage::default() };
    assert_eq!(message.encode_to_vec(), b"\x2a\x0d\x0a\x08\x0a\x03h:1\x1a\x01p\x22\x01i");
}

#[test]
fn discovery_and_the_transient_store_have_fabrics_numbers() {
    let layout = discovery::Layout { quantities_by_group: [("G0".to_owned(), 2)].into() };
    let peer = discovery::Peer { identity: b"i".to_vec(), ..discovery::Peer::default() };
    let group = ("G0".to_owned(), discovery::Peers { peers: vec![peer] });
    let descriptor = discovery::EndorsementDescriptor {
        chaincode: "c".to_owned(),
        endorsers_by_groups: [group].into(),
        layouts: vec![layout],
    };
    assert_eq!(
        descriptor.encode_to_vec(),
        b"\x0a\x01c\x12\x0b\x0a\x02G0\x12\x05\x0a\x03\x1a\x01i\x1a\x08\x0a\x06\x0a\x02G0\x10\x02"
    );
    let private = transientstore::TxPvtReadWriteSetWithConfigInfo { endorsed_at: 7, ..Default::default() };
    assert_eq!(private.encode_to_vec(), b"\x08\x07");
}

#[test]
fn services_have_fabrics_names() {
    let names = [
        protos::endorser_server::SERVICE_NAME,
        protos::deliver_server::SERVICE_NAME,
        protos::chaincode_server::SERVICE_NAME,
        protos::chaincode_support_server::SERVICE_NAME,
        gateway::gateway_server::SERVICE_NAME,
        discovery::discovery_server::SERVICE_NAME,
        orderer::atomic_broadcast_server::SERVICE_NAME,
    ];
    let expected = [
        "protos.Endorser",
        "protos.Deliver",
        "protos.Chaincode",
        "protos.ChaincodeSupport",
        "gateway.Gateway",
        "discovery.Discovery",
        "orderer.AtomicBroadcast",
    ];
    assert_eq!(names, expected);
}
