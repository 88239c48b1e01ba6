//! Configuration updates: read set, write set and authorization (`common/configtx`).

use fabric_primitives::names;
use fabric_protos::common::{
    ChannelHeader, Config, ConfigEnvelope, ConfigUpdate, ConfigUpdateEnvelope, Envelope, HeaderType, Payload,
    SignatureHeader,
};
use prost::Message;

use super::tree::{Tree, check_name};
use super::{ChannelConfig, ConfigError};
use crate::policy::{SignedData, signers};

/// The configuration that an orderer derives from an update.
pub(super) fn propose(current: &ChannelConfig, update: &Envelope) -> Result<ConfigEnvelope, ConfigError> {
    let content = update_envelope(update)
        .map_err(|cause| ConfigError::Update(format!("error converting envelope to config update: {cause}")))?;
    let tree = authorize(current, &content)
        .map_err(|cause| ConfigError::Update(format!("error authorizing update: {cause}")))?;
    let group = tree
        .to_group()
        .map_err(|cause| ConfigError::Update(format!("could not turn configMap back to channelGroup: {cause}")))?;
    let config = Config { sequence: current.sequence() + 1, channel_group: Some(group) };
    Ok(ConfigEnvelope { config: Some(config), last_update: Some(update.clone()) })
}

/// Checks that a configuration results from the current one and the update in it.
pub(super) fn validate(current: &ChannelConfig, envelope: &ConfigEnvelope) -> Result<(), ConfigError> {
    let wrong = |cause: String| Err(ConfigError::Update(cause));
    let Some(config) = &envelope.config else { return wrong("config envelope has nil config".to_owned()) };
    let (have, given) = (current.sequence(), config.sequence);
    if given != have + 1 {
        return wrong(format!("config currently at sequence {have}, cannot validate config at sequence {given}"));
    }
    let update = envelope.last_update.clone().unwrap_or_default();
    let content = update_envelope(&update).map_err(ConfigError::Update)?;
    let tree = authorize(current, &content).map_err(ConfigError::Update)?;
    let group = tree
        .to_group()
        .map_err(|cause| ConfigError::Update(format!("could not turn configMap back to channelGroup: {cause}")))?;
    if config.channel_group.as_ref() != Some(&group) {
        return wrong("ConfigEnvelope LastUpdate did not produce the supplied config result".to_owned());
    }
    Ok(())
}

