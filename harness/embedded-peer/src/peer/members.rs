//! The peers of a channel, which in Fabric gossip discovers. Here all are in this process.

use std::sync::Arc;

use super::Peer;
use crate::channel::{PeerChannel, is_system};

/// A peer that has joined a channel.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its index among the peers of the network.
    pub(crate) number: usize,
    /// The peer.
    pub(crate) peer: Arc<Peer>,
    /// Its state of the channel.
    pub(crate) channel: Arc<PeerChannel>,
    /// The height of its ledger.
    pub(crate) height: u64,
}

/// The peers that have joined the channel and are not stopped; none if `peer` has not joined.
pub(crate) fn members(peer: &Peer, channel: &str) -> Vec<Member> {
    if peer.channel(channel).is_none() {
        return Vec::new();
    }
    let Some(nodes) = peer.nodes() else { return Vec::new() };
    let running = nodes.peers().iter().enumerate().filter(|(_, peer)| !peer.is_stopped());
    let joined = running.filter_map(|(number, peer)| {
        let channel = peer.channel(channel)?;
        Some(Member { number, peer: Arc::clone(peer), height: channel.ledger.height(), channel })
    });
    joined.collect()
}

impl Member {
    /// Whether it can run a chaincode: a system chaincode, or one that is defined, approved by its organization
    /// and installed.
    pub(crate) fn has_chaincode(&self, chaincode: &str) -> bool {
        is_system(chaincode) || self.sequence(chaincode).is_some()
    }

    /// The sequence of the definition with which it runs a chaincode.
    pub(crate) fn sequence(&self, chaincode: &str) -> Option<i64> {
        self.channel.runnable(chaincode).map(|info| info.definition.sequence)
    }
}
