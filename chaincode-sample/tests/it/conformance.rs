//! The conformance chaincode makes every call of the stub, and works on a mock ledger.

use chaincode_sample::conformance::{Entry, EntryPage, Facts, chaincode};
use chaincode_shim::mock::MockLedger;

const TABLE: &str = include_str!("../../../docs/chaincode.md");
const STATE: &str = include_str!("../../src/conformance/state.rs");
const PRIVATE: &str = include_str!("../../src/conformance/private.rs");
const OTHERS: &str = include_str!("../../src/conformance/mod.rs");

fn ledger() -> MockLedger {
    MockLedger::new(chaincode()).with_collection("coll")
}

#[test]
fn every_documented_call_is_made() {
    let sources = [STATE, PRIVATE, OTHERS].concat();
    let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
    let mut calls = 0;
    for row in rows {
        let ours = row.split('|').nth(2).unwrap_or_default();
        for name in ours.split('`').skip(1).step_by(2) {
            let Some(name) = name.strip_prefix("Stub::") else { continue };
            // A typed function receives converted parameters.
            let call = if name == "parameters" { "stub: Stub, key: String".to_owned() } else { format!("{name}(") };
            assert!(sources.contains(&call), "the conformance chaincode does not call {name}");
            calls += 1;
        }
    }
    assert!(calls > 40, "the table has only {calls} calls");
}

#[tokio::test]
async fn facts_are_returned() {
    let facts: Facts = ledger().evaluate(["Facts", "one"]).await.json();
    assert_eq!(facts.string_args, ["Facts", "one"]);
    assert_eq!((facts.args_bytes, facts.tx_id_digits, facts.binding_bytes), (8, 64, 32));
    assert_eq!((facts.msp_id.as_str(), facts.role.as_deref()), ("Org1MSP", Some("client")));
    assert!(facts.has_creator && facts.has_id && !facts.is_signed);
}

#[tokio::test]
async fn a_batch_is_written_completely() {
    let mut ledger = ledger().with_batches();
    ledger.submit(["WriteBatch", "k", "250", "Org1MSP"]).await;
    assert_eq!(ledger.states().count(), 249);
    assert_eq!(ledger.state("k0000"), Some(&b"0"[..]));
    let policy = ledger.evaluate(["GetStateValidationParameter", "k0001"]).await;
    assert_eq!(policy.text(), r#"["Org1MSP"]"#);
    let page: EntryPage = ledger.evaluate(["GetStateByRangeWithPagination", "k0239", "l", "200", ""]).await.json();
    assert_eq!((page.entries.len(), page.count, page.bookmark.as_str()), (10, 10, ""));
    let first: Option<Entry> = ledger.evaluate(["FirstOfRange", "k", "l"]).await.json();
    assert_eq!(first.map(|entry| entry.key).as_deref(), Some("k0000"));
}

#[tokio::test]
async fn private_and_composite_keys_are_separate() {
    let mut ledger = ledger();
    ledger.submit(["PutComposite", "owner", r#"["anna","a1"]"#, "1"]).await;
    ledger.submit(["PutPrivateComposite", "coll", "owner", r#"["tom"]"#, "2"]).await;
    let found: Vec<Entry> = ledger.evaluate(["GetStateByPartialCompositeKey", "owner", "[]"]).await.json();
    assert_eq!(found, [Entry { key: "owner/anna/a1".to_owned(), value: "1".to_owned() }]);
    let found = ledger.evaluate(["GetPrivateDataByPartialCompositeKey", "coll", "owner", "[]"]).await.text();
    assert_eq!(found, r#"[{"key":"owner/tom","value":"2"}]"#);
    ledger.transaction(["PutTransient", "coll", "t"]).transient("value", "secret").submit().await.text();
    let hash = ledger.evaluate(["GetPrivateDataHash", "coll", "t"]).await.text();
    assert_eq!(hash, "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
}
