//! Who may ask for what: the policy of each resource (`core/aclmgmt`).
//!
//! Some resources belong to the peer's own organization, whatever the channel says; for the others
//! the channel may name another policy than the default.

use super::ChannelConfig;
use crate::msp::{MspManager, role};
use crate::policy::SignedData;
use fabric_protos::common::msp_role::MspRoleType;

const READERS: &str = "/Channel/Application/Readers";
const WRITERS: &str = "/Channel/Application/Writers";

/// Roles in the peer's own organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Administrators.
    Admins,
    /// Anyone in it.
    Members,
}

impl Local {
    /// As Fabric names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admins => "Admins",
            Self::Members => "Members",
        }
    }
}

/// The role that a resource of the peer itself asks for.
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

/// The channel's policy for a resource that it does not name.
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

/// The policy that guards a channel's resource.
pub(super) fn channel_policy<'a>(config: &'a ChannelConfig, resource: &str) -> Option<&'a str> {
    if local_policy(resource).is_some() {
        return None;
    }
    config.acls().get(resource).map(String::as_str).or_else(|| default_policy(resource))
}

/// Whether the signer of one message may use a resource of a channel, or of the peer when there is
/// no channel.
///
/// # Errors
/// The text of Fabric's refusal, without what its callers put in front.
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
        // A channel's policy means nothing to the peer's own organization.
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

/// Whether the signer of something else than a proposal may use a resource of the peer itself.
///
/// # Errors
/// The text of Fabric's refusal.
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

/// Why somebody is not who may use a resource of the peer itself.
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

/// Why an identity has not that role, as Fabric's MSP says it.
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
