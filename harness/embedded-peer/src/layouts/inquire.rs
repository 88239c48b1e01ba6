//! The sets of principals that satisfy one or several signature policies.
//!
//! The algorithm is that of `common/policies/inquire`, so that the layouts are the same as Fabric's. It does not
//! consider which peers exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::{
    MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, SignaturePolicyEnvelope, msp_role, signature_policy,
};
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;

/// The maximum number of sets.
const COMBINATIONS: usize = 10_000;

/// How deep rules may nest. Deeper ones cannot be satisfied.
const DEPTH: usize = 64;

/// A decoded principal, which can be compared with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The encoded principal.
    pub(crate) encoded: MspPrincipal,
    msp_id: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Role(i32),
    Unit(OrganizationUnit),
    Identity(Vec<u8>),
}

/// A set of signers that satisfies a policy. A principal occurs as often as it must sign.
pub(crate) type PrincipalSet = Vec<Arc<Principal>>;

impl Principal {
    /// `None` for principals that cannot be compared: anonymous, combined or malformed ones.
    fn new(principal: &MspPrincipal) -> Option<Self> {
        let bytes = principal.principal.as_slice();
        let (msp_id, kind) = match principal.principal_classification() {
            Classification::Role => {
                let role = MspRole::decode(bytes).ok()?;
                (role.msp_identifier.clone(), Kind::Role(role.role))
            }
            Classification::OrganizationUnit => {
                let unit = OrganizationUnit::decode(bytes).ok()?;
                (unit.msp_identifier.clone(), Kind::Unit(unit))
            }
            Classification::Identity => {
                let identity = SerializedIdentity::decode(bytes).ok()?;
                (identity.mspid, Kind::Identity(identity.id_bytes))
            }
            Classification::Anonymity | Classification::Combined => return None,
        };
        Some(Self { encoded: principal.clone(), msp_id, kind })
    }

    /// Whether every identity that satisfies this principal also satisfies the other, as far as the principals
    /// show.
    fn implies(&self, other: &Self) -> bool {
        if self.msp_id != other.msp_id {
            return false;
        }
        match (&self.kind, &other.kind) {
            (_, Kind::Role(role)) if *role == i32::from(msp_role::MspRoleType::Member) => true,
            (Kind::Unit(one), Kind::Unit(two)) => {
                one.organizational_unit_identifier == two.organizational_unit_identifier
                    && one.certifiers_identifier == two.certifiers_identifier
            }
            (Kind::Role(one), Kind::Role(two)) => one == two,
            (Kind::Identity(one), Kind::Identity(two)) => one == two,
            _ => false,
        }
    }
}

/// The sets of principals that satisfy the policy; none if it cannot be satisfied, or has principals that
/// cannot be compared.
pub(crate) fn satisfied_by(policy: &SignaturePolicyEnvelope) -> Vec<PrincipalSet> {
    let principals: Vec<_> = policy.identities.iter().map(|one| Principal::new(one).map(Arc::new)).collect();
    let Some(rule) = &policy.rule else { return Vec::new() };
    let Some(sets) = sets_of(rule, &principals, DEPTH) else { return Vec::new() };
    if sets.iter().any(Vec::is_empty) { Vec::new() } else { sets }
}

/// `None` if the rule is malformed.
fn sets_of(rule: &SignaturePolicy, principals: &[Option<Arc<Principal>>], depth: usize) -> Option<Vec<PrincipalSet>> {
    if depth == 0 {
        return None;
    }
    match rule.r#type.as_ref()? {
        signature_policy::Type::SignedBy(index) => {
            let principal = principals.get(usize::try_from(*index).ok()?)?.clone()?;
            Some(vec![vec![principal]])
        }
        signature_policy::Type::NOutOf(rules) => {
            let below: Vec<Vec<PrincipalSet>> =
                rules.rules.iter().map(|rule| sets_of(rule, principals, depth - 1)).collect::<Option<_>>()?;
            let wanted = usize::try_from(rules.n).unwrap_or_default();
            let mut sets = Vec::new();
            choose(&below, wanted, &mut Vec::new(), &mut sets);
            Some(sets)
        }
    }
}

/// All combinations of one set from each of `wanted` alternatives.
fn choose(alternatives: &[Vec<PrincipalSet>], wanted: usize, taken: &mut PrincipalSet, sets: &mut Vec<PrincipalSet>) {
    if sets.len() >= COMBINATIONS {
        return;
    }
    if wanted == 0 {
        sets.push(taken.clone());
        return;
    }
    let Some((first, rest)) = alternatives.split_first() else { return };
    if alternatives.len() < wanted {
        return;
    }
    let length = taken.len();
    for set in first {
        taken.extend(set.iter().cloned());
        choose(rest, wanted - 1, taken, sets);
        taken.truncate(length);
    }
    choose(rest, wanted, taken, sets);
}

