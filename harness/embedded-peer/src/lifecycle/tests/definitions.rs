//! The lifecycle from approval to committed definition, with its queries.

use fabric_protos::lifecycle::{
    CheckCommitReadinessArgs, CheckCommitReadinessResult, GetInstalledChaincodePackageArgs,
    GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult,
    QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsArgs, QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionArgs,
    QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult, chaincode_source,
};

use super::*;
use crate::testing::lifecycle::{approval, commit};

const APPROVE: &str = "ApproveChaincodeDefinitionForMyOrg";

fn readiness(network: &Network, version: &str) -> CheckCommitReadinessResult {
    let argument = CheckCommitReadinessArgs {
        name: "basic".to_owned(),
        version: version.to_owned(),
        sequence: 1,
        ..CheckCommitReadinessArgs::default()
    };
    network.query("CheckCommitReadiness", &argument)
}

#[test]
fn approvals_are_counted_by_hash() {
    let network = Network::new();
    let none = readiness(&network, "1.0");
    assert_eq!(none.approvals, [("Org1MSP".to_owned(), false), ("Org2MSP".to_owned(), false)].into());
    assert_eq!(none.mismatches["Org1MSP"].items, ["ChaincodeParameters"]);
    network.submit("Org2MSP", APPROVE, &approval("basic", 1));
    let one = readiness(&network, "1.0");
    assert_eq!(one.approvals, [("Org1MSP".to_owned(), false), ("Org2MSP".to_owned(), true)].into());
    assert!(!one.mismatches.contains_key("Org2MSP"));
    let other = readiness(&network, "2.0");
    assert!(!other.approvals["Org2MSP"]);
    assert_eq!(other.mismatches["Org2MSP"].items, ["EndorsementInfo"]);
}

#[test]
fn committed_definitions_can_be_queried() {
    let network = Network::new();
    for msp_id in ["Org1MSP", "Org2MSP"] {
        network.submit(msp_id, APPROVE, &approval("basic", 1));
    }
    network.submit("Org1MSP", "CommitChaincodeDefinition", &commit(&approval("basic", 1)));
    let found = definition(&network.ledger.state(), "basic").unwrap();
    assert_eq!((found.sequence, &*found.version, &*found.endorsement_plugin), (1, "1.0", "escc"));
    assert_eq!(found.validation_parameter, crate::policy::reference("/Channel/Application/Endorsement"));
    assert_eq!(definitions(&network.ledger.state()), [("basic".to_owned(), found.clone())]);
    assert_eq!(definition(&network.ledger.state(), "other"), None);

    let argument = QueryChaincodeDefinitionArgs { name: "basic".to_owned() };
    let queried: QueryChaincodeDefinitionResult = network.query("QueryChaincodeDefinition", &argument);
    assert_eq!((queried.sequence, queried.version), (1, "1.0".to_owned()));
    assert_eq!(queried.approvals, [("Org1MSP".to_owned(), true), ("Org2MSP".to_owned(), true)].into());
    let all: QueryChaincodeDefinitionsResult =
        network.query("QueryChaincodeDefinitions", &QueryChaincodeDefinitionsArgs {});
    assert_eq!(all.chaincode_definitions.len(), 1);
    assert_eq!(all.chaincode_definitions[0].name, "basic");
}

