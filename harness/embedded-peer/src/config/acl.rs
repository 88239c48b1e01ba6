//! Access control: the policy of each resource (`core/aclmgmt`).
//!
//! Some resources have a fixed policy of the peer's organization. For the others the channel may replace the
//! default policy.

use super::ChannelConfig;
use crate::msp::{MspManager, role};
use crate::policy::SignedData;
use fabric_protos::common::msp_role::MspRoleType;

const READERS: &str = "/Channel/Application/Readers";
const WRITERS: &str = "/Channel/Application/Writers";

/// A policy of the peer's organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Administrators.
    Admins,
    /// All members.
    Members,
}

impl Local {
    /// Its name in Fabric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admins => "Admins",
            Self::Members => "Members",
        }
    }
}

/// The policy of a resource that belongs to the peer, not to a channel.
pub fn local_policy(resource: &str) -> Option<Local> {
    match resource {
        "_lifecycle/InstallChaincode"
        | "_lifecycle/QueryInstalledChaincode"
        | "_lifecycle/GetInstalledChaincodePackage"
        | "_lifecycle/QueryInstalledChaincodes"
        | "_lifecycle/ApproveChaincodeDefinitionForMyOrg"
        | "_lifecycle/QueryApprovedChaincodeDefinition"
        | "_lifecycle/QueryApprovedChaincodeDefinitions"
        | "snapshot/submitrequest"
        | "snapshot/cancelrequest"
        | "snapshot/listpending"
        | "lscc/Install"
        | "lscc/GetInstalledChaincodes"
        | "cscc/JoinChain"
        | "cscc/JoinChainBySnapshot"
        | "cscc/JoinBySnapshotStatus" => Some(Local::Admins),
        "cscc/GetChannels" => Some(Local::Members),
        _ => None,
    }
}

/// The default policy of a channel's resource.
fn default_policy(resource: &str) -> Option<&'static str> {
    match resource {
        "_lifecycle/CommitChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinition"
        | "_lifecycle/QueryChaincodeDefinitions"
        | "_lifecycle/CheckCommitReadiness"
        | "peer/Propose"
        | "peer/ChaincodeToChaincode" => Some(WRITERS),
        "lscc/ChaincodeExists"
        | "lscc/GetDeploymentSpec"
        | "lscc/GetChaincodeData"
        | "lscc/GetInstantiatedChaincodes"
        | "lscc/GetCollectionsConfig"
        | "qscc/GetChainInfo"
        | "qscc/GetBlockByNumber"
        | "qscc/GetBlockByHash"
        | "qscc/GetTransactionByID"
        | "qscc/GetBlockByTxID"
        | "cscc/GetConfigBlock"
        | "cscc/GetChannelConfig"
        | "event/Block"
        | "event/FilteredBlock"
        | "gateway/CommitStatus"
        | "gateway/ChaincodeEvents" => Some(READERS),
        _ => None,
    }
}

/// The policy of a channel's resource.
pub(super) fn channel_policy<'a>(config: &'a ChannelConfig, resource: &str) -> Option<&'a str> {
    if local_policy(resource).is_some() {
        return None;
    }
    config.acls().get(resource).map(String::as_str).or_else(|| default_policy(resource))
}

/// Checks that a signer may use a resource of a channel, or without a channel, of the peer.
///
/// # Errors
/// Fabric's text, without the prefixes of its callers.
pub fn check(
    resource: &str,
    channel: Option<&ChannelConfig>,
    local: &MspManager,
    signed: &SignedData,
) -> Result<(), String> {
    if let Some(policy) = local_policy(resource) {
        return check_local(policy, local, signed);
    }
    if let Some(config) = channel
        && let Some(policy) = config.acls().get(resource)
    {
        let evaluated = match config.policies().get(policy) {
            Some(_) => config.evaluate(policy, std::slice::from_ref(signed)).map_err(|error| error.to_string()),
            None => Err(format!("policy {policy} not found")),
        };
        return evaluated.map_err(|cause| {
            format!("failed evaluating policy on signed data during check policy [{policy}]: [{cause}]")
        });
    }
    let policy = default_policy(resource).ok_or_else(|| format!("Unmapped policy for {resource}"))?;
    let Some(config) = channel else {
        // The policy of a channel is unknown to the peer's organization.
        return Err(format!(
            "Failed getting local MSP principal during channelless check policy with policy [{policy}]: [MSP Principal role [{policy}] not recognized]"
        ));
    };
    config.evaluate(policy, std::slice::from_ref(signed)).map_err(|error| {
        let channel = config.channel();
        format!(
            "Failed evaluating policy on signed data during check policy on channel [{channel}] with policy [{policy}]: [{error}]"
        )
    })
}

fn check_local(policy: Local, local: &MspManager, signed: &SignedData) -> Result<(), String> {
    let name = policy.name();
    local_member(policy, local, signed).map_err(|refusal| match refusal {
        LocalRefusal::Unknown(error) => format!(
            "Failed deserializing proposal creator during channelless check policy with policy [{name}]: [{error}]"
        ),
        LocalRefusal::Role(cause) => format!(
            "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [{name}]: [{cause}]"
        ),
        LocalRefusal::Signature(error) => error,
    })
}

/// Checks that the signer of a message other than a proposal may use a resource of the peer.
///
/// # Errors
/// Fabric's text.
pub fn check_signed(resource: &str, local: &MspManager, signed: &SignedData) -> Result<(), String> {
    let policy = local_policy(resource).ok_or_else(|| format!("Unmapped channelless policy for {resource}"))?;
    let name = policy.name();
    local_member(policy, local, signed).map_err(|refusal| match refusal {
        LocalRefusal::Unknown(error) => format!(
            "failed deserializing signed data identity during channelless check policy with policy [{name}]: [{error}]"
        ),
        LocalRefusal::Role(cause) => format!(
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [{name}]: [{cause}]"
        ),
        LocalRefusal::Signature(error) => error,
    })
}

/// Why a signer does not satisfy a policy of the peer's organization.
enum LocalRefusal {
    Unknown(String),
    Role(String),
    Signature(String),
}

fn local_member(policy: Local, local: &MspManager, signed: &SignedData) -> Result<(), LocalRefusal> {
    let identity = local.deserialize(&signed.identity).map_err(|error| LocalRefusal::Unknown(error.to_string()))?;
    let kind = match policy {
        Local::Admins => MspRoleType::Admin,
        Local::Members => MspRoleType::Member,
    };
    if !identity.satisfies(&role(identity.msp_id(), kind)) {
        return Err(LocalRefusal::Role(refusal(&identity, policy)));
    }
    identity.verify(&signed.message, &signed.signature).map_err(|error| LocalRefusal::Signature(error.to_string()))
}

/// Fabric's text for an identity that lacks a role.
fn refusal(identity: &crate::msp::Identity, policy: Local) -> String {
    let msp_id = identity.msp_id();
    match (policy, identity.validate()) {
        (Local::Members, Err(error)) => error.to_string(),
        (Local::Admins, Err(error)) => format!("The identity is not valid under this MSP [{msp_id}]: {error}"),
        (_, Ok(())) if !identity.has_node_units() => "This identity is not an admin".to_owned(),
        (_, Ok(())) => format!(
            "The identity is not an admin under this MSP [{msp_id}]: The identity does not contain OU [ADMIN], MSP: [{msp_id}]"
        ),
    }
}
