//! The values of the groups, decoded and checked (`common/channelconfig`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fabric_primitives::duration;
use fabric_protos::common::{
    BlockDataHashingStructure, Capabilities as CapabilitiesValue, ConfigGroup, Consenter, HashingAlgorithm,
    OrdererAddresses, Orderers,
};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use fabric_protos::orderer::{BatchSize, BatchTimeout, ConsensusType};
use fabric_protos::protos::{AcLs, AnchorPeers};
use prost::Message;

use super::{ConfigError, OrdererOrganization, Organization};
use crate::msp::{MspError, MspManager};

const APPLICATION: &str = "Application";
const ORDERER: &str = "Orderer";
const CAPABILITIES: &str = "Capabilities";

/// The capabilities that a channel requires, by group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Those of the channel group, such as `V2_0` or `V3_0`.
    pub channel: BTreeSet<String>,
    /// Those of the orderer group.
    pub orderer: BTreeSet<String>,
    /// Those of the application group.
    pub application: BTreeSet<String>,
}

impl Capabilities {
    /// Whether the channel supports BFT, and so has no global orderer addresses.
    pub fn bft(&self) -> bool {
        self.channel.contains("V3_0")
    }

    /// Whether the channel uses the `_lifecycle` chaincode.
    pub fn lifecycle(&self) -> bool {
        self.application.contains("V2_0") || self.application.contains("V2_5")
    }

    /// Whether the channel may have ACLs.
    fn acls(&self) -> bool {
        ["V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5"].iter().any(|version| self.application.contains(*version))
    }

    /// Whether private data can be purged.
    pub fn purge_private_data(&self) -> bool {
        self.application.contains("V2_5")
    }
}

/// The limits of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchConfig {
    /// The maximum number of transactions in a block.
    pub max_message_count: u32,
    /// The maximum size of a transaction, in bytes.
    pub absolute_max_bytes: u32,
    /// The preferred maximum size of a block, in bytes. A larger block has a single transaction.
    pub preferred_max_bytes: u32,
    /// How long a transaction waits for others.
    pub timeout: Duration,
}

/// The consensus type and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consensus {
    /// `etcdraft` or `BFT`.
    pub kind: String,
    /// The options of this type, encoded.
    pub metadata: Vec<u8>,
    /// Whether the channel is in maintenance mode.
    pub maintenance: bool,
}

/// The values of a channel's groups.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) organizations: Vec<Organization>,
    pub(super) orderer_organizations: Vec<OrdererOrganization>,
    pub(super) orderer_addresses: Vec<String>,
    pub(super) acls: BTreeMap<String, String>,
    pub(super) capabilities: Capabilities,
    pub(super) batch: BatchConfig,
    pub(super) consensus: Consensus,
    pub(super) consenters: Vec<Consenter>,
    pub(super) has_application: bool,
    pub(super) has_orderer: bool,
}

impl Values {
    pub(super) fn read(group: &ConfigGroup) -> Result<(Self, MspManager), ConfigError> {
        known_values(
            group,
            &[
                "HashingAlgorithm",
                "BlockDataHashingStructure",
                "OrdererAddresses",
                "Orderers",
                "Consortium",
                CAPABILITIES,
            ],
        )?;
        let hashing: HashingAlgorithm = value(group, "HashingAlgorithm")?;
        if hashing.name != "SHA256" {
            return Err(ConfigError::value(format!("Unknown hashing algorithm type: {}", hashing.name)));
        }
        let structure: BlockDataHashingStructure = value(group, "BlockDataHashingStructure")?;
        if structure.width != u32::MAX {
            return Err(ConfigError::value("BlockDataHashStructure width only supported at MaxUint32 in this version"));
        }
        let mut values = Self {
            orderer_addresses: value::<OrdererAddresses>(group, "OrdererAddresses")?.addresses,
            ..Self::default()
        };
        values.capabilities.channel = capabilities(group)?;
        if values.capabilities.bft() && !values.orderer_addresses.is_empty() {
            return Err(ConfigError::value(
                "global OrdererAddresses are not allowed with V3_0 capability, use org specific addresses only",
            ));
        }
        let mut msps = Vec::new();
        for (name, below) in &group.groups {
            match &**name {
                APPLICATION => values.read_application(below, &mut msps).map_err(|error| error.in_group(name))?,
                ORDERER => values.read_orderer(below, &mut msps).map_err(|error| error.in_group(name))?,
                // Consortiums belong to the system channel, which was removed in Fabric 2.3.
                _ => return Err(ConfigError::value(format!("Disallowed channel group: {name}"))),
            }
        }
        let manager = MspManager::new(&msps).map_err(|source| {
            // Groups are read in the order of their names, so those of the application group come first.
            let application = MspManager::new(&msps[..values.organizations.len()]);
            let group = if application.is_err() { APPLICATION } else { ORDERER };
            ConfigError::Msp { group: group.to_owned(), source }
        })?;
        Ok((values, manager))
    }