/// The sets that satisfy two policies, from the sets that satisfy each.
pub(crate) fn merge(one: Vec<PrincipalSet>, two: Vec<PrincipalSet>) -> Vec<PrincipalSet> {
    let one_in_two = contained(&one, &two);
    let mut merged = pairs(&one_in_two, &one, &two);
    let one_left = without(one, &one_in_two.keys().copied().collect());
    let two_in_one = contained(&two, &one_left);
    merged.extend(pairs(&two_in_one, &two, &one_left));
    let two_left_indices: BTreeSet<usize> = two_in_one.keys().copied().collect();

    let containing_in_one: BTreeSet<usize> = two_in_one.values().flatten().copied().collect();
    let containing_in_two: BTreeSet<usize> = one_in_two.values().flatten().copied().collect();
    let one_left = without(one_left, &containing_in_one);
    // Fabric excludes by index among the remaining sets.
    let two_left = without(without(two, &two_left_indices), &containing_in_two);
    for left in &one_left {
        for right in &two_left {
            if merged.len() >= COMBINATIONS {
                return reduce(merged);
            }
            merged.push(with_plurality(left, right));
        }
    }
    reduce(merged)
}

/// For each set of `inner`, by index, the sets of `outer` that contain it.
fn contained(inner: &[PrincipalSet], outer: &[PrincipalSet]) -> BTreeMap<usize, Vec<usize>> {
    let containing = |set: &PrincipalSet| -> Vec<usize> {
        outer.iter().enumerate().filter(|(_, other)| is_contained(set, other)).map(|(index, _)| index).collect()
    };
    inner
        .iter()
        .enumerate()
        .map(|(index, set)| (index, containing(set)))
        .filter(|(_, containing)| !containing.is_empty())
        .collect()
}

fn pairs(mapping: &BTreeMap<usize, Vec<usize>>, inner: &[PrincipalSet], outer: &[PrincipalSet]) -> Vec<PrincipalSet> {
    mapping
        .iter()
        .flat_map(|(index, containing)| containing.iter().map(move |other| (index, other)))
        .filter_map(|(index, other)| Some(with_plurality(inner.get(*index)?, outer.get(*other)?)))
        .collect()
}

fn without(sets: Vec<PrincipalSet>, indices: &BTreeSet<usize>) -> Vec<PrincipalSet> {
    sets.into_iter().enumerate().filter(|(index, _)| !indices.contains(index)).map(|(_, set)| set).collect()
}

/// Whether each principal of `set` is implied by one in `other`. Then `other` satisfies `set`, except for how
/// often a principal must sign.
fn is_contained(set: &PrincipalSet, other: &PrincipalSet) -> bool {
    set.iter().all(|one| other.iter().any(|two| two.implies(one)))
}

/// Whether `other` contains each principal of `set`.
fn is_subset(set: &PrincipalSet, other: &PrincipalSet) -> bool {
    set.iter().all(|one| other.contains(one))
}

/// The containing set, with the principals of the contained one that it does not cover.
fn with_plurality(contained: &PrincipalSet, containing: &PrincipalSet) -> PrincipalSet {
    let mut used = vec![false; containing.len()];
    let mut result = containing.clone();
    for principal in contained {
        let cover = (0..containing.len()).find(|index| !used[*index] && containing[*index].implies(principal));
        match cover {
            Some(index) => used[index] = true,
            None => result.push(Arc::clone(principal)),
        }
    }
    result
}