#[test]
fn only_changed_fields_are_written() {
    let network = Network::new();
    let define = |sequence, version: &str| {
        let mut definition = approval("basic", sequence);
        version.clone_into(&mut definition.version);
        for msp_id in ["Org1MSP", "Org2MSP"] {
            network.submit(msp_id, APPROVE, &definition);
        }
        let argument = commit(&definition);
        let (_, simulated) =
            call(&network.ledger, &network.config, "Org1MSP", "CommitChaincodeDefinition", &argument).unwrap();
        commit_sets(&network.ledger, &simulated.public);
        let sets = crate::ledger::ReadWriteSets::parse(&simulated.public).unwrap();
        let own = sets.namespaces.into_iter().find(|set| set.namespace == NAMESPACE).unwrap();
        own.set.writes.into_iter().map(|write| write.key).collect::<Vec<_>>()
    };
    let all = ["fields/basic/Collections", "fields/basic/EndorsementInfo", "fields/basic/Sequence"];
    let all: Vec<_> = all.into_iter().chain(["fields/basic/ValidationInfo", "metadata/basic"]).collect();
    assert_eq!(define(1, "1.0"), all.iter().map(|key| format!("namespaces/{key}")).collect::<Vec<_>>());
    assert_eq!(define(2, "2.0"), ["namespaces/fields/basic/EndorsementInfo", "namespaces/fields/basic/Sequence"]);
    assert_eq!(define(3, "2.0"), ["namespaces/fields/basic/Sequence"]);
}

#[test]
fn an_organization_can_query_its_approvals() {
    let network = Network::new();
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    let ask = |sequence| QueryApprovedChaincodeDefinitionArgs { name: "basic".to_owned(), sequence };
    for sequence in [0, 1] {
        let found: QueryApprovedChaincodeDefinitionResult =
            network.query("QueryApprovedChaincodeDefinition", &ask(sequence));
        assert_eq!((found.sequence, &*found.version), (1, "1.0"));
        let package = chaincode_source::Local { package_id: "basic:00".to_owned() };
        let source = found.source.unwrap().r#type.unwrap();
        assert_eq!(source, chaincode_source::Type::LocalPackage(package));
    }
    let mut unavailable = approval("other", 1);
    unavailable.source = None;
    network.submit("Org1MSP", APPROVE, &unavailable);
    let all: QueryApprovedChaincodeDefinitionsResult =
        network.query("QueryApprovedChaincodeDefinitions", &QueryApprovedChaincodeDefinitionsArgs {});
    let names: Vec<_> = all.approved_chaincode_definitions.iter().map(|one| (&*one.name, one.sequence)).collect();
    assert_eq!(names, [("basic", 1), ("other", 1)]);
    let source = all.approved_chaincode_definitions[1].source.clone().unwrap().r#type.unwrap();
    assert_eq!(source, chaincode_source::Type::Unavailable(chaincode_source::Unavailable {}));
}

