//! Replays recorded runs of Fabric's own ledger and compares byte by byte: results of calls,
//! read-write sets, codes, commit hashes, remaining private data, history.
//!
//! The fixtures were recorded by a program inside Fabric 3.1.5's `core/ledger/kvledger`, on
//! goleveldb and on CouchDB 3.4.3 (without the peer's cache). It simulated random transactions on
//! the newest block and committed them then or later, withheld some private data, and marked some
//! transactions invalid.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fabric_protos::common::Block;
use fabric_protos::prost::Message as _;
use fabric_protos::protos::TxValidationCode;
use fabric_protos::queryresult::Kv;
use fabric_protos::rwset::TxPvtReadWriteSet;
use serde_json::{Value, json};

use super::super::*;
use super::support::Rules;

const LEVELDB: &str = include_str!("../../../tests/fixtures/ledger-of-fabric-3.1.json");
const COUCHDB: &str = include_str!("../../../tests/fixtures/ledger-of-fabric-3.1-couchdb.json");

fn rules() -> Rules {
    Rules::of(&[("cc1", "c1", 0), ("cc1", "c2", 2), ("cc1", "c3", 0), ("cc2", "c1", 3)])
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: Option<Bytes>) -> Value {
    value.map_or(Value::Null, |value| Value::String(String::from_utf8(value.to_vec()).unwrap()))
}

fn outcome(result: Result<Value, LedgerError>) -> Value {
    result.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

fn shown(rows: &[Kv]) -> Value {
    let row = |row: &Kv| format!("{}/{}={}", row.namespace, row.key, String::from_utf8_lossy(&row.value));
    rows.iter().map(row).collect()
}

fn take(simulation: &mut Simulation, mut rows: Rows, limit: i64) -> Result<Value, LedgerError> {
    let mut taken = Vec::new();
    while limit < 0 || i64::try_from(taken.len()).unwrap() < limit {
        let Some(row) = simulation.next(&mut rows)? else { break };
        taken.push(row);
    }
    Ok(shown(&taken))
}

fn metadata(value: &Value) -> BTreeMap<String, Bytes> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), Bytes::from(value.as_str().unwrap().to_owned()))).collect()
}

fn shown_metadata(metadata: BTreeMap<String, Bytes>) -> Value {
    metadata.into_iter().map(|(name, value)| (name, text(Some(value)))).collect::<serde_json::Map<_, _>>().into()
}

