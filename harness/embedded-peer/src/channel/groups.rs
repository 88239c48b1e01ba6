//! The groups of peers that can endorse an interest, remembered as long as the channel's configuration and
//! the definitions are the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::protos::ChaincodeInterest;
use prost::Message as _;

use super::PeerChannel;
use super::definitions::Info;
use crate::config::ChannelConfig;
use crate::layouts::{Groups, Metadata, groups};
use crate::lifecycle::{self, implicit_organization};
use crate::policy::{Endorsement, n_of_roles};

/// As many interests are remembered before all are forgotten.
const REMEMBERED: usize = 256;

/// The groups of interests that were asked for.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Vec<u8>, Arc<Endorsers>>>);

/// Who can endorse an interest, by these definitions of its chaincodes.
#[derive(Debug)]
pub(crate) struct Endorsers {
    config: ChannelConfig,
    /// The definition of each call's chaincode.
    pub(crate) infos: Vec<Arc<Info>>,
    pub(crate) groups: Groups,
}

impl Endorsers {
    fn is_of(&self, config: &ChannelConfig, infos: &[Arc<Info>]) -> bool {
        let is_same = |(one, two): (&Arc<Info>, &Arc<Info>)| Arc::ptr_eq(one, two);
        self.config.is_same(config) && self.infos.iter().zip(infos).all(is_same)
    }
}

impl PeerChannel {
    /// Which of the peers with these identities can endorse an interest, whose chaincodes have these
    /// definitions.
    ///
    /// # Errors
    ///
    /// Fabric's text when nobody can.
    pub(crate) fn endorsers(
        &self,
        interest: &ChaincodeInterest,
        infos: Vec<Arc<Info>>,
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
        let mut remembered = lock();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, Arc::clone(&endorsers));
        Ok(endorsers)
    }
}

/// What discovery has to know to plan endorsements; `None` when a policy can't be spelled out.
fn metadata(info: &Info, config: &ChannelConfig, collections: &[String]) -> Option<Metadata> {
    let spelled_out = |policy: &[u8]| {
        let policy = Endorsement::decode(policy).and_then(|policy| policy.spelled_out(config.policies()));
        policy.map_err(|error| tracing::warn!("an endorsement policy can't be planned with: {error}")).ok()
    };
    let mut metadata = Metadata { policy: spelled_out(&info.definition.validation_parameter)?, ..Metadata::default() };
    for name in collections {
        if let Some(msp_id) = implicit_organization(name) {
            let members = n_of_roles(1, MspRoleType::Member, &[msp_id]);
            metadata.collection_policies.insert(name.clone(), members);
        } else if let Some(policy) =
            lifecycle::collection(&info.definition, name).and_then(|collection| collection.endorsement_policy)
        {
            metadata.collection_policies.insert(name.clone(), spelled_out(&policy.encode_to_vec())?);
        }
        metadata.members.extend(info.collection_members(name).map(|members| (name.clone(), members)));
    }
    Some(metadata)
}
