//! Rejected `_lifecycle` calls with Fabric's texts.

use fabric_network::release::Release;
use fabric_protos::common::SignaturePolicyEnvelope;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, CheckCommitReadinessArgs, QueryApprovedChaincodeDefinitionArgs,
    QueryChaincodeDefinitionArgs,
};
use fabric_protos::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};
use proptest::prelude::*;

use super::*;
use crate::testing::lifecycle::{approval, call_as, commit};

const APPROVE: &str = "ApproveChaincodeDefinitionForMyOrg";
const COMMIT: &str = "CommitChaincodeDefinition";

fn around(function: &str, cause: &str) -> Failure {
    Failure { status: 500, message: format!("failed to invoke backing implementation of '{function}': {cause}") }
}

fn approve_refused(network: &Network, definition: &ApproveChaincodeDefinitionForMyOrgArgs) -> String {
    let failure = network.refused("Org1MSP", APPROVE, definition);
    assert_eq!(failure.status, 500);
    failure.message.replace("failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': ", "")
}

#[test]
fn invalid_names_and_versions_are_rejected() {
    let network = Network::new();
    let named = |name: &str, version: &str| {
        let mut definition = approval(name, 1);
        version.clone_into(&mut definition.version);
        approve_refused(&network, &definition)
    };
    let before = "error validating chaincode definition: ";
    for name in ["", "_a", "a_", "a__b", "a b", "a.b", "-a"] {
        assert_eq!(
            named(name, "1"),
            format!(
                "{before}invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"
            )
        );
    }
    assert_eq!(named("qscc", "1"), format!("{before}chaincode name 'qscc' is the name of a system chaincode"));
    for version in ["", "1 0", "1/0"] {
        assert_eq!(
            named("basic", version),
            format!(
                "{before}invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
            )
        );
    }
}

#[test]
fn sequences_must_be_consecutive() {
    let network = Network::new();
    let sequence = |sequence| approve_refused(&network, &approval("basic", sequence));
    assert_eq!(sequence(0), "requested sequence is 0, but first definable sequence number is 1");
    assert_eq!(sequence(-1), "currently defined sequence 0 is larger than requested sequence -1");
    assert_eq!(sequence(2), "requested sequence 2 is larger than the next available sequence number 1");
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    assert_eq!(
        sequence(1),
        "attempted to redefine uncommitted sequence (1) for namespace basic with unchanged content"
    );
    network.submit("Org1MSP", COMMIT, &commit(&approval("basic", 1)));
    assert_eq!(sequence(1), "attempted to redefine the current committed sequence (1) for namespace basic");
    let mut other = approval("basic", 1);
    other.init_required = true;
    assert_eq!(
        approve_refused(&network, &other),
        "attempted to redefine the current committed sequence (1) for namespace basic with different parameters: expected InitRequired 'false' does not match passed InitRequired 'true'"
    );
    other.init_required = false;
    other.validation_parameter = b"\x01".to_vec();
    let text = approve_refused(&network, &other);
    assert!(text.ends_with("does not match passed ValidationParameter '01'"), "{text}");
    let readiness = CheckCommitReadinessArgs { name: "basic".to_owned(), sequence: 3, ..Default::default() };
    assert_eq!(
        network.refused("Org1MSP", "CheckCommitReadiness", &readiness),
        around("CheckCommitReadiness", "requested sequence is 3, but new definition must be sequence 2")
    );
}

#[test]
fn a_2_5_peer_accepts_repeated_approvals() {
    let network = Network::new();
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    network.submit("Org1MSP", COMMIT, &commit(&approval("basic", 1)));
    let (ledger, config) = (&network.ledger, &network.config);
    let (_, simulated) = call_as(Release::V2_5, ledger, config, "Org1MSP", APPROVE, &approval("basic", 1)).unwrap();
    assert!(simulated.private.is_none(), "{:?}", simulated.private);
    let argument = QueryApprovedChaincodeDefinitionArgs { name: "basic".to_owned(), sequence: 0 };
    for (release, reported) in [(Release::V2_5, 0), (Release::V3_1, 1)] {
        let function = "QueryApprovedChaincodeDefinition";
        let cause = format!(
            "could not fetch approved chaincode definition (name: 'basic', sequence: '{reported}') on channel 'mychannel'"
        );
        let refused = call_as(release, ledger, config, "Org2MSP", function, &argument).unwrap_err();
        assert_eq!(refused, around(function, &cause));
    }
}

