//! Access control of a peer's resources: `config::acl` for the peer's channels.

use super::Peer;
use crate::config::acl;
use crate::policy::SignedData;

/// Checks that the signer may use a resource of a channel, or with an empty name, of the peer.
///
/// # Errors
///
/// Fabric's text.
pub(crate) fn check(peer: &Peer, resource: &str, channel: &str, signed: &SignedData) -> Result<(), String> {
    let joined = peer.channel(channel);
    if joined.is_none() && !channel.is_empty() && acl::local_policy(resource).is_none() {
        return Err(format!("Failed to get policy manager for channel [{channel}]"));
    }
    let config = joined.map(|channel| channel.config());
    acl::check(resource, config.as_ref(), &peer.local_msp, signed)
}
