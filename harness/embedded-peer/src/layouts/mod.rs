//! Endorsement layouts: which combinations of peers satisfy the policies of an interest
//! (`discovery/endorsement/endorsement.go`).
//!
//! The caller provides the policies and the peers.

pub(crate) mod inquire;

use std::collections::BTreeMap;

use fabric_protos::common::{MspPrincipal, SignaturePolicyEnvelope};
use fabric_protos::protos::{ChaincodeCall, ChaincodeInterest};

use crate::msp::Principal;
use inquire::{PrincipalSet, merge, satisfied_by};

/// The policies of one chaincode of an interest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// The chaincode's endorsement policy, with resolved references.
    pub(crate) policy: SignaturePolicyEnvelope,
    /// The endorsement policies of collections that have one.
    pub(crate) collection_policies: BTreeMap<String, SignaturePolicyEnvelope>,
    /// The members of each collection.
    pub(crate) members: BTreeMap<String, Vec<MspPrincipal>>,
}

/// The groups of peers that can endorse, whether or not they have the chaincodes.
#[derive(Debug)]
pub(crate) struct Groups {
    /// By group, the numbers of the peers that satisfy its principal and may read the collections.
    pub(crate) peers: Vec<Vec<usize>>,
    /// The layouts: how many peers of each group must endorse.
    pub(crate) layouts: Vec<BTreeMap<usize, usize>>,
}

/// The currently possible layouts (Fabric's endorsement descriptor).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The peers of each group.
    pub(crate) peers: Vec<Vec<usize>>,
    /// The layouts: how many peers of each group must endorse.
    pub(crate) layouts: Vec<BTreeMap<usize, usize>>,
}

/// The groups and layouts that satisfy every policy of an interest.
///
/// `metadata` has an entry for each call of the interest, in order. Peers have numbers below `count`.
///
/// # Errors
///
/// Fabric's text: there is no layout.
pub(crate) fn groups(
    interest: &ChaincodeInterest,
    metadata: &[Metadata],
    count: usize,
    satisfies: impl Fn(usize, &Principal) -> bool,
) -> Result<Groups, String> {
    let calls = || interest.chaincodes.iter().zip(metadata);
    let mut filters = Vec::new();
    for (call, metadata) in calls().filter(|(call, _)| !call.no_private_reads) {
        for collection in &call.collection_names {
            let members = metadata.members.get(collection).ok_or_else(|| {
                let name = &call.name;
                format!("collection {collection} doesn't exist in collection config for chaincode {name}")
            })?;
            filters.push(members.iter().map(Principal::new).collect::<Vec<_>>());
        }
    }
    let may_see = |peer: &usize| filters.iter().all(|any| any.iter().any(|principal| satisfies(*peer, principal)));
    let eligible: Vec<usize> = (0..count).filter(may_see).collect();

    let sets = principal_sets(calls())?;
    let mut principals: Vec<MspPrincipal> = Vec::new();
    let mut layouts = Vec::with_capacity(sets.len());
    for set in &sets {
        let mut layout = BTreeMap::new();
        for principal in set {
            let principal = &principal.encoded;
            let known = principals.iter().position(|other| other == principal);
            let group = known.unwrap_or_else(|| {
                principals.push(principal.clone());
                principals.len() - 1
            });
            *layout.entry(group).or_default() += 1;
        }
        layouts.push(layout);
    }
    let satisfying = |principal: &MspPrincipal| {
        let principal = Principal::new(principal);
        eligible.iter().copied().filter(|peer| satisfies(*peer, &principal)).collect()
    };
    Ok(Groups { peers: principals.iter().map(satisfying).collect(), layouts })
}

impl Groups {
    /// The layouts that are possible with the peers that have joined the channel and have the chaincodes.
    ///
    /// # Errors
    ///
    /// Fabric's text: there is none.
    pub(crate) fn descriptor(
        &self,
        has_joined: impl Fn(usize) -> bool,
        has_chaincodes: impl Fn(usize) -> bool,
    ) -> Result<Descriptor, String> {
        let only = |keep: &dyn Fn(usize) -> bool, groups: &[Vec<usize>]| -> Vec<Vec<usize>> {
            groups.iter().map(|peers| peers.iter().copied().filter(|peer| keep(*peer)).collect()).collect()
        };
        let satisfied = |layouts: &[BTreeMap<usize, usize>], groups: &[Vec<usize>]| -> Vec<BTreeMap<usize, usize>> {
            let enough = |(group, quantity): (&usize, &usize)| groups[*group].len() >= *quantity;
            layouts.iter().filter(|layout| layout.iter().all(enough)).cloned().collect()
        };
        let there = only(&has_joined, &self.peers);
        let layouts = satisfied(&self.layouts, &there);
        if layouts.is_empty() {
            return Err("no peer combination can satisfy the endorsement policy".to_owned());
        }
        let mut peers = only(&has_chaincodes, &there);
        for (group, peers) in peers.iter_mut().enumerate() {
            if !layouts.iter().any(|layout| layout.contains_key(&group)) {
                peers.clear();
            }
        }
        let layouts = satisfied(&layouts, &peers);
        if layouts.is_empty() {
            return Err("required chaincodes are not installed on sufficient peers".to_owned());
        }
        Ok(Descriptor { peers, layouts })
    }
}

