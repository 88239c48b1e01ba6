//! The channel configuration, and configuration updates.
//!
//! A [`ChannelConfig`] is the content of one configuration block, validated as in Fabric, with its MSPs and
//! policies decoded. It is immutable; an update returns a new one. [`acl`] has the policy of each resource.

pub mod acl;
mod error;
mod tree;
mod update;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::{Block, Config, ConfigEnvelope, Consenter, Envelope, Payload};
use fabric_protos::protos::AnchorPeer;
use prost::Message;

pub use self::error::ConfigError;
pub(crate) use self::update::check_channel_name;
pub use self::values::{BatchConfig, Capabilities, Consensus};

use self::tree::Tree;
use crate::msp::MspManager;
use crate::policy::{Endorsement, Policies, PolicyError, SignedData};

/// The policy for chaincode definitions, if the channel has one.
pub const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";
/// The endorsement policy of chaincodes that do not set one.
pub const ENDORSEMENT: &str = "/Channel/Application/Endorsement";

/// The number of endorsement policies at which the cache is cleared.
const CACHE_LIMIT: usize = 256;

/// An organization of the application group.
#[derive(Clone, Debug, PartialEq)]
pub struct Organization {
    /// The name of its group, which is part of its policies' paths.
    pub name: String,
    /// Its MSP ID.
    pub msp_id: String,
    /// The peers that other organizations can reach.
    pub anchor_peers: Vec<AnchorPeer>,
}

/// An organization of the orderer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdererOrganization {
    /// The name of its group.
    pub name: String,
    /// Its MSP ID.
    pub msp_id: String,
    /// The addresses of its orderers, `HOST:PORT`.
    pub endpoints: Vec<String>,
}

/// A channel's configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChannelConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: String,
    config: Config,
    tree: Tree,
    policies: Policies,
    values: values::Values,
    /// Decoded endorsement policies.
    endorsements: RwLock<HashMap<Vec<u8>, Arc<Endorsement>>>,
}

impl ChannelConfig {
    /// The configuration in a configuration block.
    ///
    /// # Errors
    /// [`ConfigError`]: the block has none, or one that Fabric would reject.
    pub fn from_block(block: &Block) -> Result<Self, ConfigError> {
        let envelope = block.data.as_ref().and_then(|data| data.data.first()).ok_or(ConfigError::EmptyBlock)?;
        let (channel, envelope) = config_envelope(envelope)?;
        Self::new(&channel, envelope.config.ok_or(ConfigError::NoConfig)?)
    }

