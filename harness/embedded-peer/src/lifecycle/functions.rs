//! The functions of the system chaincode `_lifecycle` (`core/chaincode/lifecycle/scc.go`).
//!
//! The caller checks authorization first. Arguments and results are the messages named after the
//! function.

use std::collections::BTreeMap;

use fabric_network::release::Release;
use fabric_protos::lifecycle::{self as messages, chaincode_source};
use prost::Message;

use super::approval::{self, Approved};
use super::check;
use super::definition::{Definition, names, query};
use super::store::Public;
use crate::config::ChannelConfig;
use crate::ledger::Simulation;

/// The definition in a function's arguments: the messages have the same fields.
macro_rules! requested {
    ($arguments:ident, $collections:expr) => {
        Definition {
            sequence: $arguments.sequence,
            version: $arguments.version,
            endorsement_plugin: $arguments.endorsement_plugin,
            validation_plugin: $arguments.validation_plugin,
            validation_parameter: $arguments.validation_parameter,
            collections: $collections,
            init_required: $arguments.init_required,
        }
    };
}

/// A result message with a definition's fields and additional ones.
macro_rules! definition_message {
    ($message:path, $definition:expr, $($field:ident: $value:expr),+) => {{
        let definition = $definition;
        $message {
            sequence: definition.sequence,
            version: definition.version,
            endorsement_plugin: definition.endorsement_plugin,
            validation_plugin: definition.validation_plugin,
            validation_parameter: definition.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.init_required,
            $($field: $value),+
        }
    }};
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledPackage {
    /// The package ID, label:hash.
    pub package_id: String,
    /// The label.
    pub label: String,
    /// By channel: name and version of the definitions that use it.
    pub references: BTreeMap<String, Vec<(String, String)>>,
}

/// Why a package is unavailable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackageFailure {
    /// It is not installed.
    #[error("chaincode install package '{0}' not found")]
    NotFound(String),
    /// The package was rejected, or cannot be read or built.
    #[error("{0}")]
    Other(String),
}

/// The packages of a peer.
pub trait Packages {
    /// Installs a package. May take as long as an external builder.
    ///
    /// # Errors
    ///
    /// Fabric's text.
    fn install(&self, package: &[u8]) -> Result<InstalledPackage, PackageFailure>;

    /// All installed packages.
    fn list(&self) -> Vec<InstalledPackage>;

    /// The bytes of a package.
    ///
    /// # Errors
    ///
    /// The package does not exist or cannot be read.
    fn load(&self, package_id: &str) -> Result<Vec<u8>, PackageFailure>;
}

/// The context of a call.
pub struct LifecycleContext<'a> {
    /// The transaction's simulation; `None` without a channel.
    pub simulation: Option<&'a mut Simulation>,
    /// The channel's configuration; `None` without a channel.
    pub config: Option<&'a ChannelConfig>,
    /// The peer's own MSP ID.
    pub msp_id: &'a str,
    /// The peer's packages.
    pub packages: &'a dyn Packages,
    /// The Fabric release to imitate.
    pub release: Release,
}

/// The peer's response to a failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// 404 if something was not found, else 500.
    pub status: i32,
    /// Fabric's text.
    pub message: String,
}

/// Why a function failed, before Fabric's outer text is added.
#[derive(Debug)]
enum Cause {
    NotFound(String),
    Other(String),
}

impl From<String> for Cause {
    fn from(cause: String) -> Self {
        Self::Other(cause)
    }
}

/// Calls a function with its encoded argument and returns the encoded result.
///
/// # Errors
///
/// [`Failure`], the peer's response.
pub fn invoke(function: &str, argument: &[u8], context: LifecycleContext<'_>) -> Result<Vec<u8>, Failure> {
    let channel = context.config.map(ChannelConfig::channel).unwrap_or_default();
    if let Some(config) = context.config
        && !config.capabilities().lifecycle()
    {
        return Err(Failure {
            status: 500,
            message: format!(
                "cannot use new lifecycle for channel '{channel}' as it does not have the required capabilities enabled"
            ),
        });
    }
    let mut call = Call { context };
    call.dispatch(function, argument).map_err(|cause| match cause {
        Cause::NotFound(message) => Failure { status: 404, message },
        Cause::Other(cause) => Failure {
            status: 500,
            message: format!("failed to invoke backing implementation of '{function}': {cause}"),
        },
    })
}

/// The package in the argument of `InstallChaincode`, for callers that install it themselves.
///
/// # Errors
///
/// [`Failure`], the peer's response.
pub fn install_arguments(argument: &[u8]) -> Result<Vec<u8>, Failure> {
    let function = "InstallChaincode";
    let arguments: messages::InstallChaincodeArgs = decode(function, argument).map_err(|cause| Failure {
        status: 500,
        message: match cause {
            Cause::NotFound(cause) | Cause::Other(cause) => {
                format!("failed to invoke backing implementation of '{function}': {cause}")
            }
        },
    })?;
    Ok(arguments.chaincode_install_package)
}

