//! Approvals and commits of chaincode definitions (`core/chaincode/lifecycle/lifecycle.go`).

use std::collections::BTreeMap;

use fabric_network::release::Release;

use super::definition::{Definition, NAMESPACES, PARAMETERS, place, query};
use super::local::{SOURCES, local_package, private_name};
use super::store::{Private, Public, Reads};
use super::structure::{Place, all};
use super::{implicit_collection, implicit_organization};
use crate::config::{ChannelConfig, ENDORSEMENT};
use crate::ledger::Simulation;
use crate::policy::reference;

/// An organization's approval and its package; `None` if the chaincode cannot be invoked there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Approved {
    pub(super) name: String,
    pub(super) definition: Definition,
    pub(super) package_id: String,
}

/// By MSP ID: whether it approved, and how other approvals differ.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    pub(super) approved: BTreeMap<String, bool>,
    pub(super) mismatches: BTreeMap<String, Vec<String>>,
}

fn source(name: &str) -> Place<'_> {
    Place { namespace: SOURCES, name }
}

/// Fills in the channel's defaults.
fn set_defaults(definition: &mut Definition, config: &ChannelConfig) -> Result<(), String> {
    let channel = config.channel();
    if definition.endorsement_plugin.is_empty() {
        "escc".clone_into(&mut definition.endorsement_plugin);
    }
    if definition.validation_plugin.is_empty() {
        "vscc".clone_into(&mut definition.validation_plugin);
    }
    if definition.validation_parameter.is_empty() {
        if config.policies().get(ENDORSEMENT).is_none() {
            return Err(format!(
                "could not set defaults for chaincode definition in channel {channel}: policy '{ENDORSEMENT}' must be defined for channel '{channel}' before chaincode operations can be attempted"
            ));
        }
        definition.validation_parameter = reference(ENDORSEMENT);
    }
    Ok(())
}

fn current_sequence(chaincode: &str, simulation: &mut Simulation) -> Result<i64, String> {
    place(chaincode)
        .integer("Sequence", &mut Public(simulation))
        .map_err(|cause| format!("could not get current sequence: {cause}"))
}

/// Writes an organization's approval into its collection.
pub(super) fn approve(
    chaincode: &str,
    mut definition: Definition,
    package_id: &str,
    msp_id: &str,
    config: &ChannelConfig,
    simulation: &mut Simulation,
    release: Release,
) -> Result<(), String> {
    let current = current_sequence(chaincode, simulation)?;
    let requested = definition.sequence;
    if current == requested && requested == 0 {
        return Err("requested sequence is 0, but first definable sequence number is 1".to_owned());
    }
    if requested < current {
        return Err(format!("currently defined sequence {current} is larger than requested sequence {requested}"));
    }
    if requested > current + 1 {
        return Err(format!(
            "requested sequence {requested} is larger than the next available sequence number {}",
            current + 1
        ));
    }
    set_defaults(&mut definition, config)?;
    let name = private_name(chaincode, requested);
    let collection = implicit_collection(msp_id);
    if requested == current {
        check_committed(chaincode, &definition, simulation)?;
    }
    let mut private = Private { simulation, collection: &collection };
    // Older releases accept a repeated approval of the committed definition; the transaction writes
    // nothing.
    let may_repeat = requested == current && release.accepts_repeated_approval();
    if !may_repeat && repeats(&name, package_id, &definition, &mut private)? {
        return Err(if requested == current {
            format!("attempted to redefine the current committed sequence ({current}) for namespace {chaincode}")
        } else {
            format!(
                "attempted to redefine uncommitted sequence ({requested}) for namespace {chaincode} with unchanged content"
            )
        });
    }
    place(&name)
        .write(&definition.parameters(), &mut private)
        .map_err(|cause| format!("could not serialize chaincode parameters to state: {cause}"))?;
    source(&name)
        .write(&local_package(package_id), &mut private)
        .map_err(|cause| format!("could not serialize chaincode package info to state: {cause}"))
}

