//! Private data collections of a chaincode: those of its definition, and an implicit one for each
//! organization of the channel.

use std::collections::BTreeSet;

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::protos::{
    CollectionPolicyConfig, StaticCollectionConfig, collection_config, collection_policy_config,
};
use prost::Message;

use super::definition::Definition;
use super::{NAMESPACE, definition};
use crate::config::ChannelConfig;
use crate::ledger::{CollectionRule, CollectionRules, Collections, StateView};
use crate::msp::Principal;
use crate::policy::{from_signature_policy, n_of_roles, reference};

/// The prefix of implicit collection names.
pub const IMPLICIT_PREFIX: &str = "_implicit_org_";

/// The name of an organization's implicit collection.
pub fn implicit_collection(msp_id: &str) -> String {
    format!("{IMPLICIT_PREFIX}{msp_id}")
}

/// The MSP ID of an implicit collection.
pub fn implicit_organization(collection: &str) -> Option<&str> {
    collection.strip_prefix(IMPLICIT_PREFIX)
}

/// The explicit collections of a definition.
pub fn collections(definition: &Definition) -> impl Iterator<Item = &StaticCollectionConfig> {
    let payloads = definition.collections.config.iter().filter_map(|collection| collection.payload.as_ref());
    payloads.map(|collection_config::Payload::StaticCollectionConfig(collection)| collection)
}

/// An implicit or explicit collection of a chaincode. The organization of an implicit one is not
/// checked against the channel.
pub fn collection(definition: &Definition, name: &str) -> Option<StaticCollectionConfig> {
    match implicit_organization(name) {
        Some(msp_id) => Some(implicit(msp_id)),
        None => collections(definition).find(|collection| collection.name == name).cloned(),
    }
}

/// An organization's implicit collection. The number of copies is decided at distribution.
fn implicit(msp_id: &str) -> StaticCollectionConfig {
    let policy = n_of_roles(1, MspRoleType::Member, &[msp_id]);
    StaticCollectionConfig {
        name: implicit_collection(msp_id),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)),
        }),
        ..StaticCollectionConfig::default()
    }
}

/// The member policy of a collection.
pub(super) fn member_policy(collection: &StaticCollectionConfig) -> Option<&SignaturePolicyEnvelope> {
    match collection.member_orgs_policy.as_ref()?.payload.as_ref()? {
        collection_policy_config::Payload::SignaturePolicy(policy) => Some(policy),
    }
}

/// Whether the organization is a member of the collection.
pub fn is_member(collection: &StaticCollectionConfig, msp_id: &str) -> bool {
    let members = member_policy(collection).into_iter().flat_map(|policy| &policy.identities);
    members.map(Principal::new).any(|principal| principal.msp_id() == Some(msp_id))
}

/// The endorsement policy of a collection, an encoded `ApplicationPolicy`: its own, else the
/// chaincode's, or the organization's for an implicit collection.
///
/// # Errors
///
/// Fabric's text if the collection does not exist.
pub fn collection_endorsement(definition: &Definition, name: &str, config: &ChannelConfig) -> Result<Vec<u8>, String> {
    if let Some(msp_id) = implicit_organization(name) {
        let organization =
            config.organization(msp_id).ok_or_else(|| format!("no org found in channel with MSPID '{msp_id}'"))?;
        let path = format!("/Channel/Application/{}/Endorsement", organization.name);
        return Ok(match config.policies().get(&path) {
            Some(_) => reference(&path),
            None => from_signature_policy(n_of_roles(1, MspRoleType::Member, &[msp_id])),
        });
    }
    let collection = collections(definition)
        .find(|collection| collection.name == name)
        .ok_or_else(|| format!("no such collection '{name}'"))?;
    Ok(match &collection.endorsement_policy {
        Some(policy) => policy.encode_to_vec(),
        None => definition.validation_parameter.clone(),
    })
}

/// The collections of a channel for its ledger.
pub struct ChannelCollections<F> {
    config: F,
}

impl<F: Fn() -> ChannelConfig + Send + Sync> ChannelCollections<F> {
    /// `config` returns the channel's current configuration.
    pub fn new(config: F) -> Self {
        Self { config }
    }
}

impl<F: Fn() -> ChannelConfig + Send + Sync> Collections for ChannelCollections<F> {
    fn collections(&self, state: &StateView, namespace: &str) -> Result<Option<BTreeSet<String>>, String> {
        let Some(definition) = definition(state, namespace) else { return Ok(None) };
        let config = (self.config)();
        let implicit = config.organizations().iter().map(|organization| implicit_collection(&organization.msp_id));
        let named = collections(&definition).map(|collection| collection.name.clone());
        Ok(Some(named.chain(implicit).collect()))
    }
}

/// The collection rules for a commit, from the state before the block.
pub struct StateRules<'a> {
    /// The state before the block.
    pub state: &'a StateView,
    /// The peer's own MSP ID.
    pub msp_id: &'a str,
}

impl CollectionRules for StateRules<'_> {
    fn rule(&self, namespace: &str, name: &str) -> Option<CollectionRule> {
        if let Some(organization) = implicit_organization(name) {
            let defined = namespace == NAMESPACE || definition(self.state, namespace).is_some();
            return defined.then_some(CollectionRule { block_to_live: 0, member: organization == self.msp_id });
        }
        let collection = collection(&definition(self.state, namespace)?, name)?;
        let member = is_member(&collection, self.msp_id);
        Some(CollectionRule { block_to_live: collection.block_to_live, member })
    }
}