#[test]
fn installed_packages_are_listed() {
    let network = Network::new();
    let install = |package: &[u8]| InstallChaincodeArgs { chaincode_install_package: package.to_vec() };
    let installed: InstallChaincodeResult = network.query("InstallChaincode", &install(b"package"));
    assert_eq!((&*installed.package_id, &*installed.label), ("basic:00", "basic"));
    assert_eq!(
        network.refused("Org1MSP", "InstallChaincode", &install(b"")).message,
        "failed to invoke backing implementation of 'InstallChaincode': no package"
    );
    let of = |package_id: &str| QueryInstalledChaincodeArgs { package_id: package_id.to_owned() };
    let one: QueryInstalledChaincodeResult = network.query("QueryInstalledChaincode", &of("basic:00"));
    assert_eq!(one.references["mychannel"].chaincodes[0].name, "basic");
    let missing = network.refused("Org1MSP", "QueryInstalledChaincode", &of("other:00"));
    assert_eq!(missing, Failure { status: 404, message: "chaincode install package 'other:00' not found".to_owned() });
    let all: QueryInstalledChaincodesResult =
        network.query("QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {});
    assert_eq!(all.installed_chaincodes[0].package_id, "basic:00");
    let of = |package_id: &str| GetInstalledChaincodePackageArgs { package_id: package_id.to_owned() };
    let package: GetInstalledChaincodePackageResult = network.query("GetInstalledChaincodePackage", &of("basic:00"));
    assert_eq!(package.chaincode_install_package, b"package");
    let missing = network.refused("Org1MSP", "GetInstalledChaincodePackage", &of("other:00"));
    let text = "failed to invoke backing implementation of 'GetInstalledChaincodePackage': could not load cc install package: chaincode install package 'other:00' not found";
    assert_eq!(missing, Failure { status: 500, message: text.to_owned() });
}

#[test]
fn endorsement_needs_definition_approval_and_package() {
    let network = Network::new();
    let ask = |msp_id: &str, installed: &[&str]| {
        let mut simulation = network.ledger.simulate("transaction");
        let info = endorsement_info(&mut simulation, "mychannel", "basic", msp_id, installed.iter().copied());
        (info, simulation.finish().unwrap())
    };
    assert_eq!(ask("Org1MSP", &["basic:00"]).0.unwrap_err(), "chaincode basic not found");
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    assert_eq!(ask("Org1MSP", &["basic:00"]).0.unwrap_err(), "chaincode basic not found");
    // Only Org1 endorses here; validation would reject this.
    network.submit("Org1MSP", "CommitChaincodeDefinition", &commit(&approval("basic", 1)));
    let (info, simulated) = ask("Org1MSP", &["other:00", "basic:00"]);
    let info = info.unwrap();
    assert_eq!((&*info.package_id, &*info.version, info.init_required), ("basic:00", "1.0", false));
    let sets = crate::ledger::ReadWriteSets::parse(&simulated.public).unwrap();
    assert_eq!(sets.namespaces[0].namespace, NAMESPACE);
    assert_eq!(sets.namespaces[0].set.reads[0].key, "namespaces/fields/basic/Sequence");
    assert_eq!(
        ask("Org2MSP", &["basic:00"]).0.unwrap_err(),
        "chaincode definition for 'basic' at sequence 1 on channel 'mychannel' has not yet been approved by this org"
    );
    assert_eq!(
        ask("Org1MSP", &["other:00"]).0.unwrap_err(),
        "chaincode definition for 'basic' exists, but chaincode is not installed"
    );
    let local = local_definition(&network.ledger.state(), "basic", "Org2MSP", ["basic:00"]).unwrap();
    assert!(!local.approved && local.package_id.is_none());
}

#[test]
fn a_package_may_be_replaced_without_a_commit() {
    let network = Network::new();
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    network.submit("Org1MSP", "CommitChaincodeDefinition", &commit(&approval("basic", 1)));
    let mut again = approval("basic", 1);
    let package = chaincode_source::Local { package_id: "basic:01".to_owned() };
    again.source.as_mut().unwrap().r#type = Some(chaincode_source::Type::LocalPackage(package));
    network.submit("Org1MSP", APPROVE, &again);
    let local = local_definition(&network.ledger.state(), "basic", "Org1MSP", ["basic:00", "basic:01"]).unwrap();
    assert_eq!(local.package_id.as_deref(), Some("basic:01"));
}

#[test]
fn a_2_5_peer_reports_no_mismatches() {
    use fabric_network::release::Release;
    let network = Network::new();
    let argument = CheckCommitReadinessArgs {
        name: "basic".to_owned(),
        version: "1.0".to_owned(),
        sequence: 1,
        ..CheckCommitReadinessArgs::default()
    };
    let invoke_on = |function: &str, argument: &[u8]| {
        let mut simulation = network.ledger.simulate("transaction");
        let context = LifecycleContext {
            simulation: Some(&mut simulation),
            config: Some(&network.config),
            msp_id: "Org1MSP",
            packages: &crate::testing::lifecycle::OnePackage,
            release: Release::V2_5,
        };
        invoke(function, argument, context)
    };
    let answer = invoke_on("CheckCommitReadiness", &argument.encode_to_vec()).unwrap();
    let answer = CheckCommitReadinessResult::decode(&*answer).unwrap();
    assert_eq!((answer.approvals.len(), answer.mismatches.len()), (2, 0));
    assert_eq!(
        invoke_on("QueryApprovedChaincodeDefinitions", b"").unwrap_err().message,
        "failed to invoke backing implementation of 'QueryApprovedChaincodeDefinitions': receiver *lifecycle.Invocation.QueryApprovedChaincodeDefinitions does not exist"
    );
}