/// An approval of the committed sequence must match the committed definition.
fn check_committed(chaincode: &str, wanted: &Definition, simulation: &mut Simulation) -> Result<(), String> {
    let sequence = wanted.sequence;
    let committed = query(chaincode, &mut Public(simulation))?
        .ok_or_else(|| format!("missing metadata for currently committed sequence number ({sequence})"))?;
    difference(&committed, wanted).map_or(Ok(()), |cause| {
        Err(format!(
            "attempted to redefine the current committed sequence ({sequence}) for namespace {chaincode} with different parameters: {cause}"
        ))
    })
}

/// Whether the organization already approved the same definition and package.
fn repeats(name: &str, package_id: &str, wanted: &Definition, state: &mut Private<'_>) -> Result<bool, String> {
    let metadata = place(name).metadata(state).map_err(|cause| {
        let sequence = wanted.sequence;
        format!("could not fetch chaincode definition, chaincode {name}, requested at sequence {sequence}: {cause}")
    })?;
    let Some(metadata) = metadata else { return Ok(false) };
    let approved = Definition::read(place(name), PARAMETERS, &metadata.datatype, state)
        .map_err(|cause| format!("could not deserialize namespace {name} as chaincode: {cause}"))?;
    if difference(&approved, wanted).is_some() {
        return Ok(false);
    }
    let package = source(name)
        .metadata(state)
        .map_err(|cause| format!("could not deserialize chaincode-source metadata for {name}: {cause}"))?;
    if package.is_none() {
        return Ok(false);
    }
    let known = source(name)
        .string("PackageID", state)
        .map_err(|cause| format!("could not deserialize chaincode package for {name}: {cause}"))?;
    Ok(known == package_id)
}

/// The first differing parameter, in Fabric's words.
fn difference(expected: &Definition, passed: &Definition) -> Option<String> {
    let differs = |name: &str, expected: &dyn std::fmt::Display, passed: &dyn std::fmt::Display| {
        Some(format!("expected {name} '{expected}' does not match passed {name} '{passed}'"))
    };
    if expected.version != passed.version {
        return differs("Version", &expected.version, &passed.version);
    }
    if expected.endorsement_plugin != passed.endorsement_plugin {
        return differs("EndorsementPlugin", &expected.endorsement_plugin, &passed.endorsement_plugin);
    }
    if expected.init_required != passed.init_required {
        return differs("InitRequired", &expected.init_required, &passed.init_required);
    }
    if expected.validation_plugin != passed.validation_plugin {
        return differs("ValidationPlugin", &expected.validation_plugin, &passed.validation_plugin);
    }
    if expected.validation_parameter != passed.validation_parameter {
        let [expected, passed] = [expected, passed].map(|one| hex::encode(&one.validation_parameter));
        return differs("ValidationParameter", &expected, &passed);
    }
    (expected.collections != passed.collections).then(|| "Collections do not match".to_owned())
}

/// The approvals of a definition that could be committed next.
pub(super) fn readiness(
    chaincode: &str,
    definition: &mut Definition,
    config: &ChannelConfig,
    simulation: &mut Simulation,
) -> Result<Approvals, String> {
    let current = current_sequence(chaincode, simulation)?;
    if definition.sequence != current + 1 {
        return Err(format!(
            "requested sequence is {}, but new definition must be sequence {}",
            definition.sequence,
            current + 1
        ));
    }
    set_defaults(definition, config)?;
    approvals(chaincode, definition, config, simulation)
}

/// The approvals of a definition.
pub(super) fn approvals(
    chaincode: &str,
    definition: &Definition,
    config: &ChannelConfig,
    simulation: &mut Simulation,
) -> Result<Approvals, String> {
    let name = private_name(chaincode, definition.sequence);
    let wanted = definition.parameters();
    let mut found = Approvals::default();
    for organization in config.organizations() {
        let collection = implicit_collection(&organization.msp_id);
        let mismatches = place(&name)
            .mismatches(&wanted, &mut Private { simulation, collection: &collection })
            .map_err(|cause| format!("serialization check failed for key {name}: {cause}"))?;
        let msp_id = implicit_organization(&collection).unwrap_or_default().to_owned();
        found.approved.insert(msp_id.clone(), mismatches.is_empty());
        if !mismatches.is_empty() {
            found.mismatches.insert(msp_id, mismatches);
        }
    }
    Ok(found)
}

