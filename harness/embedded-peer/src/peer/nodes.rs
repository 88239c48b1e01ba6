//! The nodes of a network, by which peers find each other and the orderers.

use std::sync::Arc;

use crate::orderer::Orderer;
use crate::peer::Peer;

/// The nodes of a network.
#[derive(Debug, Default)]
pub struct Nodes {
    pub(crate) peers: Vec<Arc<Peer>>,
    pub(crate) orderers: Vec<Arc<Orderer>>,
}

impl Nodes {
    /// Every peer, in the order of the bundle.
    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// Every orderer, in the order of the bundle.
    pub fn orderers(&self) -> &[Arc<Orderer>] {
        &self.orderers
    }

    /// A peer by its full name.
    pub fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// An orderer by its full name.
    pub fn orderer(&self, name: &str) -> Option<&Arc<Orderer>> {
        self.orderers.iter().find(|orderer| orderer.name == name)
    }
}
