//! The mock ledger behaves like a peer, as a contract sees it.

use futures::{StreamExt, TryStreamExt};

use std::time::{Duration, SystemTime};

use super::*;
use crate::{Contract, EndorsementPolicy, Error, NodeRole, Stub, composite_key};

/// The result of `Who`: MSP ID, role, attribute, ID, seconds, decoration.
type Who = (String, Option<String>, Option<String>, String, u64, Option<usize>);

fn contract() -> Contract {
    Contract::new("Test")
        .submit("Put", |stub: Stub, key: String, value: String| async move {
            stub.put_state(&key, value).await?;
            // The transaction does not see its own write.
            let seen = stub.get_state(&key).await?;
            Ok::<_, Error>(seen.map(|value| value.len()))
        })
        .submit("Delete", |stub: Stub, key: String| async move { stub.delete_state(&key).await })
        .evaluate("Get", |stub: Stub, keys: crate::Json<Vec<String>>| async move {
            let keys: Vec<_> = keys.0.iter().map(String::as_str).collect();
            let values = stub.get_multiple_states(&keys).await?;
            let text = |value: bytes::Bytes| String::from_utf8_lossy(&value).into_owned();
            Ok::<_, Error>(values.into_iter().map(|value| value.map(text)).collect::<Vec<_>>())
        })
        .submit("Range", |stub: Stub, start: String, end: String| async move {
            let found: Vec<_> = stub.get_state_by_range(&start, &end).await?.try_collect().await?;
            stub.put_state("count", found.len().to_string()).await?;
            Ok::<_, Error>(found.into_iter().map(|found| found.key).collect::<Vec<_>>())
        })
        .submit("Page", |stub: Stub, size: i32, bookmark: String, write: bool| async move {
            let (found, page) = stub.get_state_by_range_with_pagination("", "", size, &bookmark).await?;
            let keys: Vec<_> = found.map_ok(|found| found.key).try_collect().await?;
            if write {
                stub.put_state("k", "v").await?;
            }
            Ok::<_, Error>((keys, page.bookmark, page.fetched_records_count))
        })
        .submit("Composite", |stub: Stub| async move {
            for owner in ["anna", "tom"] {
                stub.put_state(&composite_key("owner", &[owner, "a1"])?, "1").await?;
            }
            Ok::<_, Error>(())
        })
        .evaluate("OwnedBy", |stub: Stub, owner: String| async move {
            let found = stub.get_state_by_partial_composite_key("owner", &[&owner]).await?;
            Ok::<_, Error>(found.count().await)
        })
        .evaluate("History", |stub: Stub, key: String| async move {
            let found = stub.get_history_for_key(&key).await?;
            let found = found.map_ok(|change| (String::from_utf8_lossy(&change.value).into_owned(), change.is_delete));
            Ok::<_, Error>(found.try_collect::<Vec<_>>().await?)
        })
        .submit("Secret", |stub: Stub, collection: String| async move {
            let value = stub.transient().get("secret").cloned().unwrap_or_default();
            let before = stub.get_private_data_hash(&collection, "k").await?;
            stub.put_private_data(&collection, "k", value).await?;
            Ok::<_, Error>(before.map(|hash| hash.len()))
        })
        .submit("Purge", |stub: Stub| async move { stub.purge_private_data("coll", "k").await })
        .submit("Protect", |stub: Stub, key: String| async move {
            stub.set_state_validation_parameter(&key, EndorsementPolicy::peer("Org1MSP")).await?;
            let now = stub.get_state_validation_parameter(&key).await?;
            let now = now.map(|policy| EndorsementPolicy::decode(&policy)).transpose()?;
            Ok::<_, Error>(now.map(|policy| policy.msp_ids().join(",")))
        })
        .evaluate("Query", |stub: Stub, query: String| async move {
            let found = stub.get_query_result(&query).await?;
            Ok::<_, Error>(found.map_ok(|found| found.key).try_collect::<Vec<_>>().await?)
        })
        .evaluate("Who", |stub: Stub| async move {
            let client = stub.client_identity()?;
            let role = client.role().map(NodeRole::as_str);
            let seconds = stub.timestamp().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            let decoration = stub.decorations().get("d").map(Vec::len);
            let id = client.id().to_owned();
            let attribute = client.attribute("a").map(str::to_owned);
            Ok::<_, Error>((
                client.msp_id().to_owned(),
                role,
                attribute,
                id,
                seconds.map(|time| time.as_secs()),
                decoration,
            ))
        })
        .submit("Call", |stub: Stub, name: String, channel: String| async move {
            stub.set_event("Calling", "now")?;
            let args = ["Put", "k", "called"].map(|arg| arg.as_bytes().to_vec()).to_vec();
            let answer = stub.invoke_chaincode(&name, args, &channel).await?;
            Ok::<_, Error>(answer.status)
        })
        .submit("Fail", |stub: Stub| async move {
            stub.put_state("k", "v").await?;
            Err::<(), _>(Error::new("as requested").with_status(409))
        })
        .submit("Many", |stub: Stub, count: u32| async move {
            stub.start_write_batch();
            for number in 0..count {
                stub.put_state(&format!("k{number:04}"), "v").await?;
            }
            Ok::<_, Error>(())
        })
}

