//! Private data collections: who is a member, and what a transaction's creator may do
//! (`core/common/privdata`).

use std::sync::Arc;

use fabric_protos::protos::{StaticCollectionConfig, collection_policy_config};

use super::info;
use super::proposal::Unpacked;
use crate::chaincode::CollectionAccess;
use crate::config::ChannelConfig;
use crate::ledger::StateView;
use crate::lifecycle::{self, Definition};
use crate::peer::{Peer, PeerChannel};
use crate::policy::SignaturePolicy;

/// A collection's configuration, if it is defined.
pub(super) fn collection(
    peer: &Peer,
    channel: &PeerChannel,
    state: &StateView,
    chaincode: &str,
    name: &str,
) -> Option<StaticCollectionConfig> {
    if chaincode == lifecycle::NAMESPACE {
        return lifecycle::collection(&Definition::default(), name);
    }
    lifecycle::collection(&info::defined(peer, channel, chaincode, state)?.definition, name)
}

/// Who may hold a collection's data.
pub(super) struct Members(SignaturePolicy);

impl Members {
    /// The members of a collection.
    ///
    /// # Errors
    ///
    /// Fabric's text when the collection's policy can't be used.
    pub(super) fn new(config: &StaticCollectionConfig) -> Result<Self, String> {
        let policy = config.member_orgs_policy.as_ref().ok_or("Collection config policy is nil")?;
        let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = &policy.payload else {
            return Err("Collection config access policy is nil".to_owned());
        };
        SignaturePolicy::new(policy.clone()).map(Self).map_err(|error| error.to_string())
    }

    /// Whether an identity is one of them.
    pub(super) fn include(&self, config: &ChannelConfig, identity: &[u8]) -> bool {
        let identity = config.msps().deserialize(identity);
        identity.is_ok_and(|identity| self.0.evaluate(&[Arc::clone(&identity)]).is_ok())
    }
}

/// What the creator of a proposal may do with a collection.
///
/// # Errors
///
/// Fabric's text when there is no such collection.
pub(super) fn access(
    peer: &Peer,
    channel: &PeerChannel,
    state: &StateView,
    chaincode: &str,
    name: &str,
    proposal: &Unpacked,
) -> Result<CollectionAccess, String> {
    let config = collection(peer, channel, state, chaincode, name)
        .ok_or_else(|| format!("collection {}/{chaincode}/{name} could not be found", channel.ledger.channel()))?;
    let members = Members::new(&config)
        .map_err(|error| format!("error setting up collection for collection criteria {chaincode}/{name}: {error}"))?;
    let is_open = !config.member_only_read && !config.member_only_write;
    let is_member = is_open || members.include(&channel.config(), &proposal.creator);
    Ok(CollectionAccess { read: is_member || !config.member_only_read, write: is_member || !config.member_only_write })
}

/// Whether somebody who reads blocks may see a collection's data: anyone, unless only members may.
///
/// # Errors
///
/// Fabric's text when there is no such collection.
pub(crate) fn may_see(channel: &PeerChannel, chaincode: &str, name: &str, identity: &[u8]) -> Result<bool, String> {
    let definition = if chaincode == lifecycle::NAMESPACE {
        Some(Definition::default())
    } else {
        lifecycle::definition(&channel.ledger.state(), chaincode)
    };
    let config = definition
        .and_then(|definition| lifecycle::collection(&definition, name))
        .ok_or_else(|| format!("no collection config was found for collection {name} for chaincode {chaincode}"))?;
    if !config.member_only_read {
        return Ok(true);
    }
    let members = Members::new(&config).map_err(|error| format!("error setting up collection  {name}: {error}"))?;
    Ok(members.include(&channel.config(), identity))
}