#[test]
fn a_peer_commits_only_definitions_its_organization_approved() {
    let network = Network::new();
    network.submit("Org1MSP", APPROVE, &approval("basic", 1));
    assert_eq!(
        network.refused("Org2MSP", COMMIT, &commit(&approval("basic", 1))),
        around(COMMIT, "chaincode definition not agreed to by this org (Org2MSP)")
    );
    assert_eq!(
        network.refused("Org9MSP", COMMIT, &commit(&approval("basic", 1))),
        around(COMMIT, "impossibly, this peer's org is processing requests for a channel it is not a member of")
    );
}

#[test]
fn missing_items_are_reported() {
    let network = Network::new();
    let argument = QueryChaincodeDefinitionArgs { name: "basic".to_owned() };
    assert_eq!(
        network.refused("Org1MSP", "QueryChaincodeDefinition", &argument),
        Failure { status: 404, message: "namespace basic is not defined".to_owned() }
    );
    let argument = QueryApprovedChaincodeDefinitionArgs { name: "basic".to_owned(), sequence: 1 };
    assert_eq!(
        network.refused("Org1MSP", "QueryApprovedChaincodeDefinition", &argument),
        around(
            "QueryApprovedChaincodeDefinition",
            "could not fetch approved chaincode definition (name: 'basic', sequence: '1') on channel 'mychannel'"
        )
    );
    assert_eq!(
        network.refused("Org1MSP", "Surprise", &argument),
        around("Surprise", "receiver *lifecycle.Invocation.Surprise does not exist")
    );
}

fn collection(name: &str, policy: impl Into<Option<SignaturePolicyEnvelope>>) -> StaticCollectionConfig {
    StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: policy.into().map(collection_policy_config::Payload::SignaturePolicy),
        }),
        maximum_peer_count: 1,
        ..StaticCollectionConfig::default()
    }
}

fn members(msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    crate::policy::n_of_roles(1, MspRoleType::Member, msp_ids)
}

fn with_collections(collections: Vec<StaticCollectionConfig>) -> ApproveChaincodeDefinitionForMyOrgArgs {
    let config = collections.into_iter().map(|collection| CollectionConfig {
        payload: Some(collection_config::Payload::StaticCollectionConfig(collection)),
    });
    let collections = Some(CollectionConfigPackage { config: config.collect() });
    ApproveChaincodeDefinitionForMyOrgArgs { collections, ..approval("basic", 1) }
}

#[test]
fn invalid_collections_are_rejected() {
    let network = Network::new();
    let refused = |collections| {
        let text = approve_refused(&network, &with_collections(collections));
        text.replace("error validating chaincode definition: ", "")
    };
    let good = || collection("good", members(&["Org1MSP"]));
    assert_eq!(
        refused(vec![collection("_bad", members(&["Org1MSP"]))]),
        "invalid collection name '_bad'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
    );
    assert_eq!(refused(vec![good(), good()]), "collection-name: good -- found duplicate in collection configuration");
    assert_eq!(
        refused(vec![StaticCollectionConfig { required_peer_count: 2, ..good() }]),
        "collection-name: good -- maximum peer count (1) cannot be less than the required peer count (2)"
    );
    assert_eq!(
        refused(vec![StaticCollectionConfig { required_peer_count: -1, ..good() }]),
        "collection-name: good -- requiredPeerCount (-1) cannot be less than zero"
    );
    assert_eq!(
        refused(vec![StaticCollectionConfig { member_orgs_policy: None, ..good() }]),
        "collection member policy is not set for collection 'good'"
    );
    assert_eq!(refused(vec![collection("good", None)]), "collection member org policy is empty for collection 'good'");
    assert_eq!(
        refused(vec![collection("good", members(&["Org9MSP"]))]),
        "collection-name: good -- collection member 'Org9MSP' is not part of the channel"
    );
    let both = crate::policy::n_of_roles(2, MspRoleType::Member, &["Org1MSP", "Org2MSP"]);
    assert_eq!(
        refused(vec![collection("good", both)]),
        "collection-name: good -- error in member org policy: signature policy is not an OR concatenation, NOutOf 2"
    );
    assert_eq!(
        refused(vec![collection("good", SignaturePolicyEnvelope::default())]),
        "invalid member org policy for collection 'good': Empty policy element"
    );
}

