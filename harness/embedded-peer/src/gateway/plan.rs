//! An endorsement plan: which peers to ask, and when there are enough endorsements.
//!
//! As in `internal/pkg/gateway/endorsement.go`, layouts of groups are tried in order, and a failed
//! peer is replaced by another one of its group. The plan knows peers only by number; the caller
//! asks them.

use std::collections::{BTreeMap, VecDeque};

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::protos::Endorsement;

/// A peer, numbered by the caller.
pub(crate) type PeerNumber = usize;

/// A group of a plan.
pub(crate) type Group = usize;

/// The number of endorsements required from each group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    required: BTreeMap<Group, usize>,
    endorsements: Vec<Endorsement>,
}

/// The layouts, the peers, and their results so far.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    layouts: Vec<Option<Layout>>,
    groups: Vec<VecDeque<PeerNumber>>,
    group_of: BTreeMap<PeerNumber, Group>,
    next: usize,
    payload: Option<Vec<u8>>,
    completed: Option<Vec<Endorsement>>,
    /// Failed peers, in the order of their failures.
    pub(crate) details: Vec<ErrorDetail>,
}

impl Plan {
    /// Layouts in the order to try them; peers of each group in the order to ask them.
    pub(crate) fn new(layouts: Vec<BTreeMap<Group, usize>>, groups: Vec<Vec<PeerNumber>>) -> Self {
        let members = groups.iter().enumerate();
        let group_of = members.flat_map(|(group, peers)| peers.iter().map(move |peer| (*peer, group))).collect();
        let layout = |required| Some(Layout { required, endorsements: Vec::new() });
        Self {
            layouts: layouts.into_iter().map(layout).collect(),
            groups: groups.into_iter().map(VecDeque::from).collect(),
            group_of,
            ..Self::default()
        }
    }