/// The result of `InstallChaincode`.
pub fn install_result(package_id: &str, label: &str) -> Vec<u8> {
    messages::InstallChaincodeResult { package_id: package_id.to_owned(), label: label.to_owned() }.encode_to_vec()
}

fn decode<M: Message + Default>(function: &str, argument: &[u8]) -> Result<M, Cause> {
    M::decode(argument).map_err(|_| {
        let cause = "proto: cannot parse invalid wire-format data";
        Cause::Other(format!("could not decode input arg for *lifecycle.Invocation.{function}: {cause}"))
    })
}

struct Call<'a> {
    context: LifecycleContext<'a>,
}

impl Call<'_> {
    fn dispatch(&mut self, function: &str, argument: &[u8]) -> Result<Vec<u8>, Cause> {
        match function {
            "InstallChaincode" => self.install(&decode(function, argument)?),
            "QueryInstalledChaincode" => self.query_installed(decode(function, argument)?),
            "QueryInstalledChaincodes" => {
                decode::<messages::QueryInstalledChaincodesArgs>(function, argument)?;
                Ok(self.all_installed())
            }
            "GetInstalledChaincodePackage" => self.package(&decode(function, argument)?),
            "ApproveChaincodeDefinitionForMyOrg" => self.approve(decode(function, argument)?),
            "QueryApprovedChaincodeDefinition" => self.query_approved(&decode(function, argument)?),
            "QueryApprovedChaincodeDefinitions" if self.context.release.has_approved_definitions_query() => {
                decode::<messages::QueryApprovedChaincodeDefinitionsArgs>(function, argument)?;
                self.all_approved()
            }
            "CheckCommitReadiness" => self.readiness(decode(function, argument)?),
            "CommitChaincodeDefinition" => self.commit(decode(function, argument)?),
            "QueryChaincodeDefinition" => self.query(decode(function, argument)?),
            "QueryChaincodeDefinitions" => {
                decode::<messages::QueryChaincodeDefinitionsArgs>(function, argument)?;
                self.all()
            }
            _ => Err(Cause::Other(format!("receiver *lifecycle.Invocation.{function} does not exist"))),
        }
    }

    /// The transaction's simulation and its channel.
    fn channel(&mut self) -> Result<(&mut Simulation, &ChannelConfig), Cause> {
        match (self.context.simulation.as_deref_mut(), self.context.config) {
            (Some(simulation), Some(config)) => Ok((simulation, config)),
            _ => Err(Cause::Other("no application config for channel ''".to_owned())),
        }
    }

    fn install(&self, arguments: &messages::InstallChaincodeArgs) -> Result<Vec<u8>, Cause> {
        let installed = self.context.packages.install(&arguments.chaincode_install_package);
        let installed = installed.map_err(|failure| Cause::Other(failure.to_string()))?;
        Ok(install_result(&installed.package_id, &installed.label))
    }

    fn query_installed(&self, arguments: messages::QueryInstalledChaincodeArgs) -> Result<Vec<u8>, Cause> {
        use messages::query_installed_chaincode_result::{Chaincode, References};
        let package_id = arguments.package_id;
        let mut all = self.context.packages.list().into_iter();
        let found = all.find(|package| package.package_id == package_id);
        let found = found.ok_or_else(|| Cause::NotFound(PackageFailure::NotFound(package_id).to_string()))?;
        let chaincode = |(name, version)| Chaincode { name, version };
        let references = found.references.into_iter().map(|(channel, chaincodes)| {
            (channel, References { chaincodes: chaincodes.into_iter().map(chaincode).collect() })
        });
        let references = references.collect();
        let (package_id, label) = (found.package_id, found.label);
        Ok(messages::QueryInstalledChaincodeResult { package_id, label, references }.encode_to_vec())
    }

    fn all_installed(&self) -> Vec<u8> {
        use messages::query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};
        let chaincode = |(name, version)| Chaincode { name, version };
        let installed = self.context.packages.list().into_iter().map(|package| InstalledChaincode {
            package_id: package.package_id,
            label: package.label,
            references: package
                .references
                .into_iter()
                .map(|(channel, all)| (channel, References { chaincodes: all.into_iter().map(chaincode).collect() }))
                .collect(),
        });
        messages::QueryInstalledChaincodesResult { installed_chaincodes: installed.collect() }.encode_to_vec()
    }

    fn package(&self, arguments: &messages::GetInstalledChaincodePackageArgs) -> Result<Vec<u8>, Cause> {
        let package = self.context.packages.load(&arguments.package_id);
        let package = package.map_err(|failure| format!("could not load cc install package: {failure}"))?;
        Ok(messages::GetInstalledChaincodePackageResult { chaincode_install_package: package }.encode_to_vec())
    }

    fn approve(&mut self, arguments: messages::ApproveChaincodeDefinitionForMyOrgArgs) -> Result<Vec<u8>, Cause> {
        let (msp_id, release) = (self.context.msp_id.to_owned(), self.context.release);
        let (simulation, config) = self.channel()?;
        let collections = arguments.collections.unwrap_or_default();
        check::input(&arguments.name, &arguments.version, &collections, config, simulation)
            .map_err(|cause| format!("error validating chaincode definition: {cause}"))?;
        let package_id = match arguments.source.and_then(|source| source.r#type) {
            Some(chaincode_source::Type::LocalPackage(package)) => package.package_id,
            Some(chaincode_source::Type::Unavailable(_)) | None => String::new(),
        };
        let definition = requested!(arguments, collections);
        approval::approve(&arguments.name, definition, &package_id, &msp_id, config, simulation, release)?;
        Ok(messages::ApproveChaincodeDefinitionForMyOrgResult {}.encode_to_vec())
    }

    fn query_approved(&mut self, arguments: &messages::QueryApprovedChaincodeDefinitionArgs) -> Result<Vec<u8>, Cause> {
        let (msp_id, release) = (self.context.msp_id.to_owned(), self.context.release);
        let (simulation, config) = self.channel()?;
        let approved =
            approval::approved(&arguments.name, arguments.sequence, &msp_id, config.channel(), simulation, release)?;
        let source = Some(source(&approved));
        Ok(definition_message!(messages::QueryApprovedChaincodeDefinitionResult, approved.definition, source: source)
            .encode_to_vec())
    }

    fn all_approved(&mut self) -> Result<Vec<u8>, Cause> {
        use messages::query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition;
        let msp_id = self.context.msp_id.to_owned();
        let (simulation, config) = self.channel()?;
        let all = approval::all_approved(&msp_id, config.channel(), simulation)?;
        let all = all.into_iter().map(|approved| {
            let source = Some(source(&approved));
            definition_message!(ApprovedChaincodeDefinition, approved.definition, source: source, name: approved.name)
        });
        let approved_chaincode_definitions = all.collect();
        Ok(messages::QueryApprovedChaincodeDefinitionsResult { approved_chaincode_definitions }.encode_to_vec())
    }

    fn readiness(&mut self, arguments: messages::CheckCommitReadinessArgs) -> Result<Vec<u8>, Cause> {
        use messages::check_commit_readiness_result::Mismatches;
        let has_mismatches = self.context.release.has_readiness_mismatches();
        let (simulation, config) = self.channel()?;
        let mut definition = requested!(arguments, arguments.collections.unwrap_or_default());
        let found = approval::readiness(&arguments.name, &mut definition, config, simulation)?;
        let mismatches = found.mismatches.into_iter().filter(|_| has_mismatches);
        let result = messages::CheckCommitReadinessResult {
            approvals: found.approved,
            mismatches: mismatches.map(|(msp_id, items)| (msp_id, Mismatches { items })).collect(),
        };
        Ok(result.encode_to_vec())
    }

    fn commit(&mut self, arguments: messages::CommitChaincodeDefinitionArgs) -> Result<Vec<u8>, Cause> {
        let msp_id = self.context.msp_id.to_owned();
        let (simulation, config) = self.channel()?;
        let collections = arguments.collections.unwrap_or_default();
        check::input(&arguments.name, &arguments.version, &collections, config, simulation)
            .map_err(|cause| format!("error validating chaincode definition: {cause}"))?;
        if config.organization(&msp_id).is_none() {
            return Err(Cause::Other(
                "impossibly, this peer's org is processing requests for a channel it is not a member of".to_owned(),
            ));
        }
        let definition = requested!(arguments, collections);
        let approvals = approval::commit(&arguments.name, definition, config, simulation)?;
        if approvals.approved.get(&msp_id) != Some(&true) {
            return Err(Cause::Other(format!("chaincode definition not agreed to by this org ({msp_id})")));
        }
        Ok(messages::CommitChaincodeDefinitionResult {}.encode_to_vec())
    }

    fn query(&mut self, arguments: messages::QueryChaincodeDefinitionArgs) -> Result<Vec<u8>, Cause> {
        let (simulation, config) = self.channel()?;
        let name = arguments.name;
        let definition = query(&name, &mut Public(simulation))?
            .ok_or_else(|| Cause::NotFound(format!("namespace {name} is not defined")))?;
        let approvals = approval::approvals(&name, &definition, config, simulation)?;
        let approvals = approvals.approved;
        Ok(definition_message!(messages::QueryChaincodeDefinitionResult, definition, approvals: approvals)
            .encode_to_vec())
    }

    fn all(&mut self) -> Result<Vec<u8>, Cause> {
        use messages::query_chaincode_definitions_result::ChaincodeDefinition;
        let (simulation, _) = self.channel()?;
        let mut state = Public(simulation);
        let mut all = Vec::new();
        for name in names(&mut state)? {
            let Some(definition) = query(&name, &mut state)? else { continue };
            all.push(definition_message!(ChaincodeDefinition, definition, name: name));
        }
        Ok(messages::QueryChaincodeDefinitionsResult { chaincode_definitions: all }.encode_to_vec())
    }
}

/// An organization's chaincode source as a message.
fn source(approved: &Approved) -> messages::ChaincodeSource {
    let source = if approved.package_id.is_empty() {
        chaincode_source::Type::Unavailable(chaincode_source::Unavailable {})
    } else {
        chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id: approved.package_id.clone() })
    };
    messages::ChaincodeSource { r#type: Some(source) }
}