    fn read_application(&mut self, group: &ConfigGroup, msps: &mut Vec<MspConfig>) -> Result<(), ConfigError> {
        self.has_application = true;
        known_values(group, &["ACLs", CAPABILITIES])?;
        self.capabilities.application = capabilities(group)?;
        if group.values.contains_key("ACLs") && !self.capabilities.acls() {
            return Err(ConfigError::value("ACLs may not be specified without the required capability"));
        }
        for (resource, acl) in value::<AcLs>(group, "ACLs")?.acls {
            match &*acl.policy_ref {
                "" => continue,
                path if path.starts_with('/') => self.acls.insert(resource, acl.policy_ref),
                name => self.acls.insert(resource, format!("/Channel/Application/{name}")),
            };
        }
        for (name, organization) in &group.groups {
            known_values(organization, &["MSP", "AnchorPeers"])?;
            let anchors: AnchorPeers = value(organization, "AnchorPeers")?;
            let msp_id = organization_msp(name, organization, msps)?;
            self.organizations.push(Organization { name: name.clone(), msp_id, anchor_peers: anchors.anchor_peers });
        }
        Ok(())
    }

    fn read_orderer(&mut self, group: &ConfigGroup, msps: &mut Vec<MspConfig>) -> Result<(), ConfigError> {
        self.has_orderer = true;
        let known = ["ConsensusType", "BatchSize", "BatchTimeout", "KafkaBrokers", "ChannelRestrictions", "Orderers"];
        known_values(group, &[&known[..], &[CAPABILITIES]].concat())?;
        self.capabilities.orderer = capabilities(group)?;
        let consensus: ConsensusType = value(group, "ConsensusType")?;
        let maintenance = consensus.state != 0;
        self.consensus = Consensus { kind: consensus.r#type, metadata: consensus.metadata, maintenance };
        self.consenters = value::<Orderers>(group, "Orderers")?.consenter_mapping;
        self.batch = batch(group)?;
        for (name, organization) in &group.groups {
            known_values(organization, &["MSP", "Endpoints"])?;
            let endpoints = value::<OrdererAddresses>(organization, "Endpoints")?.addresses;
            let msp_id = organization_msp(name, organization, msps)?;
            self.orderer_organizations.push(OrdererOrganization { name: name.clone(), msp_id, endpoints });
        }
        let missing = self.orderer_organizations.iter().filter(|organization| organization.endpoints.is_empty());
        let missing: Vec<_> = missing.map(|organization| &*organization.name).collect();
        if self.capabilities.bft() && !missing.is_empty() {
            return Err(ConfigError::value(format!(
                "some orderer organizations endpoints are empty: [{}]",
                missing.join(" ")
            )));
        }
        Ok(())
    }
}

fn batch(group: &ConfigGroup) -> Result<BatchConfig, ConfigError> {
    let size: BatchSize = value(group, "BatchSize")?;
    for (name, number) in [
        ("max message count", size.max_message_count),
        ("absolute max bytes", size.absolute_max_bytes),
        ("preferred max bytes", size.preferred_max_bytes),
    ] {
        if number == 0 {
            return Err(ConfigError::value(format!("Attempted to set the batch size {name} to an invalid value: 0")));
        }
    }
    let (preferred, absolute) = (size.preferred_max_bytes, size.absolute_max_bytes);
    if preferred > absolute {
        return Err(ConfigError::value(format!(
            "Attempted to set the batch size preferred max bytes ({preferred}) greater than the absolute max bytes ({absolute})."
        )));
    }
    let timeout: BatchTimeout = value(group, "BatchTimeout")?;
    let timeout = duration::parse(&timeout.timeout).map_err(|error| {
        ConfigError::value(format!("Attempted to set the batch timeout to a invalid value: {error}"))
    })?;
    if timeout <= 0 {
        let text = "Attempted to set the batch timeout to a non-positive value";
        return Err(ConfigError::value(format!("{text}: {}", duration::format(timeout))));
    }
    Ok(BatchConfig {
        max_message_count: size.max_message_count,
        absolute_max_bytes: absolute,
        preferred_max_bytes: preferred,
        timeout: Duration::from_nanos(timeout.unsigned_abs()),
    })
}

/// Adds the MSP of an organization, and returns its ID.
fn organization_msp(name: &str, organization: &ConfigGroup, msps: &mut Vec<MspConfig>) -> Result<String, ConfigError> {
    if !organization.groups.is_empty() {
        return Err(ConfigError::value("organizations do not support sub-groups"));
    }
    let msp: MspConfig = value(organization, "MSP")?;
    let config = FabricMspConfig::decode(&*msp.config).map_err(ConfigError::Decode)?;
    if config.name.is_empty() {
        return Err(ConfigError::value(MspError::Unnamed(name.to_owned()).to_string()));
    }
    msps.push(msp);
    Ok(config.name)
}

fn capabilities(group: &ConfigGroup) -> Result<BTreeSet<String>, ConfigError> {
    Ok(value::<CapabilitiesValue>(group, CAPABILITIES)?.capabilities.into_keys().collect())
}

/// A value; the default if it is missing.
fn value<M: Message + Default>(group: &ConfigGroup, name: &str) -> Result<M, ConfigError> {
    let Some(value) = group.values.get(name) else { return Ok(M::default()) };
    M::decode(&*value.value).map_err(ConfigError::Decode)
}

fn known_values(group: &ConfigGroup, known: &[&str]) -> Result<(), ConfigError> {
    match group.values.keys().find(|name| !known.contains(&&***name)) {
        Some(unknown) => Err(ConfigError::value(format!("failed to deserialize values: Unexpected key {unknown}"))),
        None => Ok(()),
    }
}