#[test]
fn collections_and_their_block_to_live_cannot_change() {
    let network = Network::new();
    let first = with_collections(vec![StaticCollectionConfig {
        block_to_live: 7,
        ..collection("good", members(&["Org1MSP"]))
    }]);
    network.submit("Org1MSP", APPROVE, &first);
    network.submit("Org1MSP", COMMIT, &commit(&first));
    let refused = |collections: Vec<StaticCollectionConfig>| {
        let definition = ApproveChaincodeDefinitionForMyOrgArgs { sequence: 2, ..with_collections(collections) };
        approve_refused(&network, &definition).replace("error validating chaincode definition: ", "")
    };
    assert_eq!(refused(Vec::new()), "the proposed collection config does not contain previously defined collections");
    assert_eq!(
        refused(vec![collection("other", members(&["Org1MSP"]))]),
        "existing collection [good] missing in the proposed collection configuration"
    );
    assert_eq!(
        refused(vec![collection("good", members(&["Org1MSP"]))]),
        "the BlockToLive in an existing collection [good] modified. Existing value [7]"
    );
    let found = definition(&network.ledger.state(), "basic").unwrap();
    let good = super::super::collection(&found, "good").unwrap();
    assert!(is_member(&good, "Org1MSP") && !is_member(&good, "Org2MSP"));
    let state = network.ledger.state();
    let rules = StateRules { state: &state, msp_id: "Org1MSP" };
    let rule = |collection: &str| crate::ledger::CollectionRules::rule(&rules, "basic", collection);
    assert_eq!(rule("good").map(|rule| (rule.block_to_live, rule.member)), Some((7, true)));
    assert_eq!(rule("_implicit_org_Org2MSP").map(|rule| rule.member), Some(false));
    assert_eq!(rule("other"), None);
    let config = network.config.clone();
    let known = ChannelCollections::new(move || config.clone());
    let names = crate::ledger::Collections::collections(&known, &state, "basic").unwrap().unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["_implicit_org_Org1MSP", "_implicit_org_Org2MSP", "good"]);
    assert_eq!(crate::ledger::Collections::collections(&known, &state, "unknown").unwrap(), None);
}

#[test]
fn invalid_arguments_have_go_errors() {
    let network = Network::new();
    let mut simulation = network.ledger.simulate("transaction");
    let context = LifecycleContext {
        simulation: Some(&mut simulation),
        config: Some(&network.config),
        msp_id: "Org1MSP",
        packages: &crate::testing::lifecycle::OnePackage,
        release: Release::V3_1,
    };
    let cause = format!(
        "could not decode input arg for *lifecycle.Invocation.{COMMIT}: proto: cannot parse invalid wire-format data"
    );
    assert_eq!(invoke(COMMIT, b"\x01", context).unwrap_err(), around(COMMIT, &cause));
}

proptest! {
    #[test]
    fn random_arguments_never_panic(function in 0..11_usize, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        const FUNCTIONS: [&str; 11] = [
            "InstallChaincode", "QueryInstalledChaincode", "QueryInstalledChaincodes", "GetInstalledChaincodePackage",
            APPROVE, "QueryApprovedChaincodeDefinition", "QueryApprovedChaincodeDefinitions", "CheckCommitReadiness",
            COMMIT, "QueryChaincodeDefinition", "QueryChaincodeDefinitions",
        ];
        static NETWORK: std::sync::LazyLock<Network> = std::sync::LazyLock::new(Network::new);
        let mut simulation = NETWORK.ledger.simulate("transaction");
        let context = LifecycleContext {
            simulation: Some(&mut simulation),
            config: Some(&NETWORK.config),
            msp_id: "Org1MSP",
            packages: &crate::testing::lifecycle::OnePackage,
            release: Release::V3_1,
        };
        if let Err(failure) = invoke(FUNCTIONS[function], &bytes, context) {
            prop_assert!(failure.status == 500 || failure.status == 404);
        }
    }
}
