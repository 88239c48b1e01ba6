//! The tree of configuration groups, from the channel down to the organizations.

use fabric_primitives::duration::format_std;
use fabric_protos::common::{
    BlockDataHashingStructure, Capabilities, Capability, ConfigGroup, ConfigPolicy, ConfigValue, HashingAlgorithm,
    OrdererAddresses, Policy,
};
use fabric_protos::orderer::{BatchSize, BatchTimeout, ChannelRestrictions};
use fabric_protos::protos::{AcLs, AnchorPeer, AnchorPeers, ApiResource};
use prost::Message;

use super::input::{ChannelInput, Consensus, OrderingInput, OrganizationInput};
use super::{consensus, msp, policy};
use crate::topology::Rule;

/// The channel capability that BFT needs, and the one without BFT, which every release line supports.
const CHANNEL_WITH_BFT: &str = "V3_0";
const CHANNEL: &str = "V2_0";
const ORDERER: &str = "V2_0";
const APPLICATION: &str = "V2_5";

/// The root group.
pub(super) fn channel(channel: &ChannelInput) -> ConfigGroup {
    let capability = match channel.ordering.consensus {
        Consensus::Etcdraft { .. } => CHANNEL,
        Consensus::Bft => CHANNEL_WITH_BFT,
    };
    Group::new(policy::upper_group())
        .value("HashingAlgorithm", &HashingAlgorithm { name: "SHA256".to_owned() })
        .value("BlockDataHashingStructure", &BlockDataHashingStructure { width: u32::MAX })
        .value("Capabilities", &capabilities(capability))
        .group("Application", application(channel))
        .group("Orderer", ordering(&channel.ordering))
        .build()
}

fn application(channel: &ChannelInput) -> ConfigGroup {
    let endorsement = || policy::implicit_meta(channel.endorsement, policy::ENDORSEMENT);
    let mut group = Group::new(policy::upper_group())
        .policy(policy::ENDORSEMENT, endorsement())
        .policy(policy::LIFECYCLE_ENDORSEMENT, endorsement())
        .value("Capabilities", &capabilities(APPLICATION));
    if !channel.acls.is_empty() {
        let acls = channel.acls.iter().map(|(resource, policy)| {
            let guard = ApiResource { policy_ref: policy.clone() };
            (resource.clone(), guard)
        });
        group = group.value("ACLs", &AcLs { acls: acls.collect() });
    }
    for organization in &channel.organizations {
        group = group.group(&organization.name, peer_organization(organization));
    }
    group.build()
}

fn peer_organization(organization: &OrganizationInput) -> ConfigGroup {
    let group = Group::new(policy::peer_organization(&organization.msp.msp_id))
        .value("MSP", &msp::configuration(&organization.msp));
    if organization.anchor_peers.is_empty() {
        return group.build();
    }
    let anchor_peers = organization
        .anchor_peers
        .iter()
        .map(|address| AnchorPeer { host: address.host.clone(), port: address.port.into() });
    group.value("AnchorPeers", &AnchorPeers { anchor_peers: anchor_peers.collect() }).build()
}

fn ordering(ordering: &OrderingInput) -> ConfigGroup {
    let batch = &ordering.batch;
    let group = Group::new(policy::upper_group())
        .value("ConsensusType", &consensus::consensus_type(ordering))
        .value(
            "BatchSize",
            &BatchSize {
                max_message_count: batch.max_messages,
                absolute_max_bytes: batch.absolute_max_bytes,
                preferred_max_bytes: batch.preferred_max_bytes,
            },
        )
        .value("BatchTimeout", &BatchTimeout { timeout: format_std(batch.timeout) })
        .value("ChannelRestrictions", &ChannelRestrictions { max_count: 0 })
        .value("Capabilities", &capabilities(ORDERER))
        .group(&ordering.name, ordering_organization(ordering));
    match ordering.consensus {
        Consensus::Etcdraft { .. } => {
            group.policy(policy::BLOCK_VALIDATION, policy::implicit_meta(Rule::Any, policy::WRITERS))
        }
        Consensus::Bft => {
            let validation = policy::bft_block_validation(&ordering.msp.msp_id, &ordering.consenters);
            group.value("Orderers", &consensus::orderers(ordering)).policy(policy::BLOCK_VALIDATION, validation)
        }
    }
    .build()
}

fn ordering_organization(ordering: &OrderingInput) -> ConfigGroup {
    let addresses = ordering.endpoints.iter().map(ToString::to_string).collect();
    Group::new(policy::ordering_organization(&ordering.msp.msp_id))
        .value("MSP", &msp::configuration(&ordering.msp))
        .value("Endpoints", &OrdererAddresses { addresses })
        .build()
}

fn capabilities(name: &str) -> Capabilities {
    Capabilities { capabilities: [(name.to_owned(), Capability {})].into() }
}

/// A group whose parts are all modified by its `Admins`.
struct Group(ConfigGroup);

impl Group {
    fn new(policies: impl IntoIterator<Item = (&'static str, Policy)>) -> Self {
        let group = ConfigGroup { mod_policy: policy::ADMINS.to_owned(), ..ConfigGroup::default() };
        policies.into_iter().fold(Self(group), |group, (name, policy)| group.policy(name, policy))
    }

    fn policy(mut self, name: &str, policy: Policy) -> Self {
        let policy = ConfigPolicy { version: 0, policy: Some(policy), mod_policy: policy::ADMINS.to_owned() };
        self.0.policies.insert(name.to_owned(), policy);
        self
    }

    fn value(mut self, name: &str, message: &impl Message) -> Self {
        let value = ConfigValue { version: 0, value: message.encode_to_vec(), mod_policy: policy::ADMINS.to_owned() };
        self.0.values.insert(name.to_owned(), value);
        self
    }

    fn group(mut self, name: &str, group: ConfigGroup) -> Self {
        self.0.groups.insert(name.to_owned(), group);
        self
    }

    fn build(self) -> ConfigGroup {
        self.0
    }
}
