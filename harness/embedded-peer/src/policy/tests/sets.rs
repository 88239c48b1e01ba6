//! The smallest sets of organizations that satisfy a policy.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use fabric_network::bundle::Bundle;
use fabric_network::topology::Topology;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{SignaturePolicy as Rule, SignaturePolicyEnvelope};
use proptest::prelude::*;

use super::{Network, n_of, signed_by};
use crate::msp::{Identity, Principal, role};
use crate::policy::{Endorsement, Layout, SignaturePolicy, all_of, layouts, reference};
use crate::testing::{bundle, config, organization};

fn layout(organizations: &[(&str, usize)]) -> Layout {
    organizations.iter().map(|(msp_id, count)| ((*msp_id).to_owned(), *count)).collect()
}

/// Principals 0 to 2: peers of three organizations; 3: administrators of the first.
fn envelope(rule: Rule) -> SignaturePolicyEnvelope {
    let peer = |msp_id| role(msp_id, MspRoleType::Peer);
    let identities = vec![peer("A"), peer("B"), peer("C"), role("A", MspRoleType::Admin)];
    SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }
}

fn is_peer(principal: &Principal) -> bool {
    matches!(principal, Principal::Role { role: MspRoleType::Peer, .. })
}

fn sets(rule: Rule) -> Vec<Layout> {
    layouts(&envelope(rule), &is_peer)
}

#[test]
fn the_smallest_sets_are_found() {
    assert_eq!(sets(signed_by(0)), [layout(&[("A", 1)])]);
    let any = n_of(1, vec![signed_by(0), signed_by(1)]);
    assert_eq!(sets(any.clone()), [layout(&[("A", 1)]), layout(&[("B", 1)])]);
    let majority = n_of(2, vec![signed_by(0), signed_by(1), signed_by(2)]);
    let mut found = sets(majority);
    found.sort();
    assert_eq!(found, [layout(&[("A", 1), ("B", 1)]), layout(&[("A", 1), ("C", 1)]), layout(&[("B", 1), ("C", 1)])]);
    assert_eq!(sets(n_of(2, vec![signed_by(0), signed_by(0)])), [layout(&[("A", 2)])]);
    // A alone is enough, so A and B are not among them.
    assert_eq!(sets(n_of(1, vec![n_of(2, vec![signed_by(0), signed_by(1)]), signed_by(0)])), [layout(&[("A", 1)])]);
}

#[test]
fn who_can_not_endorse_is_in_no_set() {
    assert_eq!(sets(signed_by(3)), Vec::<Layout>::new());
    assert_eq!(sets(n_of(1, vec![signed_by(3), signed_by(1)])), [layout(&[("B", 1)])]);
    assert_eq!(sets(n_of(3, vec![signed_by(0), signed_by(1)])), Vec::<Layout>::new());
    assert_eq!(sets(n_of(0, Vec::new())), [Layout::new()]);
    assert_eq!(sets(signed_by(9)), Vec::<Layout>::new());
}

#[test]
fn several_policies_are_satisfied_at_once() {
    let one = sets(n_of(1, vec![signed_by(0), signed_by(1)]));
    let other = sets(n_of(2, vec![signed_by(0), signed_by(0)]));
    assert_eq!(all_of(&[one.clone(), other]), [layout(&[("A", 2)])]);
    assert_eq!(all_of(&[one, Vec::new()]), Vec::<Layout>::new());
}

#[test]
fn a_channels_policy_is_spelled_out() {
    let network = Network::new();
    let majority = Endorsement::decode(&reference("/Channel/Application/Endorsement")).unwrap();
    let policy = majority.spelled_out(network.config.policies()).unwrap();
    assert_eq!(layouts(&policy, &is_peer), [layout(&[("Org1MSP", 1), ("Org2MSP", 1)])]);
    let same = SignaturePolicy::new(policy).unwrap();
    assert_eq!(same.evaluate(&network.identities(&[&network.peer, &network.other])), Ok(()));
    assert!(same.evaluate(&network.identities(&[&network.peer])).is_err());
}

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| bundle(&Topology::duo()));
/// Two peers of each of two organizations.
static PEERS: LazyLock<Vec<Vec<Arc<Identity>>>> = LazyLock::new(|| {
    let msps = config(&BUNDLE).msps().clone();
    let peers = |index| {
        let nodes = organization(&BUNDLE, index).nodes.values();
        nodes.map(|node| msps.identity(&crate::testing::Member::new(&node.sign).creator).unwrap()).collect()
    };
    vec![peers(0), peers(1)]
});

fn rules() -> impl Strategy<Value = Rule> {
    let leaf = (0..2_i32).prop_map(signed_by);
    leaf.prop_recursive(3, 12, 3, |inner| {
        (0..3_i32, proptest::collection::vec(inner, 0..4)).prop_map(|(n, rules)| n_of(n, rules))
    })
}

proptest! {
    #[test]
    fn what_passes_contains_a_smallest_set(rule in rules(), one in 0..3_usize, two in 0..3_usize) {
        let identities = ["Org1MSP", "Org2MSP"].map(|msp_id| role(msp_id, MspRoleType::Peer)).to_vec();
        let envelope = SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities };
        let found = layouts(&envelope, &is_peer);
        let signers: Vec<_> = PEERS[0][..one].iter().chain(&PEERS[1][..two]).cloned().collect();
        let have = BTreeMap::from([("Org1MSP", one), ("Org2MSP", two)]);
        let contains = |layout: &Layout| layout.iter().all(|(msp_id, count)| have[&**msp_id] >= *count);
        if SignaturePolicy::new(envelope).unwrap().evaluate(&signers).is_ok() {
            prop_assert!(found.iter().any(contains), "{:?} does not contain any of {:?}", have, found);
        }
        for (index, small) in found.iter().enumerate() {
            let within = |other: &Layout| small.iter().all(|(id, count)| other.get(id).is_some_and(|known| known >= count));
            prop_assert!(!found.iter().enumerate().any(|(other, large)| other != index && within(large)));
        }
    }
}
