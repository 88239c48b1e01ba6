//! Which organizations must sign: the smallest sets that satisfy a policy.
//!
//! What gateways and discovery plan with. Who the peers are, the caller knows.

use std::collections::BTreeMap;

use fabric_protos::common::signature_policy::Type;
use fabric_protos::common::{SignaturePolicy, SignaturePolicyEnvelope};

use crate::msp::Principal;

/// How many signatures of which organization (MSP ID) suffice.
pub type Layout = BTreeMap<String, usize>;

/// Policies can have more sets than anybody wants to know; Fabric too stops at a number.
const MOST: usize = 1_000;

/// The smallest sets of organizations that satisfy a policy, the smallest first. A principal for
/// which `available` says no, because no peer satisfies it, is in none of them.
pub fn layouts(policy: &SignaturePolicyEnvelope, available: &dyn Fn(&Principal) -> bool) -> Vec<Layout> {
    let principals: Vec<Option<String>> = policy
        .identities
        .iter()
        .map(Principal::new)
        .map(|principal| available(&principal).then(|| principal.msp_id().map(ToOwned::to_owned)).flatten())
        .collect();
    let mut found = policy.rule.as_ref().map(|rule| sets(rule, &principals)).unwrap_or_default();
    found.sort_by_key(|layout| layout.values().sum::<usize>());
    found
}

/// The smallest sets that satisfy one layout of each of several policies at once.
pub fn all_of(policies: &[Vec<Layout>]) -> Vec<Layout> {
    let mut combined = vec![Layout::new()];
    for layouts in policies {
        let mut next = Vec::new();
        for have in &combined {
            for want in layouts {
                let mut both = have.clone();
                for (msp_id, count) in want {
                    let known = both.entry(msp_id.clone()).or_default();
                    *known = (*known).max(*count);
                }
                insert(&mut next, both);
            }
        }
        combined = next;
    }
    combined.sort_by_key(|layout| layout.values().sum::<usize>());
    combined
}

fn sets(rule: &SignaturePolicy, principals: &[Option<String>]) -> Vec<Layout> {
    match &rule.r#type {
        Some(Type::SignedBy(index)) => {
            let principal = usize::try_from(*index).ok().and_then(|index| principals.get(index));
            let msp_id = principal.and_then(Option::as_ref);
            msp_id.map(|msp_id| Layout::from([(msp_id.clone(), 1)])).into_iter().collect()
        }
        Some(Type::NOutOf(gate)) => {
            let Ok(n) = usize::try_from(gate.n) else { return vec![Layout::new()] };
            if n > gate.rules.len() {
                return Vec::new();
            }
            // By how many of the rules so far are satisfied.
            let mut by_count: Vec<Vec<Layout>> = vec![Vec::new(); n + 1];
            by_count[0].push(Layout::new());
            for rule in &gate.rules {
                let below = sets(rule, principals);
                for count in (0..n).rev() {
                    let sums: Vec<_> =
                        by_count[count].iter().flat_map(|have| below.iter().map(|more| sum(have, more))).collect();
                    for layout in sums.into_iter().take(MOST) {
                        insert(&mut by_count[count + 1], layout);
                    }
                }
            }
            by_count.pop().unwrap_or_default()
        }
        None => Vec::new(),
    }
}

fn sum(left: &Layout, right: &Layout) -> Layout {
    let mut sum = left.clone();
    for (msp_id, count) in right {
        *sum.entry(msp_id.clone()).or_default() += count;
    }
    sum
}

/// Adds a layout unless one that is there needs no more, and removes those that need more.
fn insert(layouts: &mut Vec<Layout>, layout: Layout) {
    let within = |small: &Layout, large: &Layout| {
        small.iter().all(|(msp_id, count)| large.get(msp_id).is_some_and(|known| known >= count))
    };
    if layouts.len() >= MOST || layouts.iter().any(|known| within(known, &layout)) {
        return;
    }
    layouts.retain(|known| !within(&layout, known));
    layouts.push(layout);
}