/// Performs one operation and returns its result in the fixture's format.
fn perform(simulation: &mut Simulation, operation: &[Value]) -> Value {
    let argument = |place: usize| operation[place].as_str().unwrap();
    let number = |place: usize| operation[place].as_i64().unwrap();
    let (name, namespace) = (argument(0), argument(1));
    let done = |result: Result<(), LedgerError>| outcome(result.map(|()| Value::Null));
    let keys = || list(&operation[2]).iter().map(|key| key.as_str().unwrap());
    match name {
        "get" => outcome(simulation.get_state(namespace, argument(2)).map(text)),
        "gets" => {
            let values = simulation.get_states(namespace, keys());
            outcome(values.map(|values| values.into_iter().map(text).collect()))
        }
        "set" => done(simulation.set_state(namespace, argument(2), argument(3).to_owned())),
        "delete" => done(simulation.delete_state(namespace, argument(2))),
        "metadata" => outcome(simulation.metadata(namespace, argument(2)).map(shown_metadata)),
        "set_metadata" => done(simulation.set_metadata(namespace, argument(2), metadata(&operation[3]))),
        "range" => {
            let rows = simulation.range(namespace, argument(2), argument(3)).unwrap();
            outcome(take(simulation, rows, number(4)))
        }
        "page" => {
            let size = i32::try_from(number(4)).unwrap();
            let page = simulation.range_page(namespace, argument(2), argument(3), size, "");
            outcome(page.map(|page| json!([shown(&page.rows), page.bookmark])))
        }
        "query" => {
            let rows = simulation.query(namespace, operation.get(2).map_or("{}", |query| query.as_str().unwrap()));
            outcome(rows.and_then(|rows| take(simulation, rows, -1)))
        }
        "private_query" => {
            let rows = simulation.private_query(namespace, argument(2), argument(3));
            outcome(rows.and_then(|rows| take(simulation, rows, -1)))
        }
        "query_pages" => outcome(query_pages(simulation, namespace, argument(2))),
        "query_page" => outcome(simulation.query_page(namespace, "{}", 3, "").map(|_| Value::Null)),
        "private_get" => outcome(simulation.private_get(namespace, argument(2), argument(3)).map(text)),
        "private_hash" => {
            let hash = simulation.private_hash(namespace, argument(2), argument(3));
            outcome(hash.map(|hash| STANDARD.encode(hash.unwrap_or_default()).into()))
        }
        "private_set" => done(simulation.private_set(namespace, argument(2), argument(3), argument(4).to_owned())),
        "private_delete" => done(simulation.private_delete(namespace, argument(2), argument(3))),
        "private_purge" => done(simulation.private_purge(namespace, argument(2), argument(3))),
        "private_metadata" => {
            outcome(simulation.private_metadata(namespace, argument(2), argument(3)).map(shown_metadata))
        }
        "private_set_metadata" => {
            done(simulation.private_set_metadata(namespace, argument(2), argument(3), metadata(&operation[4])))
        }
        "private_range" => {
            let rows = simulation.private_range(namespace, argument(2), "", "");
            outcome(rows.and_then(|rows| take(simulation, rows, -1)))
        }
        other => panic!("unknown operation: {other}"),
    }
}

/// Up to three pages of two rows each.
fn query_pages(simulation: &mut Simulation, namespace: &str, query: &str) -> Result<Value, LedgerError> {
    let mut page = simulation.query_page(namespace, query, 2, "")?;
    let mut pages = vec![shown(&page.rows)];
    while pages.len() < 3 && page.bookmark != "nil" {
        page = simulation.query_page(namespace, query, 2, &page.bookmark)?;
        pages.push(shown(&page.rows));
    }
    Ok(pages.into())
}

/// Simulates a recorded transaction on its original state, and checks all results and the sets.
fn simulate(ledger: &Ledger, transaction: &Value) {
    let id = transaction["id"].as_str().unwrap();
    let mut simulation = ledger.simulate(id);
    for operation in list(&transaction["operations"]) {
        let operation = list(operation);
        let (expected, call) = operation.split_last().unwrap();
        assert_eq!(&perform(&mut simulation, call), expected, "{id}: {call:?}");
    }
    let simulated = simulation.finish().unwrap();
    let public = bytes(&transaction["public"]);
    let (seen, wanted) = (ReadWriteSets::parse(&simulated.public).unwrap(), ReadWriteSets::parse(&public).unwrap());
    assert_eq!(seen, wanted, "{id}: what is in the sets");
    assert_eq!(simulated.public, public, "{id}: the encoded sets");
    let private = simulated.private.map(|private| private.encode_to_vec()).unwrap_or_default();
    assert_eq!(private, bytes(&transaction["private"]), "{id}: the private sets");
}

