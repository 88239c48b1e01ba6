//! Fault injection: messages fail, are delayed or are lost.
//!
//! A test adds [`Rule`]s; nodes call [`Faults::check`] for each message. Without rules that is one read of a
//! counter. A failed request of a chaincode is answered with ERROR, a failed call of a service with a gRPC
//! status.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::trace::Direction;

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Fails with this text.
    Fail(String),
    /// Arrives after this delay. Other messages may overtake it.
    Delay(Duration),
    /// Is lost without an error.
    Drop,
}

/// Which messages a fault applies to, and the fault.
///
/// A new rule matches every message, any number of times.
///
/// ```
/// use embedded_peer::faults::{Action, Rule};
/// use embedded_peer::trace::Direction;
///
/// // The third PUT_STATE that the chaincode sends to this peer fails.
/// Rule::new(Action::Fail("disk full".to_owned()))
///     .on("peer0.org1.example.com")
///     .going(Direction::ChaincodeToPeer)
///     .of_type("PUT_STATE")
///     .from_nth(3)
///     .times(1);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    node: Option<String>,
    direction: Option<Direction>,
    message_type: Option<String>,
    first: u64,
    times: u64,
    action: Action,
}

impl Rule {
    /// A rule that applies `action` to every message.
    pub fn new(action: Action) -> Self {
        Self { node: None, direction: None, message_type: None, first: 1, times: u64::MAX, action }
    }

    /// Matches only on the node with this name.
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Matches only this direction.
    pub fn going(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// Matches only this message type of the shim protocol (`GET_STATE`) or gRPC method
    /// (`gateway.Gateway/Submit`).
    pub fn of_type(mut self, message_type: impl Into<String>) -> Self {
        self.message_type = Some(message_type.into());
        self
    }

    /// Matches only from the nth message on, counted from 1 among those that match otherwise, since the rule was
    /// added.
    pub fn from_nth(mut self, nth: u64) -> Self {
        self.first = nth.max(1);
        self
    }

    /// Applies at most this many times.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    fn matches(&self, node: &str, direction: Direction, message_type: &str) -> bool {
        self.node.as_deref().is_none_or(|wanted| wanted == node)
            && self.direction.is_none_or(|wanted| wanted == direction)
            && self.message_type.as_deref().is_none_or(|wanted| wanted == message_type)
    }
}

/// Identifies an added rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

/// The rules of a network. Clones share the rules.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    number: AtomicUsize,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    added: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: RuleId,
    rule: Rule,
    seen: u64,
    fired: u64,
}

impl Faults {
    /// No rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. If several match, the one added first applies.
    pub fn add(&self, rule: Rule) -> RuleId {
        self.change(|rules| {
            rules.added += 1;
            let id = RuleId(rules.added);
            rules.active.push(Active { id, rule, seen: 0, fired: 0 });
            id
        })
    }

    /// Removes a rule and returns how often it was applied, or `None` if there is no such rule.
    pub fn remove(&self, id: RuleId) -> Option<u64> {
        self.change(|rules| {
            let index = rules.active.iter().position(|active| active.id == id)?;
            Some(rules.active.remove(index).fired)
        })
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.change(|rules| rules.active.clear());
    }

    /// How often a rule has been applied, or `None` if there is no such rule.
    pub fn fired(&self, id: RuleId) -> Option<u64> {
        self.change(|rules| rules.active.iter().find(|active| active.id == id).map(|active| active.fired))
    }

    /// The fault for this message, if any. Counts the message.
    pub fn check(&self, node: &str, direction: Direction, message_type: &str) -> Option<Action> {
        if self.shared.number.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.change(|rules| {
            let mut decided = None;
            for active in &mut rules.active {
                if !active.rule.matches(node, direction, message_type) {
                    continue;
                }
                active.seen += 1;
                if decided.is_none() && active.seen >= active.rule.first && active.fired < active.rule.times {
                    active.fired += 1;
                    decided = Some(active.rule.action.clone());
                }
            }
            decided
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let mut rules = self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut rules);
        self.shared.number.store(rules.active.len(), Ordering::Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Direction = Direction::ChaincodeToPeer;

    fn fail(text: &str) -> Action {
        Action::Fail(text.to_owned())
    }

    #[test]
    fn a_rule_applies_only_to_matching_messages() {
        let faults = Faults::new();
        faults.add(Rule::new(Action::Drop).on("peer0").going(UP).of_type("GET_STATE"));
        assert_eq!(faults.check("peer1", UP, "GET_STATE"), None);
        assert_eq!(faults.check("peer0", Direction::PeerToChaincode, "GET_STATE"), None);
        assert_eq!(faults.check("peer0", UP, "PUT_STATE"), None);
        assert_eq!(faults.check("peer0", UP, "GET_STATE"), Some(Action::Drop));
    }

    #[test]
    fn a_rule_starts_at_its_nth_message_and_ends_after_its_times() {
        let faults = Faults::new();
        let id = faults.add(Rule::new(fail("x")).from_nth(2).times(2));
        let hit: Vec<bool> = (0..5).map(|_| faults.check("p", UP, "GET_STATE").is_some()).collect();
        assert_eq!(hit, [false, true, true, false, false]);
        assert_eq!(faults.fired(id), Some(2));
        assert_eq!(faults.remove(id), Some(2));
        assert_eq!(faults.remove(id), None);
    }

    #[test]
    fn the_first_rule_applies_and_the_second_still_counts() {
        let faults = Faults::new();
        faults.add(Rule::new(fail("first")).times(1));
        faults.add(Rule::new(fail("second")).from_nth(2));
        assert_eq!(faults.check("p", UP, "GET_STATE"), Some(fail("first")));
        assert_eq!(faults.check("p", UP, "GET_STATE"), Some(fail("second")));
        faults.clear();
        assert_eq!(faults.check("p", UP, "GET_STATE"), None);
    }
}
