//! The chaincode lifecycle: install, approve, check readiness, commit, and their queries.
//!
//! Functions of the system chaincode `_lifecycle` (`core/chaincode/lifecycle/scc.go`). Approve and
//! commit are transactions, endorsed by the given peers and submitted through the first peer's gateway.

use std::collections::BTreeMap;

use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::lifecycle::chaincode_source::{Local, Type, Unavailable};
use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, InstallChaincodeArgs, InstallChaincodeResult, QueryChaincodeDefinitionArgs,
    QueryChaincodeDefinitionResult, QueryInstalledChaincodesArgs, QueryInstalledChaincodesResult,
};
use fabric_protos::protos::application_policy;
use fabric_protos::protos::{ApplicationPolicy, CollectionConfigPackage};
use prost::Message;
use tokio::time::Instant;

use super::endorser::{PeerClient, endorse};
use super::error::ClientError;
use super::gateway::Committed;
use super::proposal::Invocation;

const LIFECYCLE: &str = "_lifecycle";

/// Who must endorse a chaincode's transactions.
#[derive(Debug, Clone, PartialEq)]
pub enum EndorsementPolicy {
    /// A policy of the channel's configuration, by its path, such as
    /// `/Channel/Application/Endorsement`.
    ChannelConfig(String),
    /// A signature policy.
    Signature(SignaturePolicyEnvelope),
}

/// What organizations agree on about a chaincode.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Name under which it is called.
    pub name: String,
    /// The version; Fabric does not interpret it.
    pub version: String,
    /// 1 for the first definition of this name in a channel, then one more for each.
    pub sequence: i64,
    /// `None` for the channel's default, `/Channel/Application/Endorsement`.
    pub endorsement_policy: Option<EndorsementPolicy>,
    /// Whether the chaincode's first call must be an initialization.
    pub init_required: bool,
    /// Private data collections.
    pub collections: Option<CollectionConfigPackage>,
}

impl Definition {
    /// The first definition of a chaincode: sequence 1, the channel's endorsement policy, no
    /// initialization, no collections.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            sequence: 1,
            endorsement_policy: None,
            init_required: false,
            collections: None,
        }
    }

    /// The policy as the ledger holds it; no bytes stand for the channel's default.
    fn validation_parameter(&self) -> Vec<u8> {
        let policy = match &self.endorsement_policy {
            None => return Vec::new(),
            Some(EndorsementPolicy::ChannelConfig(path)) => {
                application_policy::Type::ChannelConfigPolicyReference(path.clone())
            }
            Some(EndorsementPolicy::Signature(policy)) => application_policy::Type::SignaturePolicy(policy.clone()),
        };
        ApplicationPolicy { r#type: Some(policy) }.encode_to_vec()
    }
}

/// The result of an install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installation {
    /// The peer installed and built the package.
    Installed {
        /// Label, colon, SHA-256 of the package.
        package_id: String,
    },
    /// The peer had these very bytes already; nothing was built again.
    AlreadyInstalled {
        /// Label, colon, SHA-256 of the package.
        package_id: String,
    },
}

impl Installation {
    /// The package id, either way.
    pub fn package_id(&self) -> &str {
        match self {
            Self::Installed { package_id } | Self::AlreadyInstalled { package_id } => package_id,
        }
    }
}

/// A package that a peer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Label, colon, SHA-256 of the package.
    pub package_id: String,
    /// The label of its metadata.
    pub label: String,
}

/// Which organizations have approved a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReadiness {
    /// By MSP id.
    pub approvals: BTreeMap<String, bool>,
}

impl CommitReadiness {
    /// The MSP ids of those that have not approved.
    pub fn missing(&self) -> Vec<&str> {
        self.approvals.iter().filter_map(|(msp_id, approved)| (!approved).then_some(msp_id.as_str())).collect()
    }
}