fn update_envelope(envelope: &Envelope) -> Result<ConfigUpdateEnvelope, String> {
    let payload =
        Payload::decode(&*envelope.payload).map_err(|error| format!("error unmarshalling Payload: {error}"))?;
    let header = payload.header.ok_or("envelope must have a Header")?;
    let header = ChannelHeader::decode(&*header.channel_header)
        .map_err(|error| format!("error unmarshalling ChannelHeader: {error}"))?;
    if header.r#type != i32::from(HeaderType::ConfigUpdate) {
        let kind = HeaderType::try_from(header.r#type)
            .map_or_else(|_| header.r#type.to_string(), |kind| kind.as_str_name().to_owned());
        return Err(format!("invalid type {kind}, expected CONFIG_UPDATE"));
    }
    ConfigUpdateEnvelope::decode(&*payload.data)
        .map_err(|error| format!("error unmarshalling message for type CONFIG_UPDATE: {error}"))
}

fn authorize(current: &ChannelConfig, envelope: &ConfigUpdateEnvelope) -> Result<Tree, String> {
    let update = ConfigUpdate::decode(&*envelope.config_update).map_err(|error| error.to_string())?;
    if update.channel_id != current.channel() {
        return Err(format!(
            "ConfigUpdate for channel '{}' but envelope for channel '{}'",
            update.channel_id,
            current.channel()
        ));
    }
    let reads = Tree::map(update.read_set.as_ref()).map_err(|cause| format!("error mapping ReadSet: {cause}"))?;
    check_reads(current.tree(), &reads).map_err(|cause| format!("error validating ReadSet: {cause}"))?;
    let writes = Tree::map(update.write_set.as_ref()).map_err(|cause| format!("error mapping WriteSet: {cause}"))?;
    let mut changes = writes.clone();
    changes.0.retain(|key, item| reads.0.get(key).is_none_or(|read| read.version() != item.version()));
    let signed = signed_data(envelope)?;
    check_changes(current, &changes, &signed).map_err(|cause| format!("error validating DeltaSet: {cause}"))?;
    let mut proposed = current.tree().clone();
    proposed.0.extend(changes.0);
    match writes.0.keys().find(|key| !proposed.0.contains_key(*key)) {
        Some(key) => Err(format!(
            "full config did not verify: writeset contained key {key} which did not appear in proposed config"
        )),
        None => Ok(proposed),
    }
}

fn check_reads(current: &Tree, reads: &Tree) -> Result<(), String> {
    for (key, read) in &reads.0 {
        let Some(existing) = current.0.get(key) else {
            return Err(format!("existing config does not contain element for {key} but was in the read set"));
        };
        if existing.version() != read.version() {
            return Err(format!(
                "proposed update requires that key {key} be at version {}, but it is currently at version {}",
                read.version(),
                existing.version()
            ));
        }
    }
    Ok(())
}

fn check_changes(current: &ChannelConfig, changes: &Tree, signed: &[SignedData]) -> Result<(), String> {
    if changes.0.is_empty() {
        return Err("delta set was empty -- update would have no effect".to_owned());
    }
    let identities = signers(signed, current.msps());
    for (key, change) in &changes.0 {
        check_mod_policy(change.mod_policy())
            .map_err(|cause| format!("invalid mod_policy for element {key}: {cause}"))?;
        let version = change.version();
        let Some(existing) = current.tree().0.get(key) else {
            if version != 0 {
                return Err(format!("attempted to set key {key} to version {version}, but key does not exist"));
            }
            continue;
        };
        let known = existing.version();
        if version != known + 1 {
            return Err(format!("attempt to set key {key} to version {version}, but key is at version {known}"));
        }
        let name = existing.mod_policy();
        let policy = current.policies().get_in(&existing.group, name).filter(|_| !name.is_empty());
        let policy = policy.ok_or_else(|| format!("unexpected missing policy {name} for item {key}"))?;
        policy.evaluate(&identities).map_err(|error| format!("policy for {key} not satisfied: {error}"))?;
    }
    Ok(())
}

fn check_mod_policy(policy: &str) -> Result<(), String> {
    if policy.is_empty() {
        return Err("mod_policy not set".to_owned());
    }
    for (index, part) in policy.strip_prefix('/').unwrap_or(policy).split('/').enumerate() {
        check_name(part).map_err(|cause| format!("path element at {index} is invalid: {cause}"))?;
    }
    Ok(())
}

fn signed_data(envelope: &ConfigUpdateEnvelope) -> Result<Vec<SignedData>, String> {
    let signed = envelope.signatures.iter().map(|signature| {
        let header = SignatureHeader::decode(&*signature.signature_header).map_err(|error| error.to_string())?;
        Ok(SignedData {
            message: [&*signature.signature_header, &*envelope.config_update].concat().into(),
            identity: header.creator.into(),
            signature: signature.signature.clone().into(),
        })
    });
    signed.collect()
}

/// Rejects changes that no signature can authorize (`Bundle.ValidateNew`).
pub(super) fn check_successor(current: &ChannelConfig, next: &ChannelConfig) -> Result<(), ConfigError> {
    let wrong = |cause: String| Err(ConfigError::Update(cause));
    let (old, new) = (&current.0.values, &next.0.values);
    if old.has_orderer && !new.has_orderer {
        return wrong("current config has orderer section, but new config does not".to_owned());
    }
    if old.has_application && !new.has_application {
        return wrong("current config has application section, but new config does not".to_owned());
    }
    if !old.capabilities.bft() && new.capabilities.bft() {
        let without = new.orderer_organizations.iter().find(|organization| organization.endpoints.is_empty());
        if let Some(organization) = without {
            let name = &organization.name;
            return wrong(format!("illegal orderer config update detected: endpoints of org {name} are missing"));
        }
    }
    let orderers = |values: &super::values::Values| -> Vec<(String, String)> {
        let all = values.orderer_organizations.iter();
        all.map(|organization| (organization.name.clone(), organization.msp_id.clone())).collect()
    };
    let applications = |values: &super::values::Values| -> Vec<(String, String)> {
        let all = values.organizations.iter();
        all.map(|organization| (organization.name.clone(), organization.msp_id.clone())).collect()
    };
    let kinds = [("orderer", orderers(old), orderers(new)), ("application", applications(old), applications(new))];
    for (kind, before, after) in kinds {
        for (name, msp_id) in &before {
            let other = after.iter().find(|(other, other_id)| other == name && other_id != msp_id);
            if let Some((_, other)) = other {
                return wrong(format!("{kind} org {name} attempted to change MSP ID from {msp_id} to {other}"));
            }
        }
    }
    Ok(())
}

/// Checks the name of a channel.
///
/// # Errors
/// Fabric's text.
pub(crate) fn check_channel_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("channel ID illegal, cannot be empty".to_owned());
    }
    if name.len() > names::LONGEST_CHANNEL {
        return Err(format!("channel ID illegal, cannot be longer than {}", names::LONGEST_CHANNEL));
    }
    if !names::is_channel(name) {
        return Err(format!("'{name}' contains illegal characters"));
    }
    Ok(())
}