/// The sets of principals that satisfy all policies of the calls.
fn principal_sets<'a>(
    calls: impl Iterator<Item = (&'a ChaincodeCall, &'a Metadata)> + Clone,
) -> Result<Vec<PrincipalSet>, String> {
    let mut alternatives = Vec::new();
    for (call, metadata) in calls.clone() {
        for policy in policies(call, metadata)? {
            let sets = satisfied_by(policy);
            if sets.is_empty() {
                return Err("endorsement policy cannot be satisfied".to_owned());
            }
            alternatives.push(sets);
        }
    }
    let mut by_key = Vec::new();
    for policy in calls.flat_map(|(call, _)| &call.key_policies) {
        let sets = satisfied_by(policy);
        if sets.is_empty() {
            return Err("state based endorsement policy cannot be satisfied".to_owned());
        }
        by_key.push(sets);
    }
    alternatives.extend(by_key.into_iter().reduce(merge));
    let none = || "no principal sets remained after filtering".to_owned();
    alternatives.into_iter().reduce(merge).ok_or_else(none)
}

/// The policies of a call, without duplicates.
fn policies<'a>(call: &ChaincodeCall, metadata: &'a Metadata) -> Result<Vec<&'a SignaturePolicyEnvelope>, String> {
    let mut policies: Vec<&SignaturePolicyEnvelope> = Vec::new();
    for collection in &call.collection_names {
        let policy = metadata.collection_policies.get(collection).unwrap_or(&metadata.policy);
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    if policies.is_empty() {
        policies.push(&metadata.policy);
    }
    let is_usable = |policy: &&SignaturePolicyEnvelope| !policy.identities.is_empty() && policy.rule.is_some();
    if !policies.iter().all(is_usable) {
        return Err("policy not found".to_owned());
    }
    if call.disregard_namespace_policy {
        if call.key_policies.is_empty() && policies.len() == 1 {
            return Err(format!(
                "requested to disregard chaincode {}'s policy but key and collection policies are missing, either disable DisregardNamespacePolicy or specify at least one key policy or at least one collection policy",
                call.name
            ));
        }
        policies.remove(0);
    }
    Ok(policies)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::n_of_roles;
    use fabric_protos::common::msp_role::MspRoleType;

    /// Peers 0 and 1 are of A, 2 is of B, 3 is of C.
    const PEERS: [&str; 4] = ["A", "A", "B", "C"];

    fn call(name: &str) -> ChaincodeCall {
        ChaincodeCall { name: name.to_owned(), ..ChaincodeCall::default() }
    }

    fn peers_of(n: usize, msp_ids: &[&str]) -> SignaturePolicyEnvelope {
        n_of_roles(n, MspRoleType::Peer, msp_ids)
    }

    fn metadata(n: usize, msp_ids: &[&str]) -> Metadata {
        Metadata { policy: peers_of(n, msp_ids), ..Metadata::default() }
    }

    fn with_collection(
        mut metadata: Metadata,
        name: &str,
        members: &[&str],
        policy: Option<SignaturePolicyEnvelope>,
    ) -> Metadata {
        metadata.members.insert(name.to_owned(), n_of_roles(1, MspRoleType::Member, members).identities);
        metadata.collection_policies.extend(policy.map(|policy| (name.to_owned(), policy)));
        metadata
    }

    fn made(calls: &[ChaincodeCall], metadata: &[Metadata]) -> Result<Groups, String> {
        let interest = ChaincodeInterest { chaincodes: calls.to_vec() };
        groups(&interest, metadata, PEERS.len(), |peer, principal| principal.msp_id() == Some(PEERS[peer]))
    }

    /// Each layout as the peers of its groups, how many of them, in an order of its own.
    fn layouts(groups: &Groups) -> Vec<Vec<(Vec<usize>, usize)>> {
        let shown = |layout: &BTreeMap<usize, usize>| {
            let mut groups: Vec<_> =
                layout.iter().map(|(group, count)| (groups.peers[*group].clone(), *count)).collect();
            groups.sort();
            groups
        };
        groups.layouts.iter().map(shown).collect()
    }

    #[test]
    fn a_policy_becomes_layouts_of_groups() {
        let two = made(&[call("c")], &[metadata(2, &["A", "B", "C"])]).unwrap();
        let [a, b, c] = [(vec![0, 1], 1), (vec![2], 1), (vec![3], 1)];
        assert_eq!(layouts(&two), [vec![a.clone(), b.clone()], vec![a.clone(), c.clone()], vec![b, c]]);
        assert_eq!(two.layouts[0], [(0, 1), (1, 1)].into());
    }

    #[test]
    fn layouts_without_enough_peers_are_removed() {
        let two = made(&[call("c")], &[metadata(2, &["A", "B", "C"])]).unwrap();
        let possible = two.descriptor(|peer| peer != 3, |_| true).unwrap();
        assert_eq!((possible.layouts.len(), &possible.peers[0]), (1, &vec![0, 1]));
        let error = two.descriptor(|peer| peer < 2, |_| true).unwrap_err();
        assert_eq!(error, "no peer combination can satisfy the endorsement policy");
        let error = two.descriptor(|_| true, |peer| peer < 2).unwrap_err();
        assert_eq!(error, "required chaincodes are not installed on sufficient peers");
    }

    #[test]
    fn the_policies_of_all_called_chaincodes_apply() {
        let both = made(&[call("c"), call("d")], &[metadata(1, &["A"]), metadata(1, &["B", "A"])]).unwrap();
        assert_eq!(layouts(&both), [vec![(vec![0, 1], 1)]]);
        let both = made(&[call("c"), call("d")], &[metadata(1, &["A"]), metadata(1, &["B"])]).unwrap();
        assert_eq!(layouts(&both), [vec![(vec![0, 1], 1), (vec![2], 1)]]);
        let error = made(&[call("c")], &[Metadata::default()]).unwrap_err();
        assert_eq!(error, "policy not found");
    }

    #[test]
    fn collections_need_members_and_their_endorsement_policy() {
        let collection = ChaincodeCall { collection_names: vec!["secret".to_owned()], ..call("c") };
        let any = with_collection(metadata(1, &["A", "B", "C"]), "secret", &["B", "C"], None);
        let read = made(std::slice::from_ref(&collection), std::slice::from_ref(&any)).unwrap();
        let possible = read.descriptor(|_| true, |_| true).unwrap();
        assert_eq!(possible.peers, [vec![], vec![2], vec![3]]);
        let written = ChaincodeCall { no_private_reads: true, ..collection.clone() };
        let possible = made(&[written], &[any]).unwrap().descriptor(|_| true, |_| true).unwrap();
        assert_eq!(possible.peers, [vec![0, 1], vec![2], vec![3]]);
        let own = with_collection(metadata(1, &["A"]), "secret", &["A", "B"], Some(peers_of(2, &["A", "B"])));
        assert_eq!(
            layouts(&made(std::slice::from_ref(&collection), &[own]).unwrap()),
            [vec![(vec![0, 1], 1), (vec![2], 1)]]
        );
        let error = made(&[collection], &[metadata(1, &["A"])]).unwrap_err();
        assert_eq!(error, "collection secret doesn't exist in collection config for chaincode c");
    }

    #[test]
    fn policies_of_keys_join_or_replace_the_chaincodes_own() {
        let keyed = ChaincodeCall { key_policies: vec![peers_of(1, &["C"])], ..call("c") };
        let joined = made(std::slice::from_ref(&keyed), &[metadata(1, &["A"])]).unwrap();
        assert_eq!(layouts(&joined), [vec![(vec![0, 1], 1), (vec![3], 1)]]);
        let alone = ChaincodeCall { disregard_namespace_policy: true, ..keyed };
        assert_eq!(layouts(&made(&[alone], &[metadata(1, &["A"])]).unwrap()), [vec![(vec![3], 1)]]);
        let nothing = ChaincodeCall { disregard_namespace_policy: true, ..call("c") };
        let error = made(&[nothing], &[metadata(1, &["A"])]).unwrap_err();
        assert!(error.starts_with("requested to disregard chaincode c's policy"), "{error}");
    }
}
