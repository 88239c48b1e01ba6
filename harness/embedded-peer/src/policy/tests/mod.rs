//! Tests of policy evaluation.

use std::sync::Arc;

use fabric_network::topology::Topology;
use fabric_protos::common::implicit_meta_policy::Rule as MetaRule;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::policy::PolicyType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{
    ConfigGroup, ConfigPolicy, ImplicitMetaPolicy, Policy as PolicyMessage, SignaturePolicy as Rule,
    SignaturePolicyEnvelope,
};
use prost::Message;

use super::*;
use crate::config::ChannelConfig;
use crate::msp::role;
use crate::testing::{Member, bundle, config};

fn signed_by(index: i32) -> Rule {
    Rule { r#type: Some(Type::SignedBy(index)) }
}

fn n_of(n: i32, rules: Vec<Rule>) -> Rule {
    Rule { r#type: Some(Type::NOutOf(NOutOf { n, rules })) }
}

/// Principals 0 and 1 are members of the two organizations, 2 is a client of the first.
fn policy(rule: Rule) -> SignaturePolicy {
    SignaturePolicy::new(envelope(rule)).unwrap()
}

fn envelope(rule: Rule) -> SignaturePolicyEnvelope {
    let member = MspRoleType::Member;
    let identities = vec![role("Org1MSP", member), role("Org2MSP", member), role("Org1MSP", MspRoleType::Client)];
    SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }
}

struct Network {
    config: ChannelConfig,
    user: Member,
    peer: Member,
    admin: Member,
    other: Member,
    orderer: Member,
}

impl Network {
    fn new() -> Self {
        let bundle = bundle(&Topology::duo());
        Self {
            config: config(&bundle),
            user: Member::user(&bundle, 0),
            peer: Member::peer(&bundle, 0),
            admin: Member::admin(&bundle, 0),
            other: Member::peer(&bundle, 1),
            orderer: Member::orderer(&bundle),
        }
    }

    fn identities(&self, members: &[&Member]) -> Vec<Arc<Identity>> {
        members.iter().map(|member| self.config.msps().identity(&member.creator).unwrap()).collect()
    }

    fn passes(&self, rule: Rule, members: &[&Member]) -> bool {
        policy(rule).evaluate(&self.identities(members)).is_ok()
    }
}

#[test]
fn n_of_the_rules_must_be_satisfied() {
    let network = Network::new();
    let (user, other) = (&network.user, &network.other);
    assert!(network.passes(signed_by(0), &[user]));
    assert!(!network.passes(signed_by(1), &[user]));
    assert!(network.passes(n_of(1, vec![signed_by(0), signed_by(1)]), &[other]));
    assert!(!network.passes(n_of(2, vec![signed_by(0), signed_by(1)]), &[other]));
    assert!(network.passes(n_of(2, vec![signed_by(0), signed_by(1)]), &[other, user]));
    assert!(network.passes(n_of(0, Vec::new()), &[]));
    assert!(!network.passes(n_of(1, Vec::new()), &[user]));
}

#[test]
fn each_identity_counts_once() {
    let network = Network::new();
    let both = || n_of(2, vec![signed_by(0), signed_by(0)]);
    assert!(!network.passes(both(), &[&network.user]));
    assert!(network.passes(both(), &[&network.user, &network.peer]));
    // The first rule takes the first match, although the second rule needs that identity.
    let greedy = || n_of(2, vec![signed_by(0), signed_by(2)]);
    assert!(!network.passes(greedy(), &[&network.user, &network.peer]));
    assert!(network.passes(greedy(), &[&network.peer, &network.user]));
}

#[test]
fn failed_rules_use_no_identities() {
    let network = Network::new();
    let rule = n_of(1, vec![n_of(2, vec![signed_by(0), signed_by(1)]), signed_by(0)]);
    assert!(network.passes(rule, &[&network.user]));
    // All rules are evaluated, even if they are no longer needed.
    let hungry = n_of(2, vec![n_of(1, vec![signed_by(0), signed_by(1)]), signed_by(1)]);
    assert!(!network.passes(hungry, &[&network.user, &network.other]));
}

#[test]
fn invalid_policies_are_rejected() {
    let error = |envelope| SignaturePolicy::new(envelope).unwrap_err().to_string();
    let around = |cause: &str| format!("could not create evaluator for signature policy: {cause}");
    for index in [-1, 3] {
        let cause = format!("identity index out of range, requested {index}, but identities length is 3");
        assert_eq!(error(envelope(n_of(1, vec![signed_by(index)]))), around(&cause));
    }
    let empty = SignaturePolicyEnvelope { rule: None, ..envelope(signed_by(0)) };
    assert_eq!(error(empty), around("Empty policy element"));
}

#[test]
fn signers_are_distinct_and_have_valid_signatures() {
    let network = Network::new();
    let (user, peer) = (network.user.signed(b"message"), network.peer.signed(b"message"));
    let bad = SignedData { message: b"another".to_vec().into(), ..network.other.signed(b"message") };
    let nobody = SignedData { identity: b"nobody".to_vec().into(), ..user.clone() };
    let found = signers(&[bad, user.clone(), nobody, peer, user], network.config.msps());
    let expected = network.identities(&[&network.user, &network.peer]);
    assert_eq!(
        found.iter().map(|one| *one.id()).collect::<Vec<_>>(),
        expected.iter().map(|one| *one.id()).collect::<Vec<_>>()
    );
}

#[test]
fn a_valid_signature_after_an_invalid_one_counts() {
    let network = Network::new();
    let good = network.user.signed(b"message");
    let bad = SignedData { signature: b"bad".to_vec().into(), ..good.clone() };
    assert_eq!(signers(&[bad, good], network.config.msps()).len(), 1);
}

#[test]
fn channel_policies_are_found_by_path() {
    let network = Network::new();
    let evaluate = |path: &str, member: &Member| network.config.evaluate(path, &[member.signed(b"message")]);
    assert_eq!(evaluate("/Channel/Application/Writers", &network.user), Ok(()));
    assert_eq!(evaluate("Application/Writers", &network.user), Ok(()));
    assert_eq!(evaluate("/Channel/Application/Org1/Admins", &network.admin), Ok(()));
    assert_eq!(
        evaluate("/Channel/Application/Admins", &network.admin).unwrap_err().to_string(),
        "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be satisfied"
    );
    assert_eq!(
        evaluate("/Channel/Application/Org1/Admins", &network.user).unwrap_err().to_string(),
        "signature set did not satisfy policy"
    );
    assert_eq!(
        evaluate("/Channel/Application/Nothing", &network.user).unwrap_err().to_string(),
        "no such policy: 'Application/Nothing'"
    );
    assert_eq!(evaluate("/Channel/Orderer/BlockValidation", &network.orderer), Ok(()));
    assert!(evaluate("/Channel/Orderer/BlockValidation", &network.user).is_err());
    assert!(evaluate("/Other/Writers", &network.user).is_err());
}

/// A group of three organizations; the third has no policy.
fn three(rule: MetaRule) -> ConfigGroup {
    let config_policy = |kind: PolicyType, value: Vec<u8>| ConfigPolicy {
        policy: Some(PolicyMessage { r#type: kind.into(), value }),
        ..ConfigPolicy::default()
    };
    let organization = |index| {
        let policy = config_policy(PolicyType::Signature, envelope(signed_by(index)).encode_to_vec());
        ConfigGroup { policies: [("Writers".to_owned(), policy)].into(), ..ConfigGroup::default() }
    };
    let meta = ImplicitMetaPolicy { sub_policy: "Writers".to_owned(), rule: rule.into() };
    ConfigGroup {
        groups: [
            ("A".to_owned(), organization(0)),
            ("B".to_owned(), organization(1)),
            ("C".to_owned(), ConfigGroup::default()),
        ]
        .into(),
        policies: [("Writers".to_owned(), config_policy(PolicyType::ImplicitMeta, meta.encode_to_vec()))].into(),
        ..ConfigGroup::default()
    }
}

#[test]
fn groups_without_the_policy_count_as_not_satisfied() {
    let network = Network::new();
    let passes = |rule, members: &[&Member]| {
        let policies = Policies::new(&three(rule), network.config.msps().clone()).unwrap();
        policies.get("/Channel/Writers").unwrap().evaluate(&network.identities(members)).is_ok()
    };
    let (user, other) = (&network.user, &network.other);
    assert!(passes(MetaRule::Any, &[user]));
    assert!(!passes(MetaRule::Any, &[&network.orderer]));
    assert!(passes(MetaRule::Majority, &[user, other]));
    assert!(!passes(MetaRule::Majority, &[user]));
    assert!(!passes(MetaRule::All, &[user, other]), "the third can't be satisfied");
}

#[test]
fn a_meta_policy_without_groups_is_satisfied() {
    let network = Network::new();
    let group = ConfigGroup { groups: [].into(), ..three(MetaRule::All) };
    let policies = Policies::new(&group, network.config.msps().clone()).unwrap();
    assert_eq!(policies.get("/Channel/Writers").unwrap().evaluate(&[]), Ok(()));
}

#[test]
fn policies_of_unknown_type_are_rejected() {
    let network = Network::new();
    let refused = |kind: i32, value: &[u8]| {
        let mut group = three(MetaRule::Any);
        let policy = PolicyMessage { r#type: kind, value: value.to_vec() };
        group.policies.get_mut("Writers").unwrap().policy = Some(policy);
        Policies::new(&group, network.config.msps().clone()).unwrap_err().to_string()
    };
    assert_eq!(refused(7, b""), "policy Writers at path Channel has unknown policy type: 7");
    assert!(refused(1, b"\xff").starts_with("policy Writers at path Channel did not compile"));
    assert!(refused(3, b"\xff").starts_with("policy Writers at path Channel did not compile"));
}

#[test]
fn endorsement_policies_are_explicit_or_references() {
    let network = Network::new();
    let policies = network.config.policies();
    let both = network.identities(&[&network.peer, &network.other]);
    let explicit = Endorsement::decode(&super::from_signature_policy(envelope(signed_by(1)))).unwrap();
    assert_eq!(explicit.evaluate(&both, policies), Ok(()));
    assert!(explicit.evaluate(&both[..1], policies).is_err());
    let referred = Endorsement::decode(&reference("/Channel/Application/Endorsement")).unwrap();
    assert_eq!(referred.evaluate(&both, policies), Ok(()));
    assert!(referred.evaluate(&both[..1], policies).is_err());
    let missing = Endorsement::decode(&reference("/Channel/Nothing")).unwrap();
    let error = missing.evaluate(&both, policies).unwrap_err();
    assert!(error.to_string().ends_with("failed to retrieve policy for reference /Channel/Nothing"), "{error}");
    assert_eq!(Endorsement::decode(b"\xff").unwrap_err(), PolicyError::Decode);
    assert_eq!(Endorsement::decode(b"").unwrap_err(), PolicyError::Empty);
}