    /// A channel's configuration.
    ///
    /// # Errors
    /// [`ConfigError`]: Fabric would reject it.
    pub fn new(channel: &str, config: Config) -> Result<Self, ConfigError> {
        let group = config.channel_group.as_ref().ok_or(ConfigError::NoGroup)?;
        let (values, msps) = values::Values::read(group)?;
        let policies = Policies::new(group, msps).map_err(ConfigError::Policies)?;
        check_channel_name(channel).map_err(|cause| ConfigError::Name(format!("bad channel ID: {cause}")))?;
        let tree = Tree::new(group)?;
        let endorsements = RwLock::default();
        Ok(Self(Arc::new(Inner { channel: channel.to_owned(), config, tree, policies, values, endorsements })))
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// Whether `other` is a clone of this configuration.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The sequence number: how often it has been updated.
    pub fn sequence(&self) -> u64 {
        self.0.config.sequence
    }

    /// The configuration tree.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The MSPs of all its organizations.
    pub fn msps(&self) -> &MspManager {
        self.0.policies.msps()
    }

    /// Its policies.
    pub fn policies(&self) -> &Policies {
        &self.0.policies
    }

    /// Whether a policy, named by path (`/Channel/Application/Writers`), is satisfied.
    ///
    /// # Errors
    /// [`PolicyError`]: it is not satisfied, or does not exist.
    pub fn evaluate(&self, policy: &str, signed: &[SignedData]) -> Result<(), PolicyError> {
        self.0.policies.evaluate(policy, signed)
    }

    /// Decodes an endorsement policy (an `ApplicationPolicy`), with a cache.
    ///
    /// # Errors
    /// [`PolicyError`]: it is invalid.
    pub fn endorsement(&self, policy: &[u8]) -> Result<Arc<Endorsement>, PolicyError> {
        let known = &self.0.endorsements;
        if let Some(endorsement) = known.read().unwrap_or_else(PoisonError::into_inner).get(policy) {
            return Ok(endorsement.clone());
        }
        let endorsement = Arc::new(Endorsement::decode(policy)?);
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CACHE_LIMIT {
            known.clear();
        }
        known.insert(policy.to_vec(), endorsement.clone());
        Ok(endorsement)
    }

    /// The organizations of the application group, sorted by group name.
    pub fn organizations(&self) -> &[Organization] {
        &self.0.values.organizations
    }

    /// The organization of the application group with this MSP ID.
    pub fn organization(&self, msp_id: &str) -> Option<&Organization> {
        self.organizations().iter().find(|organization| organization.msp_id == msp_id)
    }

    /// The organizations of the orderer group, sorted by group name.
    pub fn orderer_organizations(&self) -> &[OrdererOrganization] {
        &self.0.values.orderer_organizations
    }

    /// The global orderer addresses, `HOST:PORT`.
    pub fn orderer_addresses(&self) -> &[String] {
        &self.0.values.orderer_addresses
    }

    /// The channel's ACLs: policy paths by resource.
    pub fn acls(&self) -> &BTreeMap<String, String> {
        &self.0.values.acls
    }

    /// The policy of a resource: the channel's, or Fabric's default. `None` if there is no such resource, or if
    /// only the policy of the peer's organization applies.
    pub fn acl(&self, resource: &str) -> Option<&str> {
        acl::channel_policy(self, resource)
    }

    /// The capabilities of each group.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.values.capabilities
    }

    /// The limits of blocks.
    pub fn batch(&self) -> &BatchConfig {
        &self.0.values.batch
    }

    /// The consensus type.
    pub fn consensus(&self) -> &Consensus {
        &self.0.values.consensus
    }

    /// The consenters of a BFT channel.
    pub fn consenters(&self) -> &[Consenter] {
        &self.0.values.consenters
    }

    /// The configuration that results from an update (an envelope of type `CONFIG_UPDATE`), as an orderer
    /// computes it.
    ///
    /// # Errors
    /// [`ConfigError`]: the update is for another sequence, unauthorized, or leads to a configuration that
    /// Fabric would reject.
    pub fn apply_update(&self, update: &Envelope) -> Result<ConfigEnvelope, ConfigError> {
        let envelope = update::propose(self, update)?;
        self.follow(&envelope)?;
        Ok(envelope)
    }

    /// The next configuration, from the envelope in a configuration block, as a peer validates it.
    ///
    /// # Errors
    /// [`ConfigError`]: it does not result from its last update.
    pub fn next(&self, envelope: &ConfigEnvelope) -> Result<Self, ConfigError> {
        update::validate(self, envelope)?;
        self.follow(envelope)
    }

    fn follow(&self, envelope: &ConfigEnvelope) -> Result<Self, ConfigError> {
        let config = envelope.config.clone().ok_or(ConfigError::NoConfig)?;
        let next = Self::new(self.channel(), config)?;
        update::check_successor(self, &next)?;
        Ok(next)
    }

    fn tree(&self) -> &Tree {
        &self.0.tree
    }
}

/// Decodes an envelope of type `CONFIG`: the channel's name and its configuration.
///
/// # Errors
/// [`ConfigError`]: it is invalid.
pub fn config_envelope(envelope: &[u8]) -> Result<(String, ConfigEnvelope), ConfigError> {
    let envelope = Envelope::decode(envelope).map_err(ConfigError::Decode)?;
    let payload = Payload::decode(&*envelope.payload).map_err(ConfigError::Decode)?;
    let config = ConfigEnvelope::decode(&*payload.data).map_err(ConfigError::Decode)?;
    let header = payload.header.ok_or(ConfigError::NoHeader)?;
    let header = fabric_protos::common::ChannelHeader::decode(&*header.channel_header).map_err(ConfigError::Decode)?;
    Ok((header.channel_id, config))
}

#[cfg(test)]
mod tests;
