//! What a signer may do on this peer: `config::acl` with the peer's channels put in.

use super::Peer;
use crate::config::acl;
use crate::policy::SignedData;

/// Whether the signer may use a resource of a channel; with no channel, of the peer itself.
///
/// # Errors
///
/// The text of Fabric's refusal.
pub(crate) fn check(peer: &Peer, resource: &str, channel: &str, signed: &SignedData) -> Result<(), String> {
    let joined = peer.channel(channel);
    if joined.is_none() && !channel.is_empty() && acl::local_policy(resource).is_none() {
        return Err(format!("Failed to get policy manager for channel [{channel}]"));
    }
    let config = joined.map(|channel| channel.config());
    acl::check(resource, config.as_ref(), &peer.local_msp, signed)
}