    /// Whether a layout is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.completed.is_some()
    }

    /// The peers of the next layout that has enough of them; they are not returned again. Empty if
    /// no layout is left.
    pub(crate) fn endorsers(&mut self) -> Vec<PeerNumber> {
        loop {
            while self.layouts.get(self.next).is_some_and(Option::is_none) {
                self.next += 1;
            }
            let Some(Some(layout)) = self.layouts.get(self.next) else { return Vec::new() };
            let mut endorsers = Vec::new();
            let mut is_short = false;
            for (group, quantity) in &layout.required {
                let Some(peers) = self.groups.get_mut(*group).filter(|peers| peers.len() >= *quantity) else {
                    is_short = true;
                    break;
                };
                endorsers.extend(peers.drain(..quantity));
            }
            if !is_short && !endorsers.is_empty() {
                return endorsers;
            }
            self.layouts[self.next] = None;
            self.next += 1;
        }
    }

    /// Adds a peer's endorsement. Returns false if its payload differs from the previous one.
    pub(crate) fn endorsed(&mut self, peer: PeerNumber, payload: Vec<u8>, endorsement: Option<&Endorsement>) -> bool {
        let group = self.group_of.get(&peer).copied();
        // The first endorser may be from outside of this plan.
        if let Some(peers) = group.and_then(|group| self.groups.get_mut(group)) {
            peers.retain(|other| *other != peer);
        }
        match &self.payload {
            None => self.payload = Some(payload),
            Some(first) if *first != payload => return false,
            Some(_) => {}
        }
        let Some(group) = group else { return true };
        for layout in self.layouts.iter_mut().skip(self.next).flatten() {
            let Some(quantity) = layout.required.get_mut(&group) else { continue };
            *quantity = quantity.saturating_sub(1);
            layout.endorsements.extend(endorsement.cloned());
            if *quantity == 0 {
                layout.required.remove(&group);
            }
            if layout.required.is_empty() {
                self.completed = Some(std::mem::take(&mut layout.endorsements));
                return true;
            }
        }
        true
    }

    /// Another peer to replace a failed one, or the exhausted group.
    pub(crate) fn replacement(&mut self, peer: PeerNumber) -> Result<PeerNumber, Option<Group>> {
        let group = self.group_of.get(&peer).copied();
        group.and_then(|group| self.groups.get_mut(group)).and_then(VecDeque::pop_front).ok_or(group)
    }

    /// Drops the layouts that need an exhausted group and continues with the next one.
    pub(crate) fn abandon(&mut self, exhausted: &[Group]) {
        for layout in self.layouts.iter_mut().skip(self.next) {
            let needs = |layout: &Layout| exhausted.iter().any(|group| layout.required.contains_key(group));
            if layout.as_ref().is_some_and(needs) {
                *layout = None;
            }
        }
        self.next += 1;
    }

    /// The payload and one endorsement per endorser; `None` if no layout is complete.
    pub(crate) fn finish(self) -> Option<(Vec<u8>, Vec<Endorsement>)> {
        let mut unique: Vec<Endorsement> = Vec::new();
        for endorsement in self.completed? {
            if !unique.iter().any(|other| other.endorser == endorsement.endorser) {
                unique.push(endorsement);
            }
        }
        Some((self.payload?, unique))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Group = 0;
    const B: Group = 1;
    const C: Group = 2;

    /// Peers 1 and 2 are in A, 3 and 4 in B, 5 in C.
    fn plan(layouts: &[&[(Group, usize)]]) -> Plan {
        let layouts = layouts.iter().map(|layout| layout.iter().copied().collect()).collect();
        Plan::new(layouts, vec![vec![1, 2], vec![3, 4], vec![5]])
    }

    fn by(peer: PeerNumber) -> Endorsement {
        Endorsement { endorser: vec![u8::try_from(peer).unwrap()], signature: Vec::new() }
    }

    fn endorse(plan: &mut Plan, peer: PeerNumber) -> bool {
        plan.endorsed(peer, b"same".to_vec(), Some(&by(peer)))
    }

    #[test]
    fn a_layout_is_complete_when_each_group_endorsed() {
        let mut plan = plan(&[&[(A, 1), (B, 2)]]);
        assert_eq!(plan.endorsers(), [1, 3, 4]);
        for peer in [1, 3] {
            assert!(endorse(&mut plan, peer));
            assert!(!plan.is_complete());
        }
        assert!(endorse(&mut plan, 4));
        assert_eq!(plan.finish().unwrap(), (b"same".to_vec(), vec![by(1), by(3), by(4)]));
    }

    #[test]
    fn the_first_endorser_is_not_asked_again() {
        let mut plan = plan(&[&[(A, 1), (B, 1)]]);
        assert!(endorse(&mut plan, 2));
        assert_eq!(plan.endorsers(), [3]);
        endorse(&mut plan, 3);
        assert!(plan.is_complete());
        let mut alone = self::plan(&[&[(A, 1)]]);
        endorse(&mut alone, 1);
        assert!(alone.is_complete());
    }

    #[test]
    fn failed_peers_are_replaced_then_the_layout() {
        let mut plan = plan(&[&[(A, 1), (C, 1)], &[(A, 1), (B, 1)]]);
        assert!(endorse(&mut plan, 1));
        assert_eq!(plan.endorsers(), [5]);
        assert_eq!(plan.replacement(5), Err(Some(C)));
        plan.abandon(&[C]);
        assert_eq!(plan.endorsers(), [3]);
        assert_eq!(plan.replacement(3), Ok(4));
        assert!(endorse(&mut plan, 4));
        assert_eq!(plan.finish().unwrap().1, [by(1), by(4)]);
    }

    #[test]
    fn layouts_with_too_few_peers_are_skipped() {
        let mut plan = plan(&[&[(C, 2)], &[(B, 1)]]);
        assert_eq!(plan.endorsers(), [3]);
        plan.abandon(&[B]);
        assert_eq!(plan.endorsers(), Vec::<PeerNumber>::new());
        assert!(plan.finish().is_none());
    }

    #[test]
    fn differing_payloads_are_rejected() {
        let mut plan = plan(&[&[(A, 1)]]);
        assert!(plan.endorsed(9, b"same".to_vec(), Some(&by(9))));
        assert!(!plan.is_complete());
        assert_eq!(plan.replacement(9), Err(None));
        assert!(!plan.endorsed(1, b"other".to_vec(), Some(&by(1))));
        assert!(!plan.is_complete());
        assert!(endorse(&mut plan, 2));
        assert!(plan.is_complete());
    }

    #[test]
    fn each_endorser_counts_once() {
        let mut plan = plan(&[&[(A, 2)]]);
        for _ in 0..2 {
            assert!(endorse(&mut plan, 1));
        }
        assert_eq!(plan.finish().unwrap().1, [by(1)]);
    }
}