impl PeerClient {
    /// Installs a package (the bytes of a `.tar.gz`) on this peer, which runs its external builder
    /// before it answers. The identity must be an administrator of the peer's organization.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the builder's failure as the peer words it; and as any call.
    pub async fn install(&self, package: &[u8], deadline: Instant) -> Result<Installation, ClientError> {
        let operation = "install the package";
        let arguments = InstallChaincodeArgs { chaincode_install_package: package.to_vec() };
        let invocation = invoke("", "InstallChaincode", &arguments);
        match self.query(operation, &invocation, deadline).await {
            Ok(answer) => {
                let result: InstallChaincodeResult = self.decode(operation, &answer)?;
                Ok(Installation::Installed { package_id: result.package_id })
            }
            Err(ClientError::Rejected { operation, node, status, message }) => {
                already_installed(&message).ok_or(ClientError::Rejected { operation, node, status, message })
            }
            Err(failed) => Err(failed),
        }
    }

    /// The packages that this peer holds.
    ///
    /// # Errors
    /// As any call.
    pub async fn query_installed(&self, deadline: Instant) -> Result<Vec<InstalledPackage>, ClientError> {
        let operation = "list the installed packages";
        let invocation = invoke("", "QueryInstalledChaincodes", &QueryInstalledChaincodesArgs::default());
        let answer = self.query(operation, &invocation, deadline).await?;
        let answer: QueryInstalledChaincodesResult = self.decode(operation, &answer)?;
        Ok(answer
            .installed_chaincodes
            .into_iter()
            .map(|package| InstalledPackage { package_id: package.package_id, label: package.label })
            .collect())
    }

    /// Which organizations have approved this very definition, as this peer's ledger has it.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the sequence is not the next one; and as any call.
    pub async fn check_commit_readiness(
        &self,
        channel: &str,
        definition: &Definition,
        deadline: Instant,
    ) -> Result<CommitReadiness, ClientError> {
        let operation = "check the commit readiness";
        let arguments = CheckCommitReadinessArgs {
            sequence: definition.sequence,
            name: definition.name.clone(),
            version: definition.version.clone(),
            validation_parameter: definition.validation_parameter(),
            collections: definition.collections.clone(),
            init_required: definition.init_required,
            ..Default::default()
        };
        let invocation = invoke(channel, "CheckCommitReadiness", &arguments);
        let answer = self.query(operation, &invocation, deadline).await?;
        let answer: CheckCommitReadinessResult = self.decode(operation, &answer)?;
        Ok(CommitReadiness { approvals: answer.approvals.into_iter().collect() })
    }

    /// The committed definition of a chaincode, as this peer's ledger has it.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with status 404 when there is none; and as any call.
    pub async fn query_committed(
        &self,
        channel: &str,
        chaincode: &str,
        deadline: Instant,
    ) -> Result<QueryChaincodeDefinitionResult, ClientError> {
        let operation = "read the committed definition";
        let arguments = QueryChaincodeDefinitionArgs { name: chaincode.to_owned() };
        let invocation = invoke(channel, "QueryChaincodeDefinition", &arguments);
        let answer = self.query(operation, &invocation, deadline).await?;
        self.decode(operation, &answer)
    }
}

