//! The groups of peers that can endorse an interest, cached until the channel's configuration or a definition
//! changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::protos::ChaincodeInterest;
use prost::Message as _;

use super::PeerChannel;
use super::definitions::ChaincodeInfo;
use crate::config::ChannelConfig;
use crate::layouts::{Groups, Metadata, groups};
use crate::lifecycle::{self, implicit_organization};
use crate::policy::{Endorsement, n_of_roles};

/// The number of interests at which the cache is cleared.
const CACHE_LIMIT: usize = 256;

/// The cache of a channel's interests.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Vec<u8>, Arc<Endorsers>>>);

/// The peers that can endorse an interest with these definitions of its chaincodes.
#[derive(Debug)]
pub(crate) struct Endorsers {
    config: ChannelConfig,
    /// The definition of each call's chaincode.
    pub(crate) infos: Vec<Arc<ChaincodeInfo>>,
    pub(crate) groups: Groups,
}

impl Endorsers {
    fn is_of(&self, config: &ChannelConfig, infos: &[Arc<ChaincodeInfo>]) -> bool {
        let is_same = |(one, two): (&Arc<ChaincodeInfo>, &Arc<ChaincodeInfo>)| Arc::ptr_eq(one, two);
        self.config.is_same(config) && self.infos.iter().zip(infos).all(is_same)
    }
}

impl PeerChannel {
    /// The peers, of those with these identities, that can endorse an interest whose chaincodes have these
    /// definitions.
    ///
    /// # Errors
    ///
    /// Fabric's text: no peer can.
    pub(crate) fn endorsers(
        &self,
        interest: &ChaincodeInterest,
        infos: Vec<Arc<ChaincodeInfo>>,
        identities: impl FnOnce() -> Vec<Bytes>,
    ) -> Result<Arc<Endorsers>, String> {
        let key = interest.encode_to_vec();
        let config = self.config();
        let lock = || self.groups.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).filter(|known| known.is_of(&config, &infos)).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let metadata = infos
            .iter()
            .zip(&interest.chaincodes)
            .map(|(info, call)| metadata(info, &config, &call.collection_names).ok_or("policy not found"))
            .collect::<Result<Vec<_>, _>>()?;
        let identities: Vec<_> = identities().iter().map(|identity| config.msps().deserialize(identity).ok()).collect();
        let groups = groups(interest, &metadata, identities.len(), |number, principal| {
            identities[number].as_ref().is_some_and(|identity| identity.is(principal))
        })?;
        let endorsers = Arc::new(Endorsers { config, infos, groups });
        let mut cache = lock();
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&endorsers));
        Ok(endorsers)
    }
}

/// The policies of a chaincode; `None` if one cannot be resolved.
fn metadata(info: &ChaincodeInfo, config: &ChannelConfig, collections: &[String]) -> Option<Metadata> {
    let signature_policy = |policy: &[u8]| {
        let policy = Endorsement::decode(policy).and_then(|policy| policy.to_signature_policy(config.policies()));
        policy.map_err(|error| tracing::warn!("cannot resolve an endorsement policy: {error}")).ok()
    };
    let mut metadata =
        Metadata { policy: signature_policy(&info.definition.validation_parameter)?, ..Metadata::default() };
    for name in collections {
        if let Some(msp_id) = implicit_organization(name) {
            let members = n_of_roles(1, MspRoleType::Member, &[msp_id]);
            metadata.collection_policies.insert(name.clone(), members);
        } else if let Some(policy) =
            lifecycle::collection(&info.definition, name).and_then(|collection| collection.endorsement_policy)
        {
            metadata.collection_policies.insert(name.clone(), signature_policy(&policy.encode_to_vec())?);
        }
        metadata.members.extend(info.collection_members(name).map(|members| (name.clone(), members)));
    }
    Some(metadata)
}
