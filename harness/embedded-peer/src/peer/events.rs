//! What follows from a block that a peer has committed.

use std::sync::Arc;

use super::{Peer, PeerChannel};
use crate::ledger::Committed;

/// Tells whoever wants to know.
pub(super) fn committed(_peer: &Arc<Peer>, channel: &PeerChannel, committed: &Committed) {
    tracing::debug!("[channel: {}] block {} is committed", channel.name, committed.block.number());
}
