//! The discovery service, as far as SDKs and the peer tool need it.
//!
//! Who may endorse is found out in `endorsement`; here it gets the definitions and the peers of
//! this process to look at.

pub(crate) mod endorsement;
mod gossip;
pub mod inquire;
pub(crate) mod members;
mod network_config;
mod service;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest};
use prost::Message as _;

pub use service::Service;

use crate::config::ChannelConfig;
use crate::endorser::info::{self, Info};
use crate::peer::{Peer, PeerChannel};
use endorsement::{Descriptor, Groups, groups};
use members::Member;

/// As many interests are remembered before all are forgotten.
const REMEMBERED: usize = 256;

/// The groups of interests that were asked for, as long as configuration and definitions are the same.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<Vec<u8>, Arc<Entry>>>);

#[derive(Debug)]
struct Entry {
    config: ChannelConfig,
    infos: Vec<Arc<Info>>,
    groups: Groups,
}

impl Entry {
    fn is_of(&self, config: &ChannelConfig, infos: &[Arc<Info>]) -> bool {
        let is_same = |(one, two): (&Arc<Info>, &Arc<Info>)| Arc::ptr_eq(one, two);
        self.config.is_same(config) && self.infos.iter().zip(infos).all(is_same)
    }
}

/// Which of these peers may endorse what an interest names.
///
/// # Errors
///
/// Fabric's text when nobody may, or a chaincode is not defined.
pub(crate) fn descriptor(
    peer: &Peer,
    channel: &str,
    members: &[Member],
    interest: &ChaincodeInterest,
) -> Result<Descriptor, String> {
    let missing =
        |call: &ChaincodeCall| format!("No metadata was found for chaincode {} in channel {channel}", call.name);
    let Some(joined) = peer.channel(channel) else {
        return Err(interest.chaincodes.first().map(missing).unwrap_or_default());
    };
    let infos = interest
        .chaincodes
        .iter()
        .map(|call| info::metadata_of(peer, &joined, &call.name).ok_or_else(|| missing(call)))
        .collect::<Result<Vec<_>, _>>()?;
    let entry = entry(peer, &joined, interest, infos)?;
    let member = |number: usize| members.iter().find(|member| member.number == number);
    let has = |number: usize| member(number).is_some_and(|member| has_all(member, interest, &entry.infos));
    entry.groups.descriptor(|number| member(number).is_some(), has)
}

/// Whether a peer can run every chaincode of an interest, by the definitions that count.
pub(crate) fn has_all(member: &Member, interest: &ChaincodeInterest, infos: &[Arc<Info>]) -> bool {
    let mut calls = interest.chaincodes.iter().zip(infos);
    calls.all(|(call, info)| member.sequence(&call.name) == Some(info.definition.sequence))
}

fn entry(
    peer: &Peer,
    joined: &PeerChannel,
    interest: &ChaincodeInterest,
    infos: Vec<Arc<Info>>,
) -> Result<Arc<Entry>, String> {
    let key = interest.encode_to_vec();
    let config = joined.config();
    let lock = || joined.endorsing.descriptors.0.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().get(&key).filter(|entry| entry.is_of(&config, &infos)).cloned();
    if let Some(entry) = known {
        return Ok(entry);
    }
    let metadata = infos
        .iter()
        .zip(&interest.chaincodes)
        .map(|(info, call)| info.metadata(&config, &call.collection_names).ok_or("policy not found"))
        .collect::<Result<Vec<_>, _>>()?;
    let nodes = peer.nodes();
    let peers = nodes.as_ref().map(|nodes| nodes.peers()).unwrap_or_default();
    let identities: Vec<_> = peers.iter().map(|peer| config.msps().deserialize(peer.signer.identity()).ok()).collect();
    let groups = groups(interest, &metadata, identities.len(), |number, principal| {
        identities[number].as_ref().is_some_and(|identity| identity.is(principal))
    })?;
    let entry = Arc::new(Entry { config, infos, groups });
    let mut remembered = lock();
    if remembered.len() >= REMEMBERED {
        remembered.clear();
    }
    remembered.insert(key, Arc::clone(&entry));
    Ok(entry)
}
