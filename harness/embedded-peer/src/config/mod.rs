//! The channel configuration as its nodes use it, and updates of it.
//!
//! A [`ChannelConfig`] is what one configuration block says, checked as Fabric checks it, with its
//! MSPs and policies ready to be asked. It never changes; an update makes a new one. Who is asked
//! for what, by resource, is in [`acl`].

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
pub use self::values::{BatchConfig, Capabilities, Consensus};

use self::tree::Tree;
use crate::msp::MspManager;
use crate::policy::{Endorsement, Policies, PolicyError, SignedData};

/// The policy that guards definitions of chaincode, if the channel has it.
pub const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";
/// The endorsement policy of chaincodes that name none.
pub const ENDORSEMENT: &str = "/Channel/Application/Endorsement";
/// Whose signatures a block needs.
pub const BLOCK_VALIDATION: &str = "/Channel/Orderer/BlockValidation";

/// How many endorsement policies are remembered before all are forgotten.
const REMEMBERED: usize = 256;

/// An organization of the application group.
#[derive(Clone, Debug, PartialEq)]
pub struct Organization {
    /// The name of its group, which its policies' paths contain.
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
    /// Where its orderers are, host:port.
    pub endpoints: Vec<String>,
}

/// What a configuration block says. A clone is cheap.
#[derive(Clone, Debug)]
pub struct ChannelConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: String,
    config: Config,
    tree: Tree,
    policies: Policies,
    values: values::Values,
    /// Endorsement policies that were decoded before.
    endorsements: RwLock<HashMap<Vec<u8>, Arc<Endorsement>>>,
}

impl ChannelConfig {
    /// The configuration in a configuration block.
    ///
    /// # Errors
    /// [`ConfigError`]: the block holds none, or one that Fabric would not take.
    pub fn from_block(block: &Block) -> Result<Self, ConfigError> {
        let envelope = block.data.as_ref().and_then(|data| data.data.first()).ok_or(ConfigError::EmptyBlock)?;
        let (channel, envelope) = config_envelope(envelope)?;
        Self::new(&channel, envelope.config.ok_or(ConfigError::NoConfig)?)
    }

    /// A channel of that name with that configuration.
    ///
    /// # Errors
    /// [`ConfigError`]: Fabric would not take it.
    pub fn new(channel: &str, config: Config) -> Result<Self, ConfigError> {
        let group = config.channel_group.as_ref().ok_or(ConfigError::NoGroup)?;
        let (values, msps) = values::Values::read(group)?;
        let policies = Policies::new(group, msps).map_err(ConfigError::Policies)?;
        update::check_channel_name(channel)?;
        let tree = Tree::new(group)?;
        let endorsements = RwLock::default();
        Ok(Self(Arc::new(Inner { channel: channel.to_owned(), config, tree, policies, values, endorsements })))
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// Whether the other is a clone of this one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How often it was changed.
    pub fn sequence(&self) -> u64 {
        self.0.config.sequence
    }

    /// The whole tree.
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
    /// [`PolicyError`] if not, or if there is no such policy.
    pub fn evaluate(&self, policy: &str, signed: &[SignedData]) -> Result<(), PolicyError> {
        self.0.policies.evaluate(policy, signed)
    }

    /// An endorsement policy (an encoded `ApplicationPolicy`), decoded; remembered for the next time.
    ///
    /// # Errors
    /// [`PolicyError`]: it is none.
    pub fn endorsement(&self, policy: &[u8]) -> Result<Arc<Endorsement>, PolicyError> {
        let known = &self.0.endorsements;
        if let Some(endorsement) = known.read().unwrap_or_else(PoisonError::into_inner).get(policy) {
            return Ok(endorsement.clone());
        }
        let endorsement = Arc::new(Endorsement::decode(policy)?);
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(policy.to_vec(), endorsement.clone());
        Ok(endorsement)
    }

    /// The organizations with peers, by name of their group.
    pub fn organizations(&self) -> &[Organization] {
        &self.0.values.organizations
    }

    /// The organization with peers that has that MSP ID.
    pub fn organization(&self, msp_id: &str) -> Option<&Organization> {
        self.organizations().iter().find(|organization| organization.msp_id == msp_id)
    }

    /// The organizations with orderers, by name of their group.
    pub fn orderer_organizations(&self) -> &[OrdererOrganization] {
        &self.0.values.orderer_organizations
    }

    /// Addresses of orderers that are not given for an organization, host:port.
    pub fn orderer_addresses(&self) -> &[String] {
        &self.0.values.orderer_addresses
    }

    /// The policies that the channel sets for resources, by full path.
    pub fn acls(&self) -> &BTreeMap<String, String> {
        &self.0.values.acls
    }

    /// The policy that guards a resource: the channel's own, or Fabric's default. `None` if there
    /// is no such resource, or only the peer's own organization has a say in it.
    pub fn acl(&self, resource: &str) -> Option<&str> {
        acl::channel_policy(self, resource)
    }

    /// What the channel's nodes must be able to do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.values.capabilities
    }

    /// How transactions are cut into blocks.
    pub fn batch(&self) -> &BatchConfig {
        &self.0.values.batch
    }

    /// How orderers agree.
    pub fn consensus(&self) -> &Consensus {
        &self.0.values.consensus
    }

    /// The consenters of a BFT channel.
    pub fn consenters(&self) -> &[Consenter] {
        &self.0.values.consenters
    }

    /// The configuration that an update (an envelope of type `CONFIG_UPDATE`) would lead to: what
    /// an orderer does with it.
    ///
    /// # Errors
    /// [`ConfigError`]: the update is not against this sequence, not authorized, or leads to a
    /// configuration that Fabric would not take.
    pub fn apply_update(&self, update: &Envelope) -> Result<ConfigEnvelope, ConfigError> {
        let envelope = update::propose(self, update)?;
        self.follow(&envelope)?;
        Ok(envelope)
    }

    /// The next configuration, if the envelope in a configuration block follows from this one: what
    /// a peer does with it.
    ///
    /// # Errors
    /// [`ConfigError`]: its last update does not lead there.
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

/// The channel's name and the configuration in an encoded envelope of type `CONFIG`.
///
/// # Errors
/// [`ConfigError`]: it is none.
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
