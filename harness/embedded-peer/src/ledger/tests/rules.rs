//! Individual rules of Fabric's ledger that the recorded runs and the model do not cover.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use fabric_protos::common::BlockHeader;
use fabric_protos::protos::TxValidationCode::{self, InvalidWriteset, Valid};

use super::super::hash::digest;
use super::super::*;
use super::support::{Endorsed, Rules, block, commit, endorse, ledger, submit};

fn text(value: Option<Bytes>) -> Option<String> {
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn error<T>(result: Result<T, LedgerError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn simulations_read_their_snapshot_not_their_writes() {
    let ledger = ledger();
    submit(&ledger, &Rules::default(), "tx1", |simulation| simulation.set_state("cc", "a", "1").unwrap());
    let mut simulation = ledger.simulate("tx2");
    simulation.set_state("cc", "a", "2").unwrap();
    submit(&ledger, &Rules::default(), "tx3", |simulation| simulation.set_state("cc", "a", "3").unwrap());
    assert_eq!(text(simulation.get_state("cc", "a").unwrap()).as_deref(), Some("1"));
    assert_eq!(ledger.state().get("cc", "a").unwrap().version, Version::new(2, 0));
    assert_eq!(
        error({
            simulation.finish().unwrap();
            simulation.finish()
        }),
        "this function should only be called once on a transaction simulator instance"
    );
}

#[test]
fn rows_come_in_batches_and_are_recorded_when_read() {
    let ledger = ledger();
    submit(&ledger, &Rules::default(), "tx1", |simulation| {
        for number in 0..250 {
            simulation.set_state("cc", &format!("{number:03}"), "x").unwrap();
        }
    });
    let mut simulation = ledger.simulate("tx2");
    let mut rows = simulation.range("cc", "", "").unwrap();
    let sizes = [(100, true), (100, true), (50, false)];
    for (expected, batch) in sizes.into_iter().map(|size| (size, simulation.batch(&mut rows).unwrap())) {
        assert_eq!((batch.rows.len(), batch.more), expected);
    }
    let sets = ReadWriteSets::parse(&simulation.finish().unwrap().public).unwrap();
    let range = &sets.namespaces[0].set.range_queries_info[0];
    assert!(range.itr_exhausted && range.end_key.is_empty());

    // A batch reads one row ahead.
    let mut simulation = ledger.simulate("tx3");
    let mut rows = simulation.range("cc", "005", "").unwrap();
    simulation.batch(&mut rows).unwrap();
    let sets = ReadWriteSets::parse(&simulation.finish().unwrap().public).unwrap();
    let range = &sets.namespaces[0].set.range_queries_info[0];
    assert_eq!((range.end_key.as_str(), range.itr_exhausted), ("105", false));
}

#[test]
fn range_pages_return_bookmarks() {
    let ledger = ledger();
    submit(&ledger, &Rules::default(), "tx1", |simulation| {
        for key in ["a", "b", "c", "d"] {
            simulation.set_state("cc", key, "x").unwrap();
        }
    });
    let mut simulation = ledger.simulate("tx2");
    let mut page = |bookmark: &str| {
        let page = simulation.range_page("cc", "", "", 2, bookmark).unwrap();
        (page.rows.iter().map(|row| row.key.clone()).collect::<String>(), page.bookmark)
    };
    assert_eq!(page(""), ("ab".to_owned(), "c".to_owned()));
    assert_eq!(page("c"), ("cd".to_owned(), String::new()));
    let refused = "txid [tx2]: unsuppored transaction. Transaction has already performed a paginated query. Writes are \
                   not allowed";
    assert_eq!(error(simulation.set_state("cc", "a", "y")), refused);
}

#[test]
fn rich_query_results_are_recorded_as_reads() {
    let ledger = ledger();
    let rules = Rules::of(&[("cc", "secrets", 0)]);
    submit(&ledger, &rules, "tx1", |simulation| {
        simulation.set_state("cc", "a", r#"{"size":1}"#).unwrap();
        simulation.set_state("cc", "b", r#"{"size":2}"#).unwrap();
        simulation.private_set("cc", "secrets", "c", r#"{"size":3}"#).unwrap();
    });
    let query = r#"{"selector":{"size":{"$gt":1}}}"#;
    let reader = endorse(&ledger, "tx2", |simulation| {
        let mut rows = simulation.query("cc", query).unwrap();
        let row = simulation.next(&mut rows).unwrap().unwrap();
        assert_eq!((row.key.as_str(), row.value.as_ref()), ("b", br#"{"size":2}"#.as_slice()));
        assert_eq!(simulation.next(&mut rows).unwrap(), None);
    });
    submit(&ledger, &rules, "tx3", |simulation| simulation.set_state("cc", "b", "{}").unwrap());
    assert_eq!(commit(&ledger, &rules, &[reader]), [TxValidationCode::MvccReadConflict]);

    let mut simulation = ledger.simulate("tx4");
    let mut rows = simulation.private_query("cc", "secrets", query).unwrap();
    assert_eq!(simulation.next(&mut rows).unwrap().unwrap().key, "c");
    let page = simulation.query_page("cc", r#"{"selector":{}}"#, 1, "").unwrap();
    assert_eq!(page.rows.len(), 1);
    assert!(!page.bookmark.is_empty());

    let plain = Ledger::with_database("mychannel", StateDatabase::LevelDb);
    assert_eq!(error(plain.simulate("tx").query("cc", query)), "ExecuteQuery not supported for leveldb");
}

#[test]
fn couchdb_rejects_some_keys_and_values() {
    let ledger = Ledger::with_database("mychannel", StateDatabase::CouchDb);
    let mut simulation = ledger.simulate("tx1");
    let mut refused = |key: &str, value: &str| error(simulation.set_state("cc", key, value.to_owned()));
    assert_eq!(refused("_a", "x"), "invalid key [_a], cannot begin with \"_\"");
    assert_eq!(refused("", "x"), "invalid key. Empty string is not supported as a key by couchdb");
    let reserved = "field [_id] is not valid for the CouchDB state database";
    assert_eq!(refused("a", r#"{"_id":1}"#), reserved);
    assert_eq!(refused("a", r#"[{"_id":1}]"#), "");

    // An endorser without CouchDB accepts it; the commit does not.
    let other = Ledger::new("mychannel");
    let transaction = endorse(&other, "tx1", |simulation| simulation.set_state("cc", "_a", "x").unwrap());
    assert_eq!(commit(&ledger, &Rules::default(), &[transaction]), [InvalidWriteset]);
}

#[test]
fn metadata_survives_writes_but_not_deletion() {
    let ledger = ledger();
    let rules = Rules::default();
    let policy = || BTreeMap::from([("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"policy"))]);
    let metadata = || ledger.state().get("cc", "a").map(VersionedValue::metadata);
    // Metadata of a missing key is dropped.
    submit(&ledger, &rules, "tx1", |simulation| simulation.set_metadata("cc", "a", policy()).unwrap());
    assert_eq!(metadata(), None);
    submit(&ledger, &rules, "tx2", |simulation| {
        simulation.set_state("cc", "a", "1").unwrap();
        simulation.set_metadata("cc", "a", policy()).unwrap();
    });
    let written = endorse(&ledger, "tx3", |simulation| simulation.set_state("cc", "a", "2").unwrap());
    assert_eq!(written.simulated.write_metadata["cc"][""]["a"], policy());
    commit(&ledger, &rules, &[written]);
    assert_eq!(metadata(), Some(policy()));
    submit(&ledger, &rules, "tx4", |simulation| simulation.delete_state("cc", "a").unwrap());
    submit(&ledger, &rules, "tx5", |simulation| simulation.set_state("cc", "a", "3").unwrap());
    assert_eq!(metadata(), Some(BTreeMap::new()));
    // Fabric's peer panics here; we drop the write: metadata of a key deleted earlier in the block.
    let delete = endorse(&ledger, "tx6", |simulation| simulation.delete_state("cc", "a").unwrap());
    let late = endorse(&ledger, "tx7", |simulation| simulation.set_metadata("cc", "a", policy()).unwrap());
    assert_eq!(commit(&ledger, &rules, &[delete, late]), [Valid, Valid]);
    assert_eq!(metadata(), None);
}

#[test]
fn private_data_with_the_right_hash_is_taken_from_the_transient_store() {
    let ledger = ledger();
    let rules = Rules::of(&[("cc", "secrets", 0)]);
    let secret = |value: &'static str| {
        move |simulation: &mut Simulation| simulation.private_set("cc", "secrets", "a", value).unwrap()
    };
    let right = endorse(&ledger, "tx1", secret("right"));
    let wrong = endorse(&Ledger::new("other"), "tx1", secret("wrong"));
    ledger.transient().purge(["tx1"]);
    ledger.transient().put("tx1", 1, wrong.simulated.private.unwrap());
    let (next, checked) = block(&ledger, std::slice::from_ref(&right));
    let committed = ledger.commit(next, checked, &rules).unwrap();
    let missing: Vec<_> =
        committed.missing.iter().map(|missing| (missing.id.as_str(), missing.collection.as_str())).collect();
    assert_eq!(missing, [("tx1", "secrets")]);
    assert!(ledger.transient().get("tx1").is_empty(), "what is committed is forgotten");
    let unavailable = "private data matching public hash version is not available. Public hash version = {BlockNum: 1, \
                       TxNum: 0}, Private data version = <nil>";
    assert_eq!(error(ledger.simulate("tx2").private_get("cc", "secrets", "a")), unavailable);

    // The data arrives later, from another peer.
    let late = committed.missing;
    assert_eq!(ledger.reconcile(1, 0, &wrong_for(&right), &rules), late, "nothing of another hash");
    assert_eq!(ledger.reconcile(1, 0, right.simulated.private.as_ref().unwrap(), &rules), []);
    assert_eq!(text(ledger.simulate("tx3").private_get("cc", "secrets", "a").unwrap()).as_deref(), Some("right"));
    assert_eq!(ledger.block(1).unwrap().private.len(), 1);
}

/// The same names with a different value.
fn wrong_for(_: &Endorsed) -> fabric_protos::rwset::TxPvtReadWriteSet {
    let other = endorse(&Ledger::new("other"), "tx", |simulation| {
        simulation.private_set("cc", "secrets", "a", "other").unwrap();
    });
    other.simulated.private.unwrap()
}

#[test]
fn purge_removes_history_even_without_its_private_data() {
    let ledger = ledger();
    let rules = Rules::of(&[("cc", "secrets", 0)]);
    submit(&ledger, &rules, "tx1", |simulation| {
        simulation.private_set("cc", "secrets", "a", "old").unwrap();
        simulation.private_set("cc", "secrets", "b", "kept").unwrap();
    });
    let purge = endorse(&ledger, "tx2", |simulation| simulation.private_purge("cc", "secrets", "a").unwrap());
    ledger.transient().purge(["tx2"]);
    commit(&ledger, &rules, &[purge]);
    let state = ledger.state();
    assert!(state.private("cc", "secrets", "a").is_none());
    assert!(state.private_hash("cc", "secrets", &digest(b"a")).is_none());
    assert!(state.private("cc", "secrets", "b").is_some());
    let left = ledger.block(1).unwrap();
    let left = &left.private[&0].ns_pvt_rwset[0].collection_pvt_rwset[0].rwset;
    let left: fabric_protos::kvrwset::KvrwSet = fabric_protos::prost::Message::decode(left.as_slice()).unwrap();
    assert_eq!(left.writes.iter().map(|write| write.key.as_str()).collect::<Vec<_>>(), ["b"]);

    // Written again later in the same block, the value is kept.
    let purge = endorse(&ledger, "tx3", |simulation| simulation.private_purge("cc", "secrets", "b").unwrap());
    let again = endorse(&ledger, "tx4", |simulation| simulation.private_set("cc", "secrets", "b", "new").unwrap());
    assert_eq!(commit(&ledger, &rules, &[purge, again]), [Valid, Valid]);
    assert_eq!(ledger.state().private("cc", "secrets", "b").unwrap().value.as_ref(), b"new");
}

#[test]
fn deleted_private_keys_leave_nothing_behind() {
    let ledger = ledger();
    let rules = Rules::of(&[("cc", "secrets", 0)]);
    let keys = || {
        let state = ledger.state();
        state.0.state.collection("cc", "secrets").map_or(0, |stored| stored.keys.range(Bound::Unbounded, &[]).count())
    };
    submit(&ledger, &rules, "tx1", |simulation| {
        simulation.private_set("cc", "secrets", "a", "1").unwrap();
        simulation.private_set("cc", "secrets", "b", "2").unwrap();
    });
    assert_eq!(keys(), 2);
    submit(&ledger, &rules, "tx2", |simulation| simulation.private_delete("cc", "secrets", "a").unwrap());
    assert_eq!(keys(), 1);
    submit(&ledger, &rules, "tx3", |simulation| simulation.private_purge("cc", "secrets", "b").unwrap());
    assert_eq!(keys(), 0);
}

#[test]
fn phantoms_are_found_for_keys_deleted_in_the_same_block() {
    let ledger = ledger();
    let rules = Rules::default();
    submit(&ledger, &rules, "tx1", |simulation| {
        for key in ["a", "b", "c"] {
            simulation.set_state("cc", key, "x").unwrap();
        }
    });
    let delete = endorse(&ledger, "tx2", |simulation| simulation.delete_state("cc", "b").unwrap());
    let reader = |id: &str, start: &str, end: &str| {
        endorse(&ledger, id, |simulation| {
            let mut rows = simulation.range("cc", start, end).unwrap();
            simulation.batch(&mut rows).unwrap();
        })
    };
    let transactions = [delete, reader("tx3", "", ""), reader("tx4", "b", "c"), reader("tx5", "c", "")];
    let phantom = TxValidationCode::PhantomReadConflict;
    assert_eq!(commit(&ledger, &rules, &transactions), [Valid, phantom, phantom, Valid]);
}

#[test]
fn non_members_hold_only_hashes() {
    struct NonMember;
    impl CollectionRules for NonMember {
        fn rule(&self, _: &str, _: &str) -> Option<CollectionRule> {
            Some(CollectionRule { block_to_live: 0, member: false })
        }
    }
    let ledger = ledger();
    let transaction = endorse(&ledger, "tx1", |simulation| {
        simulation.private_set("cc", "secrets", "a", "hidden").unwrap();
    });
    let (next, checked) = block(&ledger, &[transaction]);
    let committed = ledger.commit(next, checked, &NonMember).unwrap();
    assert_eq!(committed.missing, []);
    assert!(committed.block.private.is_empty());
    let state = ledger.state();
    assert!(state.private("cc", "secrets", "a").is_none());
    assert_eq!(state.private_hash("cc", "secrets", &digest(b"a")).unwrap().value.as_ref(), digest(b"hidden"));
}

#[test]
fn blocks_must_follow_the_previous_hash() {
    let ledger = ledger();
    let first = ledger.block(0).unwrap();
    assert_eq!(ledger.info().current_block_hash, first.hash);
    let (mut next, checked) = block(&ledger, &[]);
    let header = next.header.as_mut().unwrap();
    header.number = 7;
    assert_eq!(error(ledger.commit(next.clone(), checked, &())), "block number should have been 1 but was 7");
    next.header = Some(BlockHeader { number: 1, previous_hash: vec![1, 2], data_hash: Vec::new() });
    let expected = format!(
        "unexpected Previous block hash. Expected PreviousHash = [{}], PreviousHash referred in the latest block= [0102]",
        hex::encode(first.hash)
    );
    assert_eq!(error(ledger.commit(next, Vec::new(), &())), expected);
    assert_eq!(ledger.height(), 1);
    assert_eq!(ledger.block_by_hash(&first.hash), Some(first));
    assert_eq!(ledger.block_by_hash(b"short"), None);
}

#[test]
fn height_changes_are_notified_including_restores() {
    let ledger = ledger();
    let mut heights = ledger.heights();
    let snapshot = ledger.snapshot();
    submit(&ledger, &Rules::default(), "tx1", |simulation| simulation.set_state("cc", "a", "1").unwrap());
    assert_eq!(*heights.borrow_and_update(), 2);
    ledger.restore(&snapshot);
    assert!(heights.has_changed().unwrap());
    assert_eq!(*heights.borrow_and_update(), 1);
    assert_eq!(ledger.transaction("tx1"), None);
    assert_eq!(ledger.simulate("tx").history("cc", "a").unwrap(), []);
    // After the restore the same transaction may be committed again.
    assert_eq!(
        submit(&ledger, &Rules::default(), "tx1", |simulation| simulation.set_state("cc", "a", "2").unwrap()),
        Valid
    );
    assert_eq!(ledger.simulate("tx").history("cc", "a").unwrap().len(), 1);
}

#[test]
fn lookup_by_id_finds_the_first_transaction() {
    let ledger = ledger();
    let rules = Rules::default();
    submit(&ledger, &rules, "tx1", |simulation| simulation.set_state("cc", "a", "1").unwrap());
    let mut again = endorse(&ledger, "tx1", |simulation| simulation.set_state("cc", "a", "2").unwrap());
    again.code = TxValidationCode::DuplicateTxid;
    commit(&ledger, &rules, &[again]);
    assert_eq!(ledger.transaction("tx1"), Some(Location { block: 1, index: 0, code: Valid }));
}

#[test]
fn invalid_sets_are_rejected() {
    assert_eq!(error(ReadWriteSets::parse(&[0xff])), "could not decode the transaction's read-write set");
    let sets = fabric_protos::rwset::TxReadWriteSet {
        data_model: 0,
        ns_rwset: vec![fabric_protos::rwset::NsReadWriteSet { rwset: vec![0xff], ..Default::default() }],
    };
    let bytes = fabric_protos::prost::Message::encode_to_vec(&sets);
    assert_eq!(error(ReadWriteSets::parse(&bytes)), "could not decode the namespace's read-write set");
}
