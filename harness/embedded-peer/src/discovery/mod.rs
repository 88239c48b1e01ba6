//! The discovery service, as far as SDKs and the peer CLI need it.
//!
//! `layouts` and the channel determine the endorsers; this module matches them with existing peers.

mod gossip;
mod network_config;
mod service;

use std::sync::Arc;

use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest};

pub use service::Service;

use crate::channel::ChaincodeInfo;
use crate::layouts::Descriptor;
use crate::peer::{Member, Peer};

/// The peers that can endorse an interest.
///
/// # Errors
///
/// Fabric's text if there are none, or if a chaincode is not defined.
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
        .map(|call| joined.definition(&call.name).ok_or_else(|| missing(call)))
        .collect::<Result<Vec<_>, _>>()?;
    let endorsers = joined.endorsers(interest, infos, || {
        let nodes = peer.nodes();
        let peers = nodes.as_ref().map(|nodes| nodes.peers()).unwrap_or_default();
        peers.iter().map(|peer| peer.signer.identity().clone()).collect()
    })?;
    let member = |number: usize| members.iter().find(|member| member.number == number);
    let has = |number: usize| member(number).is_some_and(|member| has_all(member, interest, &endorsers.infos));
    endorsers.groups.descriptor(|number| member(number).is_some(), has)
}

/// Whether a peer has the packages for every chaincode of an interest.
pub(crate) fn has_all(member: &Member, interest: &ChaincodeInterest, infos: &[Arc<ChaincodeInfo>]) -> bool {
    let mut calls = interest.chaincodes.iter().zip(infos);
    calls.all(|(call, info)| member.sequence(&call.name) == Some(info.definition.sequence))
}
