//! What no real network can do: be as it was before.
//!
//! Time is set by [`Network::clock`], what goes wrong by [`Network::faults`], and what passes is told by
//! [`Network::tracer`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::network::Network;
use crate::orderer::registrar::{Membership, OrderingState};
use crate::peer::{ChannelState, PeerChannel};

/// A network as it was at some time: who had joined which channel, and every ledger. It shares what did
/// not change with the network itself, so it costs next to nothing. Of installed packages, running
/// chaincodes, the clock and faults it knows nothing.
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
    /// The network as it is now.
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
            // After the peers: what they have must be there when they come back.
            channels: channels.iter().map(|(peer, channels)| (peer.clone(), state(channels))).collect(),
            memberships: self.nodes().orderers().iter().map(|one| (one.name.clone(), one.memberships())).collect(),
            ordering: self.ordering().state(),
        }
    }

    /// Makes the network what it was: ledgers, configurations and who is in which channel. Channels that
    /// were left since are not joined again. Installed packages and running chaincodes stay. What is under
    /// way meanwhile is lost.
    pub async fn restore(&self, snapshot: &Snapshot) {
        let channels = self.peer_channels();
        let mut paused = Vec::new();
        for channel in channels.values().flat_map(BTreeMap::values) {
            paused.push(channel.pause().await);
        }
        self.ordering().restore(&snapshot.ordering).await;
        for orderer in self.nodes().orderers() {
            orderer.restore(snapshot.memberships.get(&orderer.name).cloned().unwrap_or_default());
        }
        for peer in self.nodes().peers() {
            let then = snapshot.channels.get(&peer.name);
            for (name, channel) in channels.get(&peer.name).into_iter().flatten() {
                match then.and_then(|then| then.get(name)) {
                    Some(state) => channel.restore(state),
                    None => peer.forget(name),
                }
            }
        }
    }

    /// Makes the network what it was when it had started: no node is in any channel. Installed packages
    /// and running chaincodes stay.
    pub async fn reset(&self) {
        self.restore(&Snapshot::default()).await;
    }

    fn peer_channels(&self) -> BTreeMap<String, BTreeMap<String, Arc<PeerChannel>>> {
        self.nodes().peers().iter().map(|peer| (peer.name.clone(), peer.joined())).collect()
    }
}
