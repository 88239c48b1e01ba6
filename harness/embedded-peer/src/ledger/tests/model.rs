//! Compares random, interleaved transactions with a simple model without trees, hashes or batches:
//! it copies complete states, applies transactions in order, and checks every read again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fabric_protos::protos::TxValidationCode;
use proptest::prelude::*;

use super::super::*;
use super::support::{Endorsed, Rules, commit, endorse, ledger};

const NAMESPACES: [&str; 2] = ["one", "two"];
const KEYS: u8 = 130;

/// An action of a transaction, on numbered keys.
#[derive(Debug, Clone)]
enum Action {
    Read(usize, u8),
    Write(usize, u8, u8),
    Delete(usize, u8),
    /// Start, end and number of rows; `None` reads all.
    Range(usize, u8, u8, Option<u8>),
    ReadPrivate(usize, u8),
    ReadHash(usize, u8),
    WritePrivate(usize, u8, u8),
    DeletePrivate(usize, u8),
}

#[derive(Debug, Clone)]
enum Step {
    Simulate(Vec<Action>),
    /// Commits the pool's transactions at these indexes.
    Commit(Vec<prop::sample::Index>),
    Snapshot,
    Restore(prop::sample::Index),
}

fn action() -> impl Strategy<Value = Action> {
    // Few keys, so that transactions conflict.
    let namespace = 0..NAMESPACES.len();
    let key = prop_oneof![4 => 0..6_u8, 1 => 0..KEYS];
    let bound = prop_oneof![2 => 0..8_u8, 1 => 0..KEYS];
    prop_oneof![
        4 => (namespace.clone(), key.clone()).prop_map(|(namespace, key)| Action::Read(namespace, key)),
        4 => (namespace.clone(), key.clone(), 1..=255_u8).prop_map(|(namespace, key, value)| Action::Write(namespace, key, value)),
        2 => (namespace.clone(), key.clone()).prop_map(|(namespace, key)| Action::Delete(namespace, key)),
        2 => (namespace.clone(), bound.clone(), bound, prop::option::of(0..60_u8))
            .prop_map(|(namespace, start, end, rows)| Action::Range(namespace, start, end, rows)),
        2 => (namespace.clone(), key.clone()).prop_map(|(namespace, key)| Action::ReadPrivate(namespace, key)),
        1 => (namespace.clone(), key.clone()).prop_map(|(namespace, key)| Action::ReadHash(namespace, key)),
        3 => (namespace.clone(), key.clone(), 1..=255_u8).prop_map(|(namespace, key, value)| Action::WritePrivate(namespace, key, value)),
        1 => (namespace, key).prop_map(|(namespace, key)| Action::DeletePrivate(namespace, key)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(action(), 1..6).prop_map(Step::Simulate),
        6 => prop::collection::vec(any::<prop::sample::Index>(), 1..6).prop_map(Step::Commit),
        1 => Just(Step::Snapshot),
        1 => any::<prop::sample::Index>().prop_map(Step::Restore),
    ]
}

type Place = (usize, bool, String);
type Written = (Version, Vec<u8>);
/// A transaction and the value that it wrote; `None` if it deleted the key.
type Change = (String, Option<u8>);

/// The model's state: public and private values, and their history.
#[derive(Debug, Clone, Default, PartialEq)]
struct World {
    height: u64,
    values: BTreeMap<Place, Written>,
    history: BTreeMap<(usize, String), Vec<Change>>,
    codes: BTreeMap<String, (u64, TxValidationCode)>,
}

/// What a transaction read and wants to write.
#[derive(Debug, Clone, Default)]
struct Intent {
    reads: BTreeMap<Place, Option<Version>>,
    ranges: Vec<Seen>,
    writes: BTreeMap<Place, Option<u8>>,
}

/// An observed range.
#[derive(Debug, Clone)]
struct Seen {
    namespace: usize,
    start: String,
    end: String,
    /// Whether the end was reached.
    closed: bool,
    rows: Vec<(String, Version)>,
}

fn name(key: u8) -> String {
    format!("key{key:03}")
}

impl World {
    fn version(&self, place: &Place) -> Option<Version> {
        self.values.get(place).map(|(version, _)| *version)
    }

    fn rows(&self, namespace: usize, start: &str, end: &str, closed: bool) -> Vec<(String, Version)> {
        self.values
            .iter()
            .filter(|((found, private, key), _)| {
                *found == namespace
                    && !private
                    && key.as_str() >= start
                    && (key.as_str() < end || (closed && key == end))
            })
            .map(|((_, _, key), (version, _))| (key.clone(), *version))
            .collect()
    }

    /// Applies one transaction after all previous ones.
    fn apply(
        &mut self,
        id: &str,
        intent: &Intent,
        version: Version,
        touched: &mut BTreeSet<Place>,
    ) -> TxValidationCode {
        for namespace in 0..NAMESPACES.len() {
            let stale = |private: bool| {
                intent.reads.iter().any(|(place, seen)| {
                    (place.0, place.1) == (namespace, private)
                        && (touched.contains(place) || self.version(place) != *seen)
                })
            };
            if stale(false) {
                return TxValidationCode::MvccReadConflict;
            }
            let phantom = |seen: &&Seen| {
                seen.namespace == namespace && self.rows(namespace, &seen.start, &seen.end, seen.closed) != seen.rows
            };
            if intent.ranges.iter().any(|seen| phantom(&seen)) {
                return TxValidationCode::PhantomReadConflict;
            }
            if stale(true) {
                return TxValidationCode::MvccReadConflict;
            }
        }
        for (place, value) in &intent.writes {
            touched.insert(place.clone());
            match value {
                Some(value) => self.values.insert(place.clone(), (version, vec![*value])),
                None => self.values.remove(place),
            };
            if !place.1 {
                self.history.entry((place.0, place.2.clone())).or_default().insert(0, (id.to_owned(), *value));
            }
        }
        TxValidationCode::Valid
    }
}

/// Performs an action on both sides; the reads must be equal.
fn act(action: &Action, world: &World, simulation: &mut Simulation, intent: &mut Intent) {
    let value = |place: &Place| world.values.get(place).map(|(_, value)| value.clone());
    match action {
        Action::Read(namespace, key) => {
            let place = (*namespace, false, name(*key));
            let found = simulation.get_state(NAMESPACES[*namespace], &place.2).unwrap();
            assert_eq!(found.map(|found| found.to_vec()), value(&place));
            intent.reads.insert(place.clone(), world.version(&place));
        }
        Action::Write(namespace, key, value) => {
            simulation.set_state(NAMESPACES[*namespace], &name(*key), vec![*value]).unwrap();
            intent.writes.insert((*namespace, false, name(*key)), Some(*value));
        }
        Action::Delete(namespace, key) => {
            simulation.delete_state(NAMESPACES[*namespace], &name(*key)).unwrap();
            intent.writes.insert((*namespace, false, name(*key)), None);
        }
        Action::Range(namespace, start, end, rows) => {
            range((*namespace, *start, *end, *rows), world, simulation, intent);
        }
        Action::ReadPrivate(namespace, key) | Action::ReadHash(namespace, key) => {
            let place = (*namespace, true, name(*key));
            let namespace = NAMESPACES[*namespace];
            if matches!(action, Action::ReadPrivate(..)) {
                let found = simulation.private_get(namespace, "secrets", &place.2).unwrap();
                assert_eq!(found.map(|found| found.to_vec()), value(&place));
            } else {
                let found = simulation.private_hash(namespace, "secrets", &place.2).unwrap();
                assert_eq!(found.is_some(), value(&place).is_some());
            }
            intent.reads.insert(place.clone(), world.version(&place));
        }
        Action::WritePrivate(namespace, key, value) => {
            simulation.private_set(NAMESPACES[*namespace], "secrets", &name(*key), vec![*value]).unwrap();
            intent.writes.insert((*namespace, true, name(*key)), Some(*value));
        }
        Action::DeletePrivate(namespace, key) => {
            simulation.private_delete(NAMESPACES[*namespace], "secrets", &name(*key)).unwrap();
            intent.writes.insert((*namespace, true, name(*key)), None);
        }
    }
}

fn range(
    (namespace, start, end, limit): (usize, u8, u8, Option<u8>),
    world: &World,
    simulation: &mut Simulation,
    intent: &mut Intent,
) {
    let (start, end) = (name(start), name(end));
    let mut rows = simulation.range(NAMESPACES[namespace], &start, &end).unwrap();
    let expected = world.rows(namespace, &start, &end, false);
    let mut seen = Vec::new();
    // A peer always reads at least one row.
    let limit = limit.map_or(usize::MAX, |limit| usize::from(limit).max(1));
    let mut exhausted = false;
    while seen.len() < limit && !exhausted {
        match simulation.next(&mut rows).unwrap() {
            Some(row) => seen.push(row.key),
            None => exhausted = true,
        }
    }
    let expected: Vec<_> = expected.into_iter().take(seen.len()).collect();
    assert_eq!(seen, expected.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    let last = seen.last().cloned().unwrap_or_default();
    let same = |found: &Seen| {
        let end = if exhausted { &end } else { &last };
        found.namespace == namespace && found.start == start && &found.end == end && found.closed != exhausted
    };
    if !intent.ranges.iter().any(same) {
        let end = if exhausted { end } else { last };
        intent.ranges.push(Seen { namespace, start, end, closed: !exhausted, rows: expected });
    }
}

/// The model and the ledger.
struct Pair {
    ledger: Ledger,
    rules: Rules,
    world: World,
    pool: Vec<(Endorsed, Intent)>,
    snapshots: Vec<(LedgerSnapshot, World, StateView)>,
    simulated: usize,
}

impl Pair {
    fn new() -> Self {
        let ledger = ledger();
        let rules = Rules::of(&[("one", "secrets", 0), ("two", "secrets", 0)]);
        let world = World { height: 1, ..World::default() };
        let mut pair = Self { ledger, rules, world, pool: Vec::new(), snapshots: Vec::new(), simulated: 0 };
        // Enough rows that ranges are hashed.
        pair.simulate(&(0..KEYS).step_by(2).map(|key| Action::Write(0, key, key.max(1))).collect::<Vec<_>>());
        pair.commit(&[0]);
        pair
    }

    fn simulate(&mut self, actions: &[Action]) {
        self.simulated += 1;
        let id = format!("tx{}", self.simulated);
        let mut intent = Intent::default();
        let endorsed = endorse(&self.ledger, &id, |simulation| {
            for action in actions {
                act(action, &self.world, simulation, &mut intent);
            }
        });
        self.pool.push((endorsed, intent));
    }

    fn commit(&mut self, places: &[usize]) {
        let number = self.world.height;
        let mut chosen = Vec::new();
        for place in places {
            if !self.pool.is_empty() {
                chosen.push(self.pool.remove(place % self.pool.len()));
            }
        }
        let before = (self.ledger.state(), self.world.clone());
        let mut touched = BTreeSet::new();
        let mut expected = Vec::new();
        for (place, (endorsed, intent)) in (0..).zip(&chosen) {
            // The restore cleared the transient store; an endorser would still have the data.
            if let Some(private) =
                endorsed.simulated.private.clone().filter(|_| self.ledger.transient().get(&endorsed.id).is_empty())
            {
                self.ledger.transient().put(&endorsed.id, number, private);
            }
            let code = self.world.apply(&endorsed.id, intent, Version::new(number, place), &mut touched);
            self.world.codes.insert(endorsed.id.clone(), (number, code));
            expected.push(code);
        }
        self.world.height += 1;
        let transactions: Vec<_> = chosen.into_iter().map(|(endorsed, _)| endorsed).collect();
        assert_eq!(commit(&self.ledger, &self.rules, &transactions), expected, "the codes of block {number}");
        same(&before.0, &before.1);
        self.compare();
    }

    fn compare(&self) {
        same(&self.ledger.state(), &self.world);
        for (id, (block, code)) in &self.world.codes {
            let location = self.ledger.transaction(id).unwrap();
            assert_eq!((location.block, location.code), (*block, *code), "where {id} is");
        }
        assert_eq!(self.ledger.height(), self.world.height);
        for number in 0..self.world.height {
            let block = self.ledger.block(number).unwrap();
            assert_eq!(block.number(), number);
            assert_eq!(self.ledger.block_by_hash(&block.hash), Some(block));
        }
        let mut simulation = self.ledger.simulate("history");
        for (namespace, chaincode) in NAMESPACES.iter().enumerate() {
            for key in 0..8 {
                let history = simulation.history(chaincode, &name(key)).unwrap();
                let seen: Vec<_> = history
                    .iter()
                    .map(|entry| (entry.tx_id.clone(), (!entry.is_delete).then(|| entry.value[0])))
                    .collect();
                let wanted = self.world.history.get(&(namespace, name(key))).cloned().unwrap_or_default();
                assert_eq!(seen, wanted, "the history of {}", name(key));
            }
        }
    }
}

/// Checks that a state equals the model's.
fn same(state: &StateView, world: &World) {
    assert_eq!(state.height(), world.height);
    for (number, namespace) in NAMESPACES.iter().enumerate() {
        let seen: Vec<_> = state
            .range(namespace, "", "")
            .map(|(key, value)| ((number, false, key.to_owned()), (value.version, value.value.to_vec())))
            .collect();
        let wanted: Vec<_> = world
            .values
            .iter()
            .filter(|((found, private, _), _)| *found == number && !private)
            .map(|(place, written)| (place.clone(), written.clone()))
            .collect();
        assert_eq!(seen, wanted, "the public state of {namespace}");
        for key in 0..KEYS {
            let place = (number, true, name(key));
            let value = state.private(namespace, "secrets", &place.2);
            assert_eq!(value.map(|value| (value.version, value.value.to_vec())).as_ref(), world.values.get(&place));
            let hash = state.private_hash(namespace, "secrets", &super::super::hash::digest(place.2.as_bytes()));
            assert_eq!(hash.map(|hash| hash.version), world.version(&place));
            let digest = value.map(|value| Bytes::copy_from_slice(&super::super::hash::digest(&value.value)));
            assert_eq!(hash.map(|hash| hash.value.clone()), digest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn codes_and_states_match_a_sequential_model(steps in prop::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in steps {
            match step {
                Step::Simulate(actions) => pair.simulate(&actions),
                Step::Commit(places) => {
                    let places: Vec<_> = places.iter().map(|place| place.index(1000)).collect();
                    pair.commit(&places);
                }
                Step::Snapshot => {
                    pair.snapshots.push((pair.ledger.snapshot(), pair.world.clone(), pair.ledger.state()));
                }
                Step::Restore(place) if !pair.snapshots.is_empty() => {
                    let (snapshot, world, _) = &pair.snapshots[place.index(pair.snapshots.len())];
                    pair.ledger.restore(snapshot);
                    pair.world = world.clone();
                    pair.compare();
                }
                Step::Restore(_) => {}
            }
        }
        for (_, world, state) in &pair.snapshots {
            same(state, world);
        }
    }
}
