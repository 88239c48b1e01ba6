//! Checks of definitions before approval and commit: names, versions and collections.

use std::collections::BTreeMap;

use fabric_primitives::names;
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy as Rule};
use fabric_protos::protos::{CollectionConfigPackage, StaticCollectionConfig, collection_config};
use prost::Message;

use super::collections::{collections, member_policy};
use super::definition::if_defined;
use super::store::Public;
use crate::config::ChannelConfig;
use crate::ledger::Simulation;
use crate::msp::MspManager;
use crate::policy::{PolicyError, SignaturePolicy};

/// Checks a requested definition, also against the committed one.
pub(super) fn input(
    name: &str,
    version: &str,
    package: &CollectionConfigPackage,
    config: &ChannelConfig,
    simulation: &mut Simulation,
) -> Result<(), String> {
    if !names::is_chaincode(name) {
        return Err(format!(
            "invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"
        ));
    }
    if names::RESERVED_CHAINCODES.contains(&name) {
        return Err(format!("chaincode name '{name}' is the name of a system chaincode"));
    }
    if !names::is_version(version) {
        return Err(format!(
            "invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
        ));
    }
    let proposed = static_collections(package)?;
    check_collections(&proposed, config.msps())?;
    let committed = if_defined(name, &mut Public(simulation))
        .map_err(|cause| format!("could not get info about chaincode: {cause}"))
        .map_err(|cause| format!("could not retrieve committed definition for chaincode '{name}': {cause}"))?;
    if let Some(committed) = committed {
        return against_committed(&proposed, &collections(&committed).collect::<Vec<_>>());
    }
    // Fabric looks for a legacy chaincode, which records a read.
    simulation.get_state("lscc", name).map_err(|error| error.to_string())?;
    Ok(())
}

fn static_collections(package: &CollectionConfigPackage) -> Result<Vec<&StaticCollectionConfig>, String> {
    let collections = package.config.iter().map(|collection| match &collection.payload {
        Some(collection_config::Payload::StaticCollectionConfig(collection)) => Ok(collection),
        None => Err("collection config contains unexpected payload type: <nil>".to_owned()),
    });
    collections.collect()
}

fn check_collections(collections: &[&StaticCollectionConfig], msps: &MspManager) -> Result<(), String> {
    let mut seen = Vec::new();
    for collection in collections {
        let name = &*collection.name;
        if !names::is_collection(name) {
            return Err(format!(
                "invalid collection name '{name}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
            ));
        }
        if seen.contains(&name) {
            return Err(format!("collection-name: {name} -- found duplicate in collection configuration"));
        }
        seen.push(name);
        let (most, fewest) = (collection.maximum_peer_count, collection.required_peer_count);
        if most < fewest {
            return Err(format!(
                "collection-name: {name} -- maximum peer count ({most}) cannot be less than the required peer count ({fewest})"
            ));
        }
        if fewest < 0 {
            return Err(format!("collection-name: {name} -- requiredPeerCount ({fewest}) cannot be less than zero"));
        }
        check_members(collection, msps)?;
    }
    Ok(())
}

fn check_members(collection: &StaticCollectionConfig, msps: &MspManager) -> Result<(), String> {
    let name = &collection.name;
    if collection.member_orgs_policy.is_none() {
        return Err(format!("collection member policy is not set for collection '{name}'"));
    }
    let policy = member_policy(collection)
        .ok_or_else(|| format!("collection member org policy is empty for collection '{name}'"))?;
    SignaturePolicy::new(policy.clone()).map_err(|error| {
        let cause = match error {
            PolicyError::Rule(cause) => cause,
            other => other.to_string(),
        };
        format!("invalid member org policy for collection '{name}': {cause}")
    })?;
    check_alternatives(policy.rule.as_ref())
        .map_err(|cause| format!("collection-name: {name} -- error in member org policy: {cause}"))?;
    policy.identities.iter().try_for_each(|principal| {
        check_member(principal, msps).map_err(|cause| format!("collection-name: {name} -- {cause}"))
    })
}

/// A member policy may contain only OR rules.
fn check_alternatives(rule: Option<&Rule>) -> Result<(), String> {
    let Some(Type::NOutOf(gate)) = rule.and_then(|rule| rule.r#type.as_ref()) else { return Ok(()) };
    if gate.n != 1 {
        return Err(format!("signature policy is not an OR concatenation, NOutOf {}", gate.n));
    }
    gate.rules.iter().try_for_each(|rule| check_alternatives(Some(rule)))
}

fn check_member(principal: &MspPrincipal, msps: &MspManager) -> Result<(), String> {
    let bytes = &*principal.principal;
    let in_channel = |msp_id: &str| match msps.msp(msp_id) {
        Some(_) => Ok(()),
        None => Err(format!("collection member '{msp_id}' is not part of the channel")),
    };
    match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => {
            let role = MspRole::decode(bytes)
                .map_err(|error| format!("cannot unmarshal identity bytes into MSPRole: {error}"))?;
            in_channel(&role.msp_identifier)
        }
        Ok(Classification::OrganizationUnit) => {
            let unit = OrganizationUnit::decode(bytes)
                .map_err(|error| format!("cannot unmarshal identity bytes into OrganizationUnit: {error}"))?;
            in_channel(&unit.msp_identifier)
        }
        Ok(Classification::Identity) => match msps.deserialize(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err("contains an identity that is not part of the channel".to_owned()),
        },
        Ok(other) => Err(format!("principal type {} is not supported", other.as_str_name())),
        Err(_) => Err(format!("principal type {} is not supported", principal.principal_classification)),
    }
}

/// Existing collections must be kept, with the same block-to-live.
fn against_committed(
    proposed: &[&StaticCollectionConfig],
    committed: &[&StaticCollectionConfig],
) -> Result<(), String> {
    if committed.is_empty() {
        return Ok(());
    }
    if proposed.is_empty() {
        return Err("the proposed collection config does not contain previously defined collections".to_owned());
    }
    let proposed: BTreeMap<_, _> = proposed.iter().map(|collection| (&collection.name, *collection)).collect();
    for old in committed {
        let name = &old.name;
        let new = proposed
            .get(name)
            .ok_or_else(|| format!("existing collection [{name}] missing in the proposed collection configuration"))?;
        if new.block_to_live != old.block_to_live {
            return Err(format!(
                "the BlockToLive in an existing collection [{name}] modified. Existing value [{}]",
                old.block_to_live
            ));
        }
    }
    Ok(())
}
