//! Defines chaincodes on a ledger without separate transactions.

use fabric_network::release::Release;
use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CommitChaincodeDefinitionArgs, chaincode_source,
};
use fabric_protos::protos::CollectionConfigPackage;
use prost::Message;

use super::transaction::commit_sets;
use crate::config::ChannelConfig;
use crate::ledger::{Ledger, Simulated};
use crate::lifecycle::{Failure, InstalledPackage, LifecycleContext, PackageFailure, Packages, invoke};

/// A peer with one installed package.
pub(crate) struct OnePackage;

impl Packages for OnePackage {
    fn install(&self, package: &[u8]) -> Result<InstalledPackage, PackageFailure> {
        match package {
            b"package" => Ok(self.list().remove(0)),
            _ => Err(PackageFailure::Other("no package".to_owned())),
        }
    }

    fn list(&self) -> Vec<InstalledPackage> {
        let references = [("mychannel".to_owned(), vec![("basic".to_owned(), "1.0".to_owned())])].into();
        vec![InstalledPackage { package_id: "basic:00".to_owned(), label: "basic".to_owned(), references }]
    }

    fn load(&self, package_id: &str) -> Result<Vec<u8>, PackageFailure> {
        match package_id {
            "basic:00" => Ok(b"package".to_vec()),
            other => Err(PackageFailure::NotFound(other.to_owned())),
        }
    }
}

/// Calls `_lifecycle` on a peer of this organization; returns the response and the simulation.
pub(crate) fn call(
    ledger: &Ledger,
    config: &ChannelConfig,
    msp_id: &str,
    function: &str,
    argument: &impl Message,
) -> Result<(Vec<u8>, Simulated), Failure> {
    call_as(Release::V3_1, ledger, config, msp_id, function, argument)
}

/// Like [`call`], on a peer of this release.
pub(crate) fn call_as(
    release: Release,
    ledger: &Ledger,
    config: &ChannelConfig,
    msp_id: &str,
    function: &str,
    argument: &impl Message,
) -> Result<(Vec<u8>, Simulated), Failure> {
    let mut simulation = ledger.simulate("transaction");
    let context = LifecycleContext {
        simulation: Some(&mut simulation),
        config: Some(config),
        msp_id,
        packages: &OnePackage,
        release,
    };
    let answer = invoke(function, &argument.encode_to_vec(), context)?;
    Ok((answer, simulation.finish().unwrap()))
}

/// An approval of the package in [`OnePackage`].
pub(crate) fn approval(name: &str, sequence: i64) -> ApproveChaincodeDefinitionForMyOrgArgs {
    let package = chaincode_source::Local { package_id: "basic:00".to_owned() };
    ApproveChaincodeDefinitionForMyOrgArgs {
        sequence,
        name: name.to_owned(),
        version: "1.0".to_owned(),
        source: Some(ChaincodeSource { r#type: Some(chaincode_source::Type::LocalPackage(package)) }),
        ..ApproveChaincodeDefinitionForMyOrgArgs::default()
    }
}

/// The commit of an approved definition.
pub(crate) fn commit(approved: &ApproveChaincodeDefinitionForMyOrgArgs) -> CommitChaincodeDefinitionArgs {
    CommitChaincodeDefinitionArgs {
        sequence: approved.sequence,
        name: approved.name.clone(),
        version: approved.version.clone(),
        endorsement_plugin: approved.endorsement_plugin.clone(),
        validation_plugin: approved.validation_plugin.clone(),
        validation_parameter: approved.validation_parameter.clone(),
        collections: approved.collections.clone(),
        init_required: approved.init_required,
    }
}

/// Approves a definition for every organization and commits it.
pub(crate) fn define(ledger: &Ledger, config: &ChannelConfig, definition: &ApproveChaincodeDefinitionForMyOrgArgs) {
    for organization in config.organizations() {
        let approve = "ApproveChaincodeDefinitionForMyOrg";
        let (_, simulated) = call(ledger, config, &organization.msp_id, approve, definition).unwrap();
        commit_sets(ledger, &simulated.public);
    }
    let msp_id = &config.organizations()[0].msp_id;
    let (_, simulated) = call(ledger, config, msp_id, "CommitChaincodeDefinition", &commit(definition)).unwrap();
    commit_sets(ledger, &simulated.public);
}

/// Like [`define`], with a policy and collections.
pub(crate) fn define_with(
    ledger: &Ledger,
    config: &ChannelConfig,
    name: &str,
    policy: &[u8],
    collections: Option<CollectionConfigPackage>,
) {
    let definition = ApproveChaincodeDefinitionForMyOrgArgs {
        validation_parameter: policy.to_vec(),
        collections,
        ..approval(name, 1)
    };
    define(ledger, config, &definition);
}