/// Approves a definition for the organization of the first peer's identity, an administrator, and
/// waits until all of `peers` have committed that.
///
/// `peers` are peers of that one organization. All of them should be given: each then stores the approval,
/// which is private data, immediately, and need not fetch it from another peer before it can start the
/// chaincode. `package_id` is the package that this organization's peers run; without one they can
/// validate, but not endorse.
///
/// # Errors
/// [`ClientError::Rejected`] with the peer's reason; [`ClientError::Invalid`]; and as any call.
pub async fn approve_for_my_org(
    peers: &[PeerClient],
    channel: &str,
    definition: &Definition,
    package_id: Option<&str>,
    deadline: Instant,
) -> Result<Committed, ClientError> {
    let source = match package_id {
        Some(package_id) => Type::LocalPackage(Local { package_id: package_id.to_owned() }),
        None => Type::Unavailable(Unavailable {}),
    };
    let arguments = ApproveChaincodeDefinitionForMyOrgArgs {
        sequence: definition.sequence,
        name: definition.name.clone(),
        version: definition.version.clone(),
        validation_parameter: definition.validation_parameter(),
        collections: definition.collections.clone(),
        init_required: definition.init_required,
        source: Some(ChaincodeSource { r#type: Some(source) }),
        ..Default::default()
    };
    let invocation = invoke(channel, "ApproveChaincodeDefinitionForMyOrg", &arguments);
    transact("approve the definition", peers, &invocation, deadline).await
}

/// Commits a definition that enough organizations have approved, and waits until all of `peers` have
/// committed it.
///
/// `peers` must be enough to satisfy the channel's `LifecycleEndorsement` policy, by default one of
/// a majority of organizations. Each must have committed the approvals before
/// ([`await_commit`](super::await_commit)).
///
/// # Errors
/// [`ClientError::Rejected`] with the peer's reason, such as `chaincode definition not agreed to by
/// this org (Org1MSP)`; [`ClientError::Invalid`]; and as any call.
pub async fn commit(
    peers: &[PeerClient],
    channel: &str,
    definition: &Definition,
    deadline: Instant,
) -> Result<Committed, ClientError> {
    let arguments = CommitChaincodeDefinitionArgs {
        sequence: definition.sequence,
        name: definition.name.clone(),
        version: definition.version.clone(),
        validation_parameter: definition.validation_parameter(),
        collections: definition.collections.clone(),
        init_required: definition.init_required,
        ..Default::default()
    };
    let invocation = invoke(channel, "CommitChaincodeDefinition", &arguments);
    transact("commit the definition", peers, &invocation, deadline).await
}

async fn transact(
    operation: &'static str,
    peers: &[PeerClient],
    invocation: &Invocation,
    deadline: Instant,
) -> Result<Committed, ClientError> {
    let transaction = endorse(operation, peers, invocation, deadline).await?;
    let first = peers.first().ok_or(ClientError::NoPeer { operation })?;
    first.commit(&transaction, peers, deadline).await
}

fn invoke(channel: &str, function: &str, arguments: &impl Message) -> Invocation {
    Invocation::new(channel, LIFECYCLE, function).argument(arguments.encode_to_vec())
}

/// Recognizes the error of an install of an installed package, which Fabric reports only as text: `… already successfully installed (package ID '<id>')`.
fn already_installed(message: &str) -> Option<Installation> {
    let (_, rest) = message.split_once("already successfully installed (package ID '")?;
    let (package_id, _) = rest.split_once("')")?;
    Some(Installation::AlreadyInstalled { package_id: package_id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_install_of_what_is_there_counts_as_installed_already() {
        let message = "failed to invoke backing implementation of 'InstallChaincode': \
                       chaincode already successfully installed (package ID 'basic_1:0abc')";
        let expected = Installation::AlreadyInstalled { package_id: "basic_1:0abc".to_owned() };
        assert_eq!(already_installed(message), Some(expected));
        assert_eq!(already_installed("could not build chaincode: docker build is disabled"), None);
    }

    #[test]
    fn the_channels_default_policy_is_no_bytes_and_another_is_its_application_policy() {
        let mut definition = Definition::new("basic", "1.0");
        assert_eq!(definition.validation_parameter(), b"");
        definition.endorsement_policy = Some(EndorsementPolicy::ChannelConfig("/Channel/X".to_owned()));
        assert_eq!(definition.validation_parameter(), b"\x12\x0a/Channel/X");
        definition.endorsement_policy = Some(EndorsementPolicy::Signature(SignaturePolicyEnvelope::default()));
        assert_eq!(definition.validation_parameter(), b"\x0a\x00");
    }

    #[test]
    fn missing_approvals_are_named() {
        let approvals = [("Org1MSP", true), ("Org2MSP", false)].map(|(msp_id, is)| (msp_id.to_owned(), is));
        assert_eq!(CommitReadiness { approvals: approvals.into() }.missing(), ["Org2MSP"]);
    }
}