/// Removes sets that contain another one.
fn reduce(mut sets: Vec<PrincipalSet>) -> Vec<PrincipalSet> {
    loop {
        let before = sets.len();
        let keep: Vec<bool> = sets
            .iter()
            .enumerate()
            .map(|(index, set)| {
                let mut contains = false;
                for (other_index, other) in sets.iter().enumerate().filter(|(other_index, _)| *other_index != index) {
                    if is_subset(other, set) {
                        contains = true;
                    }
                    // Of two that contain each other, the first is kept.
                    if is_subset(set, other) && index < other_index {
                        contains = false;
                    }
                }
                !contains
            })
            .collect();
        let mut keep = keep.into_iter();
        sets.retain(|_| keep.next().unwrap_or(true));
        if sets.len() == before {
            return sets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::common::signature_policy::NOutOf;

    const MEMBER: i32 = msp_role::MspRoleType::Member as i32;
    const PEER: i32 = msp_role::MspRoleType::Peer as i32;

    fn role(msp_id: &str, role: i32) -> MspPrincipal {
        let role = MspRole { msp_identifier: msp_id.to_owned(), role };
        MspPrincipal { principal_classification: Classification::Role.into(), principal: role.encode_to_vec() }
    }

    fn by(index: i32) -> SignaturePolicy {
        SignaturePolicy { r#type: Some(signature_policy::Type::SignedBy(index)) }
    }

    fn out_of(n: i32, rules: Vec<SignaturePolicy>) -> SignaturePolicy {
        SignaturePolicy { r#type: Some(signature_policy::Type::NOutOf(NOutOf { n, rules })) }
    }

    fn policy(rule: SignaturePolicy, identities: &[(&str, i32)]) -> SignaturePolicyEnvelope {
        let identities = identities.iter().map(|(msp_id, kind)| role(msp_id, *kind)).collect();
        SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }
    }

    /// Sets as text, a letter for each member and a letter with a mark for each peer.
    fn text(sets: &[PrincipalSet]) -> Vec<String> {
        let name = |one: &Arc<Principal>| match one.kind {
            Kind::Role(role) if role == PEER => format!("{}'", one.msp_id),
            _ => one.msp_id.clone(),
        };
        sets.iter().map(|set| set.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn two_of_three_is_three_sets_and_rules_nest() {
        let members = [("A", MEMBER), ("B", MEMBER), ("C", MEMBER)];
        let two = policy(out_of(2, vec![by(0), by(1), by(2)]), &members);
        assert_eq!(text(&satisfied_by(&two)), ["A B", "A C", "B C"]);
        let nested = policy(out_of(2, vec![by(0), out_of(1, vec![by(1), by(2)])]), &members);
        assert_eq!(text(&satisfied_by(&nested)), ["A B", "A C"]);
        let twice = policy(out_of(2, vec![by(0), by(0)]), &members);
        assert_eq!(text(&satisfied_by(&twice)), ["A A"]);
    }

    #[test]
    fn malformed_and_unsatisfiable_policies_have_no_sets() {
        let members = [("A", MEMBER)];
        for rule in [by(1), by(-1), out_of(0, vec![by(0)]), out_of(2, vec![by(0)]), SignaturePolicy { r#type: None }] {
            assert_eq!(satisfied_by(&policy(rule.clone(), &members)), Vec::<PrincipalSet>::new(), "{rule:?}");
        }
        let mut anonymous = policy(by(0), &members);
        anonymous.identities[0].principal_classification = Classification::Anonymity.into();
        assert!(satisfied_by(&anonymous).is_empty());
        let deep = (0..200).fold(by(0), |rule, _| out_of(1, vec![rule]));
        assert!(satisfied_by(&policy(deep, &members)).is_empty());
    }

    #[test]
    fn the_number_of_sets_is_bounded() {
        let rules = (0..30).map(|_| by(0)).collect();
        assert_eq!(satisfied_by(&policy(out_of(15, rules), &[("A", MEMBER)])).len(), COMBINATIONS);
    }

    #[test]
    fn policies_merge_to_what_satisfies_both() {
        let any = |identities: &[(&str, i32)]| {
            let rules = (0..identities.len()).map(|index| by(i32::try_from(index).unwrap())).collect();
            satisfied_by(&policy(out_of(1, rules), identities))
        };
        let all = |identities: &[(&str, i32)]| {
            let rules: Vec<_> = (0..identities.len()).map(|index| by(i32::try_from(index).unwrap())).collect();
            satisfied_by(&policy(out_of(i32::try_from(rules.len()).unwrap(), rules), identities))
        };
        // A peer of A is a member of A.
        assert_eq!(text(&merge(any(&[("A", MEMBER)]), any(&[("A", PEER)]))), ["A'"]);
        assert_eq!(text(&merge(any(&[("A", PEER)]), any(&[("A", MEMBER)]))), ["A'"]);
        // Either of the two, and B: the set of A must be combined with B's.
        assert_eq!(text(&merge(any(&[("A", PEER), ("B", PEER)]), any(&[("B", PEER)]))), ["B'"]);
        assert_eq!(text(&merge(any(&[("A", PEER)]), any(&[("B", PEER)]))), ["B' A'"]);
        assert_eq!(text(&merge(all(&[("A", PEER), ("B", PEER)]), any(&[("B", PEER)]))), ["A' B'"]);
        // One signature can't stand for two.
        assert_eq!(text(&merge(all(&[("A", MEMBER), ("A", MEMBER)]), any(&[("A", PEER)]))), ["A' A"]);
    }
}