fn commit(ledger: &Ledger, wanted: &Value) {
    let number = ledger.height();
    let expected = Block::decode(bytes(&wanted["block"]).as_slice()).unwrap();
    let mut block = expected.clone();
    block.metadata.as_mut().unwrap().metadata[2..].fill(Vec::new());
    let withheld = list(&wanted["withheld"]);
    let mut checked = Vec::new();
    for (place, transaction) in list(&wanted["transactions"]).iter().enumerate() {
        let id = transaction["id"].as_str().unwrap();
        let private = bytes(&transaction["private"]);
        if !private.is_empty() && !withheld.contains(&json!(place)) {
            ledger.transient().put(id, number, TxPvtReadWriteSet::decode(private.as_slice()).unwrap());
        }
        let before = i32::try_from(wanted["before"][place].as_i64().unwrap()).unwrap();
        checked.push(CheckedTransaction {
            id: id.to_owned(),
            code: TxValidationCode::try_from(before).unwrap(),
            writes: Some(Arc::new(ReadWriteSets::parse(&bytes(&transaction["public"])).unwrap())),
            kind: TransactionKind::Endorser,
            event: None,
        });
    }
    let committed = ledger.commit(block, checked, &rules()).unwrap();
    let metadata = |block: &Block| block.metadata.clone().unwrap().metadata;
    let seen = &committed.block.block;
    assert_eq!(metadata(seen)[2], metadata(&expected)[2], "block {number}: the codes");
    assert_eq!(metadata(seen)[4], metadata(&expected)[4], "block {number}: the commit hash");
    assert_eq!(**seen, expected, "block {number}");
    assert_eq!(committed.block.hash.to_vec(), bytes(&wanted["hash"]), "block {number}: its hash");
}

fn replay(run: &str, database: StateDatabase) -> (Ledger, Value) {
    let run: Value = serde_json::from_str(run).unwrap();
    let ledger = Ledger::with_database("vectors", database);
    ledger.set_collections(Arc::new(rules()));
    let genesis = Block::decode(bytes(&run["genesis"]).as_slice()).unwrap();
    let config = CheckedTransaction { kind: TransactionKind::Config, ..CheckedTransaction::default() };
    ledger.commit(genesis, vec![config], &rules()).unwrap();

    let mut simulated = 0;
    for block in list(&run["blocks"]) {
        for later in list(&run["blocks"]) {
            for transaction in list(&later["transactions"]) {
                if transaction["base"] == ledger.height() {
                    simulate(&ledger, transaction);
                    simulated += 1;
                }
            }
        }
        commit(&ledger, block);
    }
    let transactions: usize = list(&run["blocks"]).iter().map(|block| list(&block["transactions"]).len()).sum();
    assert_eq!(simulated, transactions, "every transaction of the run");
    (ledger, run)
}

#[test]
fn replays_of_fabric_on_leveldb_match() {
    compare(LEVELDB, StateDatabase::LevelDb);
}

#[test]
fn replays_of_fabric_on_couchdb_match() {
    compare(COUCHDB, StateDatabase::CouchDb);
}

fn compare(run: &str, database: StateDatabase) {
    let (ledger, run) = replay(run, database);

    let mut private = Vec::new();
    for number in 1..ledger.height() {
        for (transaction, set) in &ledger.block(number).unwrap().private {
            private.push(json!([number, transaction, STANDARD.encode(set.encode_to_vec())]));
        }
    }
    assert_eq!(json!(private), run["private"], "the private data that is left in the blocks");

    for entry in list(&run["history"]) {
        let (namespace, key) = (entry[0].as_str().unwrap(), entry[1].as_str().unwrap());
        let history = ledger.simulate("history").history(namespace, key).unwrap();
        let shown: Vec<_> = history
            .iter()
            .map(|entry| {
                let seconds = entry.timestamp.unwrap().seconds;
                json!([entry.tx_id, String::from_utf8_lossy(&entry.value), entry.is_delete, seconds])
            })
            .collect();
        assert_eq!(json!(shown), entry[2], "the history of {namespace} {key}");
    }

    for entry in list(&run["state"]) {
        let (namespace, collection) = (entry[0].as_str().unwrap(), entry[1].as_str().unwrap());
        let mut simulation = ledger.simulate("state");
        let rows = match collection {
            "" => simulation.range(namespace, "", ""),
            collection => simulation.private_range(namespace, collection, "", ""),
        };
        let rows = take(&mut simulation, rows.unwrap(), -1).unwrap();
        assert_eq!(rows, entry[2], "the state of {namespace} {collection}");
    }
}