/// Commits a definition with the next sequence.
pub(super) fn commit(
    chaincode: &str,
    mut definition: Definition,
    config: &ChannelConfig,
    simulation: &mut Simulation,
) -> Result<Approvals, String> {
    let approvals = readiness(chaincode, &mut definition, config, simulation)?;
    place(chaincode)
        .write(&definition.structure(), &mut Public(simulation))
        .map_err(|cause| format!("could not serialize chaincode definition: {cause}"))?;
    Ok(approvals)
}

/// An organization's approved definition; sequence 0 is the newest.
pub(super) fn approved(
    chaincode: &str,
    sequence: i64,
    msp_id: &str,
    channel: &str,
    simulation: &mut Simulation,
    release: Release,
) -> Result<Approved, String> {
    let collection = implicit_collection(msp_id);
    let mut wanted = sequence;
    if wanted == 0 {
        wanted = current_sequence(chaincode, simulation)?;
        let next = wanted + 1;
        let name = private_name(chaincode, next);
        let metadata = place(&name)
            .metadata(&mut Private { simulation, collection: &collection })
            .map_err(|cause| format!("could not deserialize namespace metadata for next sequence {next}: {cause}"))?;
        if metadata.is_some() {
            wanted = next;
        }
    }
    let name = private_name(chaincode, wanted);
    let mut private = Private { simulation, collection: &collection };
    let metadata = place(&name)
        .metadata(&mut private)
        .map_err(|cause| format!("could not deserialize namespace metadata for {name}: {cause}"))?;
    let metadata = metadata.ok_or_else(|| {
        let sequence = if release.reports_resolved_sequence() { wanted } else { sequence };
        format!(
            "could not fetch approved chaincode definition (name: '{chaincode}', sequence: '{sequence}') on channel '{channel}'"
        )
    })?;
    read_approved(chaincode, wanted, &metadata.datatype, &mut private)
}

/// All approved definitions of an organization, by name and sequence.
pub(super) fn all_approved(msp_id: &str, channel: &str, simulation: &mut Simulation) -> Result<Vec<Approved>, String> {
    let collection = implicit_collection(msp_id);
    let mut private = Private { simulation, collection: &collection };
    let found = all(NAMESPACES, &mut private).map_err(|cause| format!("could not fetch metadatas: {cause}"))?;
    let mut approved = Vec::new();
    for (name, metadata) in found {
        let (chaincode, sequence) = split(&name).map_err(|cause| {
            format!("could not extract chaincode name and sequence number from metadata: {name}: {cause}")
        })?;
        let one = read_approved(chaincode, sequence, &metadata.datatype, &mut private).map_err(|cause| {
            format!(
                "could not fetch approved chaincode definition (name: '{chaincode}', sequence: '{sequence}') on channel '{channel}': {cause}"
            )
        })?;
        approved.push(one);
    }
    Ok(approved)
}

fn split(name: &str) -> Result<(&str, i64), String> {
    let parts: Vec<_> = name.split('#').collect();
    let [chaincode, sequence] = *parts else { return Err(format!("invalid private name format: {name}")) };
    let sequence =
        sequence.parse().map_err(|error| format!("invalid sequence number in private name: {name}: {error}"))?;
    Ok((chaincode, sequence))
}

fn read_approved(chaincode: &str, sequence: i64, kind: &str, state: &mut impl Reads) -> Result<Approved, String> {
    let name = private_name(chaincode, sequence);
    if kind != PARAMETERS {
        return Err(format!("not a chaincode parameters type: {kind}"));
    }
    let definition = Definition::read(place(&name), PARAMETERS, kind, state)
        .map_err(|cause| format!("could not deserialize chaincode parameters for {name}: {cause}"))?;
    let package = source(&name)
        .metadata(state)
        .map_err(|cause| format!("could not deserialize chaincode-source metadata for {name}: {cause}"))?
        .ok_or_else(|| format!("could not fetch chaincode-source metadata for {name}"))?;
    if package.datatype != local_package("").kind {
        return Err(format!("not a chaincode local package type: {}", package.datatype));
    }
    let package_id = source(&name)
        .string("PackageID", state)
        .map_err(|cause| format!("could not deserialize chaincode package for {name}: {cause}"))?;
    Ok(Approved { name: chaincode.to_owned(), definition: Definition { sequence, ..definition }, package_id })
}
