//! Gossip messages that discovery returns: a peer's alive message and its state on a channel. There
//! is no gossip; the messages are created on request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fabric_protos::discovery::Peer as PeerMessage;
use fabric_protos::gossip::gossip_message::{Content, Tag};
use fabric_protos::gossip::{
    AliveMessage, Chaincode, Envelope, GossipMessage, Member as Membership, PeerTime, Properties, StateInfo,
};
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::channel::ChaincodeInfo;
use crate::peer::{Member, Peer};

/// A peer's PKI-ID: SHA-256 over MSP ID and certificate (`internal/pkg/peer/gossip/mcs.go`).
pub(crate) fn pki_id(identity: &[u8]) -> Vec<u8> {
    let identity = SerializedIdentity::decode(identity).unwrap_or_default();
    Sha256::new().chain_update(identity.mspid).chain_update(identity.id_bytes).finalize().to_vec()
}

/// A peer outside of any channel.
pub(crate) fn alive(peer: &Peer) -> PeerMessage {
    let identity = peer.signer.identity().to_vec();
    let alive = AliveMessage {
        membership: Some(Membership {
            endpoint: peer.endpoint.clone(),
            metadata: Vec::new(),
            pki_id: pki_id(&identity),
        }),
        timestamp: Some(timestamp(peer)),
        identity: identity.clone(),
    };
    let message =
        GossipMessage { tag: Tag::Empty.into(), content: Some(Content::AliveMsg(alive)), ..GossipMessage::default() };
    PeerMessage { membership_info: Some(signed(peer, &message)), identity, state_info: None }
}

/// A peer with its state on a channel.
pub(crate) fn on_channel(member: &Member) -> PeerMessage {
    let peer = &member.peer;
    let pki_id = pki_id(peer.signer.identity());
    let channel = member.channel.ledger.channel();
    let chaincodes = member.channel.all_runnable();
    let chaincode = |(name, info): (String, Arc<ChaincodeInfo>)| {
        let version = info.definition.sequence.to_string();
        Chaincode { name, version, metadata: Vec::new() }
    };
    let state = StateInfo {
        timestamp: Some(timestamp(peer)),
        channel_mac: Sha256::new().chain_update(&pki_id).chain_update(channel).finalize().to_vec(),
        pki_id,
        properties: Some(Properties {
            ledger_height: member.height,
            left_channel: false,
            chaincodes: chaincodes.into_iter().map(chaincode).collect(),
        }),
    };
    let message = GossipMessage {
        tag: Tag::ChanOrOrg.into(),
        content: Some(Content::StateInfo(state)),
        ..GossipMessage::default()
    };
    PeerMessage { state_info: Some(signed(peer, &message)), ..alive(peer) }
}

/// When the peer was started, and the time (`gossip/discovery/discovery_impl.go`).
fn timestamp(peer: &Peer) -> PeerTime {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    };
    PeerTime { inc_num: nanoseconds(peer.started), seq_num: nanoseconds(peer.clock.now()) }
}

fn signed(peer: &Peer, message: &GossipMessage) -> Envelope {
    let payload = message.encode_to_vec();
    let signature = peer.signer.sign(&payload).unwrap_or_default();
    Envelope { payload, signature, secret_envelope: None }
}
