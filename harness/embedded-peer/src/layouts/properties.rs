//! Signature policies and the sets that satisfy them agree.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use fabric_network::bundle::Bundle;
use fabric_network::topology::Topology;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{SignaturePolicy as Rule, SignaturePolicyEnvelope};
use proptest::prelude::*;

use super::inquire::satisfied_by;
use crate::msp::{Identity, role};
use crate::policy::{Endorsement, SignaturePolicy, reference};
use crate::testing::{Member, bundle, config, organization};

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| bundle(&Topology::duo()));
/// Two peers of each of two organizations.
static PEERS: LazyLock<Vec<Vec<Arc<Identity>>>> = LazyLock::new(|| {
    let msps = config(&BUNDLE).msps().clone();
    let peers = |index| {
        let nodes = organization(&BUNDLE, index).nodes.values();
        nodes.map(|node| msps.identity(&Member::new(&node.sign).creator).unwrap()).collect()
    };
    vec![peers(0), peers(1)]
});

fn peers() -> Vec<fabric_protos::common::MspPrincipal> {
    ["Org1MSP", "Org2MSP"].map(|msp_id| role(msp_id, MspRoleType::Peer)).to_vec()
}

/// How often each organization must sign, for each set that satisfies the policy.
fn quantities(policy: &SignaturePolicyEnvelope) -> Vec<BTreeMap<usize, usize>> {
    let principals = peers();
    let quantity = |set: &super::PrincipalSet| {
        let mut quantity = BTreeMap::new();
        for one in set {
            let index = principals.iter().position(|principal| *principal == one.encoded).unwrap();
            *quantity.entry(index).or_default() += 1;
        }
        quantity
    };
    satisfied_by(policy).iter().map(quantity).collect()
}

#[test]
fn the_default_endorsement_policy_needs_both_organizations() {
    let config = config(&BUNDLE);
    let majority = Endorsement::decode(&reference("/Channel/Application/Endorsement")).unwrap();
    let policy = majority.to_signature_policy(config.policies()).unwrap();
    assert_eq!(quantities(&policy), [BTreeMap::from([(0, 1), (1, 1)])]);
    let policy = SignaturePolicy::new(policy).unwrap();
    let [one, other] = [&PEERS[0][0], &PEERS[1][0]].map(Arc::clone);
    assert_eq!(policy.evaluate(&[Arc::clone(&one), other]), Ok(()));
    assert!(policy.evaluate(&[one]).is_err());
}

fn rules() -> impl Strategy<Value = Rule> {
    let leaf = (0..2_i32).prop_map(|index| Rule { r#type: Some(Type::SignedBy(index)) });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let rules = proptest::collection::vec(inner, 1..4);
        (1..3_i32, rules).prop_map(|(n, rules)| Rule { r#type: Some(Type::NOutOf(NOutOf { n, rules })) })
    })
}

proptest! {
    #[test]
    fn signers_that_satisfy_a_policy_contain_one_of_its_sets(rule in rules(), one in 0..3_usize, two in 0..3_usize) {
        let envelope = SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: peers() };
        let found = quantities(&envelope);
        let signers: Vec<_> = PEERS[0][..one].iter().chain(&PEERS[1][..two]).cloned().collect();
        let have = [one, two];
        let is_contained = |set: &BTreeMap<usize, usize>| set.iter().all(|(index, count)| have[*index] >= *count);
        if SignaturePolicy::new(envelope).unwrap().evaluate(&signers).is_ok() {
            prop_assert!(found.iter().any(is_contained), "{have:?} does not contain any of {found:?}");
        }
    }
}