fn ledger() -> MockLedger {
    MockLedger::new(contract()).with_chaincode("other", contract()).with_collection("coll")
}

#[tokio::test]
async fn writes_are_visible_after_their_commit() {
    let mut ledger = ledger();
    let put = ledger.transaction(["Put", "k", "v"]).simulate().await;
    assert_eq!(put.text(), "", "the transaction saw its own write");
    assert_eq!(put.written("k"), Some(&b"v"[..]));
    assert_eq!((put.reads[0].key.as_str(), put.reads[0].version), ("k", None));
    assert_eq!(ledger.state("k"), None);
    ledger.commit(put).unwrap();
    assert_eq!(ledger.state("k"), Some(&b"v"[..]));
    assert_eq!(ledger.evaluate(["Get", r#"["k","none"]"#]).await.text(), r#"["v",null]"#);
    assert_eq!(ledger.evaluate(["Put", "k", "w"]).await.text(), "1");
    assert_eq!(ledger.state("k"), Some(&b"v"[..]), "an evaluated transaction was written");
    ledger.submit(["Delete", "k"]).await;
    assert_eq!(ledger.states().count(), 0);
    let history = ledger.evaluate(["History", "k"]).await.text();
    assert_eq!(history, r#"[["",true],["v",false]]"#);
}

#[tokio::test]
async fn a_failed_transaction_writes_nothing() {
    let mut ledger = ledger();
    let failed = ledger.submit(["Fail"]).await;
    assert_eq!((failed.response.status, failed.error()), (409, Some("as requested")));
    assert_eq!(ledger.state("k"), None);
    let error = ledger.commit(failed).unwrap_err();
    assert_eq!(error.to_string(), "cannot commit a failed transaction: as requested");
}

#[tokio::test]
async fn a_changed_read_is_a_conflict() {
    let mut ledger = ledger();
    let first = ledger.transaction(["Put", "k", "1"]).simulate().await;
    let second = ledger.transaction(["Put", "k", "2"]).simulate().await;
    let range = ledger.transaction(["Range", "", "x"]).simulate().await;
    ledger.commit(first).unwrap();
    assert_eq!(ledger.commit(second), Err(CommitError::ReadConflict("k".to_owned())));
    let phantom = CommitError::PhantomRead { start: "\u{1}".to_owned(), end: "x".to_owned() };
    assert_eq!(ledger.commit(range), Err(phantom));
    assert_eq!(ledger.state("k"), Some(&b"1"[..]));
}

#[tokio::test]
async fn ranges_pages_and_composite_keys() {
    let mut ledger = ledger();
    for key in ["a", "b", "c"] {
        ledger.put_state(key, "v");
    }
    ledger.submit(["Composite"]).await;
    assert_eq!(ledger.evaluate(["Range", "", ""]).await.text(), r#"["a","b","c"]"#);
    assert_eq!(ledger.evaluate(["Range", "b", "c"]).await.text(), r#"["b"]"#);
    assert_eq!(ledger.evaluate(["Range", "c", "b"]).await.text(), "[]");
    assert_eq!(ledger.evaluate(["OwnedBy", "anna"]).await.text(), "1");
    assert_eq!(ledger.evaluate(["Page", "2", "", "false"]).await.text(), r#"[["a","b"],"c",2]"#);
    assert_eq!(ledger.evaluate(["Page", "2", "c", "false"]).await.text(), r#"[["c"],"",1]"#);
    let rejected = ledger.evaluate(["Page", "2", "c", "true"]).await;
    let text = rejected.error().unwrap_or_default();
    assert!(text.contains("writes are not allowed after a paginated query"), "{text}");
}

#[tokio::test]
async fn long_ranges_and_batches_take_several_messages() {
    for mut ledger in [ledger(), ledger().with_batches()] {
        ledger.submit(["Many", "1234"]).await;
        assert_eq!(ledger.states().count(), 1234);
        let keys: Vec<String> = ledger.evaluate(["Range", "", ""]).await.json();
        assert_eq!(keys.len(), 1234);
        assert_eq!(keys[1233], "k1233");
        assert_eq!(ledger.evaluate(["Get", r#"["k0001"]"#]).await.text(), r#"["v"]"#);
    }
}

#[tokio::test]
async fn private_data_is_separate_from_the_world_state() {
    let mut ledger = ledger();
    let secret = ledger.transaction(["Secret", "coll"]).transient("secret", "42").submit().await;
    assert_eq!(secret.text(), "");
    assert_eq!((secret.writes[0].collection.as_str(), secret.writes.len()), ("coll", 1));
    assert_eq!(ledger.private_data("coll", "k"), Some(&b"42"[..]));
    assert_eq!(ledger.state("k"), None);
    assert_eq!(ledger.evaluate(["Secret", "coll"]).await.text(), "32");
    let rejected = ledger.submit(["Secret", "unknown"]).await;
    let text = rejected.error().unwrap_or_default();
    assert!(text.contains("collection \"unknown\" not found"), "{text}");
    ledger.put_private_data("coll", "other", "x");
    assert_eq!(ledger.submit(["Purge"]).await.writes[0].change, Change::Purge);
    assert_eq!(ledger.private_data("coll", "k"), None);
    assert_eq!(ledger.private_data("coll", "other"), Some(&b"x"[..]));
}

#[tokio::test]
async fn a_policy_lasts_as_long_as_its_key() {
    let mut ledger = ledger();
    ledger.submit(["Protect", "k"]).await;
    assert_eq!(ledger.policy("k"), None, "a missing key");
    ledger.put_state("k", "1");
    assert_eq!(ledger.submit(["Protect", "k"]).await.text(), "");
    assert_eq!(ledger.policy("k"), Some(EndorsementPolicy::peer("Org1MSP").encode().as_slice()));
    ledger.submit(["Put", "k", "2"]).await;
    assert_eq!(ledger.evaluate(["Protect", "k"]).await.text(), "Org1MSP");
    ledger.submit(["Delete", "k"]).await;
    assert_eq!(ledger.policy("k"), None);
}

#[tokio::test]
async fn a_test_sets_the_client_and_the_time() {
    let mut ledger = ledger();
    ledger.set_client(MockIdentity::new("Org2MSP").with_name("anna").with_attribute("a", "x".repeat(300)));
    ledger.set_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
    let id = |name: &str, msp: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("x509::{name}::CN=ca.{msp}"))
    };
    let who: Who = ledger.evaluate(["Who"]).await.json();
    let client = Some("client".to_owned());
    let expected =
        ("Org2MSP".to_owned(), client, Some("x".repeat(300)), id("CN=anna,OU=client", "Org2MSP"), 1000, None);
    assert_eq!(who, expected);
    let peer = MockIdentity::new("Org3MSP").with_role(None);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    let who: Who = ledger.transaction(["Who"]).client(&peer).at(at).decoration("d", "xyz").simulate().await.json();
    assert_eq!(who, ("Org3MSP".to_owned(), None, None, id("CN=user1", "Org3MSP"), 7, Some(3)));
    let who: Who = ledger.evaluate(["Who"]).await.json();
    assert_eq!((who.0.as_str(), who.4), ("Org2MSP", 1002));
    let invalid = MockIdentity::from_pem("Org4MSP", "none");
    let rejected = ledger.transaction(["Who"]).client(&invalid).simulate().await;
    assert!(rejected.error().unwrap_or_default().starts_with("the identity of Org4MSP has no X.509"));
}

#[tokio::test]
async fn a_call_of_another_chaincode_joins_the_transaction() {
    let mut ledger = ledger();
    let called = ledger.submit(["Call", "other", "mychannel"]).await;
    assert_eq!(called.text(), "200");
    let event = MockEvent { name: "Calling".to_owned(), payload: b"now".to_vec() };
    assert_eq!(called.event, Some(event));
    let write = &called.writes[0];
    assert_eq!((write.chaincode.as_str(), &write.change), ("other", &Change::Put(b"called".to_vec())));
    assert_eq!(ledger.state("k"), None);
    for (name, channel, text) in [
        ("absent", "", "chaincode \"absent\" not found: add it with MockLedger::with_chaincode"),
        ("other", "far", "channel \"far\" not found: a MockLedger has one channel"),
    ] {
        assert_eq!(ledger.submit(["Call", name, channel]).await.error(), Some(text));
    }
}

#[tokio::test]
async fn rich_queries_are_answered_or_rejected() {
    let mut ledger = ledger();
    ledger.put_state("a", r#"{"color":"red","size":5,"owner":{"name":"tom"}}"#);
    ledger.put_state("b", r#"{"color":"blue","size":10}"#);
    ledger.put_state("c", r#"{"color":"red","size":15}"#);
    ledger.put_state("d", "no JSON");
    for (query, keys) in [
        (r#"{"selector":{"color":"red"}}"#, r#"["a","c"]"#),
        (r#"{"selector":{"color":"red"},"limit":1}"#, r#"["a"]"#),
        (r#"{"selector":{"color":"red","size":{"$gt":5}},"use_index":"i"}"#, r#"["c"]"#),
        (r#"{"selector":{"size":{"$gte":10,"$lte":15}}}"#, r#"["b","c"]"#),
        (r#"{"selector":{"size":{"$lt":10}}}"#, r#"["a"]"#),
        (r#"{"selector":{"owner.name":"tom"}}"#, r#"["a"]"#),
        (r#"{"selector":{"owner":{"name":{"$eq":"tom"}}}}"#, r#"["a"]"#),
        (r#"{"selector":{"owner":{"$exists":false}}}"#, r#"["b","c"]"#),
        (r#"{"selector":{"$or":[{"size":5},{"color":"blue"}]}}"#, r#"["a","b"]"#),
        (r#"{"selector":{"$and":[{"size":5},{"color":"blue"}]}}"#, "[]"),
        (r#"{"selector":{"$not":{"color":"red"}}}"#, r#"["b"]"#),
        (r#"{"selector":{"color":{"$ne":"red"}}}"#, r#"["b"]"#),
        (r#"{"selector":{"size":{"$in":[10,15]}}}"#, r#"["b","c"]"#),
    ] {
        assert_eq!(ledger.evaluate(["Query", query]).await.text(), keys, "{query}");
    }
    for (query, text) in [
        ("no JSON", "invalid query: "),
        (r#"{"selector":{"a":{"$regex":"x"}}}"#, "unsupported by MockLedger: \"$regex\" in a query"),
        (r#"{"selector":{},"sort":["a"]}"#, "unsupported by MockLedger: \"sort\" in a query"),
    ] {
        let rejected = ledger.evaluate(["Query", query]).await;
        let error = rejected.error().unwrap_or_default();
        assert!(error.contains(text), "{query}: {error}");
    }
}

#[tokio::test]
async fn init_is_called_on_request() {
    let mut ledger = ledger();
    assert_eq!(ledger.transaction(Vec::<String>::new()).init().simulate().await.text(), "");
    let rejected = ledger.evaluate(Vec::<String>::new()).await;
    assert_eq!(rejected.error(), Some("the function name is missing"));
}
