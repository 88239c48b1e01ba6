//! Snapshots of a network: save its state, and restore it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::channel::{ChannelState, PeerChannel};
use crate::network::Network;
use crate::orderer::registrar::{Membership, OrderingState};

/// A saved state of a network: channel memberships and ledgers.
///
/// It shares unchanged data with the network, so it is cheap. Installed packages, running chaincodes, the
/// clock and faults are not part of it.
#[derive(Clone, Default)]
pub struct Snapshot {
    ordering: OrderingState,
    /// By orderer.
    memberships: BTreeMap<String, BTreeMap<String, Membership>>,
    /// By peer, and by channel.
    channels: BTreeMap<String, BTreeMap<String, ChannelState>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Snapshot").field("peers", &self.channels.keys()).finish_non_exhaustive()
    }
}

impl Network {
    /// Saves the network's state.
    pub async fn snapshot(&self) -> Snapshot {
        let channels = self.peer_channels();
        let mut paused = Vec::new();
        for channel in channels.values().flat_map(BTreeMap::values) {
            paused.push(channel.pause().await);
        }
        let state = |channels: &BTreeMap<String, Arc<PeerChannel>>| {
            channels.iter().map(|(name, channel)| (name.clone(), channel.state())).collect()
        };
        Snapshot {
            // After the peers, so that the orderers have every block that a peer has.
            channels: channels.iter().map(|(peer, channels)| (peer.clone(), state(channels))).collect(),
            memberships: self.nodes().orderers().iter().map(|one| (one.name.clone(), one.memberships())).collect(),
            ordering: self.ordering().state(),
        }
    }

    /// Restores a saved state: ledgers, channel configurations and memberships.
    ///
    /// Channels that a node has left since are not joined again. Installed packages and running chaincodes
    /// are kept. Transactions in progress are lost.
    pub async fn restore(&self, snapshot: &Snapshot) {
        let channels = self.peer_channels();
        let mut paused = Vec::new();
        for channel in channels.values().flat_map(BTreeMap::values) {
            paused.push(channel.pause().await);
        }
        self.ordering().restore(&snapshot.ordering).await;
        for orderer in self.nodes().orderers() {
            orderer.restore(snapshot.memberships.get(&orderer.name).cloned().unwrap_or_default());
            if orderer.is_stopped() {
                orderer.set_stopped(true);
            }
        }
        for peer in self.nodes().peers() {
            let saved = snapshot.channels.get(&peer.name);
            for (name, channel) in channels.get(&peer.name).into_iter().flatten() {
                match saved.and_then(|saved| saved.get(name)) {
                    Some(state) => channel.restore(state),
                    None => peer.forget(name),
                }
            }
        }
    }

    /// Restores the state at the start of the network: no node is in any channel. Installed packages and
    /// running chaincodes are kept.
    pub async fn reset(&self) {
        self.restore(&Snapshot::default()).await;
    }

    fn peer_channels(&self) -> BTreeMap<String, BTreeMap<String, Arc<PeerChannel>>> {
        self.nodes().peers().iter().map(|peer| (peer.name.clone(), peer.joined())).collect()
    }
}
