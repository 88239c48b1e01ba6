//! A server that answers as CouchDB does, with databases and the documents in them: what a run makes
//! of them, and what it leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::claim::is_of_channel;
use super::*;
use crate::cleanup::Owner;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Basic authentication of `admin` and `top:secret`.
const CREDENTIALS: &str = "Basic YWRtaW46dG9wOnNlY3JldA==";
const WELCOME: &str = r#"{"couchdb":"Welcome","version":"3.4.3"}"#;
const SYSTEM: [&str; 2] = ["_replicator", "_users"];
const INTERNAL: &str = "fabric__internal";
const DOCUMENT: &str = "/fabric__internal/fabric-harness-run";
const OWN: [&str; 4] =
    ["mychannel_", "mychannel__lifecycle", "mychannel_basic", "mychannel_basic$$h_implicit_org_$org1$m$s$p"];

/// Databases and documents by path, not percent-encoded.
type Store = BTreeMap<String, Value>;

/// Answers each connection once.
#[derive(Clone)]
struct Fake {
    url: String,
    store: Arc<Mutex<Store>>,
}

impl Fake {
    async fn start(welcome: &'static str, databases: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://admin:top%3Asecret@{}", listener.local_addr().unwrap());
        let fake = Self { url, store: Arc::default() };
        fake.add(databases);
        let this = fake.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).await.unwrap();
                let (status, body) = this.answer(welcome, &head, &String::from_utf8(body).unwrap());
                let head =
                    format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        });
        fake
    }

    fn answer(&self, welcome: &str, head: &str, body: &str) -> (u16, String) {
        if !head.lines().any(|line| line == format!("authorization: {CREDENTIALS}")) {
            return (401, r#"{"error":"unauthorized","reason":"Name or password is incorrect."}"#.to_owned());
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, revision) = target.split_once("?rev=").unwrap_or((target, ""));
        let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned();
        let store = &mut *self.store.lock().unwrap();
        let is_document = path.matches('/').count() > 1;
        let old = store.get(&path).cloned();
        let conflicts = old.as_ref().is_some_and(|old| old["_rev"] != revision);
        let (status, answer) = match method {
            "GET" if path == "/" => return (200, welcome.to_owned()),
            "GET" if path == "/_all_dbs" => (200, json!(databases(store))),
            "DELETE" if store.contains_key("/undeletable") => {
                (500, json!({"reason": format!("the disk of {path} is gone")}))
            }
            "PUT" if is_document && conflicts => (409, json!({"reason": "Document update conflict."})),
            "PUT" if old.is_some() && !is_document => (412, json!({"reason": "The database already exists."})),
            "PUT" => {
                let mut value = if body.is_empty() { json!({}) } else { serde_json::from_str(body).unwrap() };
                let next = format!("{revision}x");
                value["_rev"] = json!(next);
                store.insert(path, value);
                (201, json!({"rev": next}))
            }
            _ if old.is_none() => (404, json!({"reason": "missing"})),
            "DELETE" if is_document && conflicts => (409, json!({"reason": "Document update conflict."})),
            "DELETE" => {
                store.retain(|other, _| *other != path && !other.starts_with(&format!("{path}/")));
                (200, json!({"ok": true}))
            }
            _ => (200, old.unwrap()),
        };
        (status, answer.to_string())
    }

    fn add(&self, databases: &[&str]) {
        self.store.lock().unwrap().extend(databases.iter().map(|name| (format!("/{name}"), json!({}))));
    }

    fn databases(&self) -> Vec<String> {
        databases(&self.store.lock().unwrap())
    }

    fn document(&self) -> Option<Value> {
        self.store.lock().unwrap().get(DOCUMENT).cloned()
    }

    /// As a run leaves it that was killed, or one of which nothing is known.
    fn add_claim(&self, owner: &Owner, channels: &[&str]) {
        let claim = json!({"owner": owner, "channels": channels, "made_internal": true, "_rev": "7"});
        self.store.lock().unwrap().insert(DOCUMENT.to_owned(), claim);
        self.add(&[INTERNAL]);
    }

    async fn claim(&self) -> Result<Databases, CouchDbError> {
        claim(&[&self.url]).await
    }

    async fn refusal(&self) -> String {
        self.claim().await.unwrap_err().to_string()
    }

    /// Without user and password.
    fn shown(&self) -> String {
        self.url.replace("admin:top%3Asecret@", "")
    }
}

fn databases(store: &Store) -> Vec<String> {
    store.keys().filter(|path| path.matches('/').count() == 1).map(|path| path[1..].to_owned()).collect()
}

async fn claim(urls: &[&str]) -> Result<Databases, CouchDbError> {
    let couchdbs: Vec<CouchDb> = urls.iter().map(|url| url.parse().unwrap()).collect();
    Databases::claim(&couchdbs, &Topology::solo(), TIMEOUT, |_| Ok(())).await
}

/// This process, before it was started.
fn dead() -> Owner {
    Owner { started: 1, ..Owner::this() }
}

#[tokio::test]
async fn what_a_run_made_is_removed_and_nothing_else() {
    let fake = Fake::start(WELCOME, &SYSTEM).await;
    let databases = fake.claim().await.unwrap();
    fake.add(&OWN);
    databases.release().await.unwrap();
    assert_eq!(fake.databases(), SYSTEM);
    assert_eq!(fake.document(), None);
}

#[tokio::test]
async fn what_others_have_stays() {
    let others = ["fabric__internal", "mychannel2_", "otherchannel_basic"];
    let fake = Fake::start(WELCOME, &others).await;
    let databases = fake.claim().await.unwrap();
    fake.add(&OWN);
    databases.release().await.unwrap();
    assert_eq!((fake.databases(), fake.document()), (others.map(str::to_owned).to_vec(), None), "was there before");

    let fake = Fake::start(WELCOME, &[INTERNAL]).await;
    fake.claim().await.unwrap().release().await.unwrap();
    assert_eq!((fake.databases(), fake.document()), (vec![INTERNAL.to_owned()], None), "was there before, alone");

    let fake = Fake::start(WELCOME, &[]).await;
    let databases = fake.claim().await.unwrap();
    fake.add(&OWN);
    fake.add(&others);
    databases.release().await.unwrap();
    assert_eq!((fake.databases(), fake.document()), (others.map(str::to_owned).to_vec(), None), "came meanwhile");
}

#[tokio::test]
async fn of_two_runs_one_gets_it() {
    let fake = Fake::start(WELCOME, &[]).await;
    let (first, second) = tokio::join!(fake.claim(), fake.claim());
    let (first, refused) = match (first, second) {
        (Ok(first), Err(refused)) | (Err(refused), Ok(first)) => (first, refused.to_string()),
        other => panic!("{other:?}"),
    };
    let own = std::process::id();
    assert!(refused.contains(&format!("is in use by another run, of process {own} of ")), "{refused}");
    assert!(refused.contains(&format!("delete {}{DOCUMENT}", fake.shown())), "{refused}");
    first.release().await.unwrap();
    fake.claim().await.unwrap().release().await.unwrap();
    assert_eq!(fake.databases(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_run_left_is_removed_by_the_next_one() {
    let fake = Fake::start(WELCOME, &SYSTEM).await;
    fake.add_claim(&dead(), &["mychannel", "second"]);
    fake.add(&OWN);
    fake.add(&["second_basic"]);
    let databases = fake.claim().await.unwrap();
    assert_eq!(fake.databases(), ["_replicator", "_users", INTERNAL]);
    assert!(fake.refusal().await.contains("is in use by another run"), "it is claimed");
    fake.add(&OWN);
    databases.release().await.unwrap();
    assert_eq!(fake.databases(), SYSTEM);
}

#[tokio::test]
async fn a_claim_that_can_not_be_taken_over_is_left() {
    let fake = Fake::start(WELCOME, &OWN).await;
    fake.add_claim(&Owner { place: "elsewhere boot pid".to_owned(), ..dead() }, &["mychannel"]);
    let refusal = fake.refusal().await;
    assert!(
        refusal.contains("is in use by another run, of process ") && refusal.contains(" of elsewhere;"),
        "{refusal}"
    );
    assert_eq!(fake.databases().len(), OWN.len() + 1);

    // What it left is removed, but another network's databases are in the way.
    let fake = Fake::start(WELCOME, &["mychannel_"]).await;
    fake.add_claim(&dead(), &["second"]);
    fake.add(&["second_basic"]);
    let refusal = fake.refusal().await;
    assert!(refusal.contains("another network's channel mychannel: mychannel_;"), "{refusal}");
    assert_eq!((fake.databases(), fake.document()), (vec![INTERNAL.to_owned(), "mychannel_".to_owned()], None));
}

#[tokio::test]
async fn all_are_claimed_or_none() {
    let (good, bad) = (Fake::start(WELCOME, &[]).await, Fake::start(WELCOME, &OWN).await);
    let error = claim(&[&good.url, &bad.url]).await.unwrap_err();
    assert_eq!(error.url, bad.shown());
    assert_eq!(good.databases(), Vec::<String>::new());
}

#[tokio::test]
async fn databases_of_another_ledger_are_reported_and_kept() {
    let fake = Fake::start(WELCOME, &[&OWN[..], &[INTERNAL, "mychannel_c", "mychannel_d"]].concat()).await;
    let (refusal, url) = (fake.refusal().await, fake.shown());
    assert!(refusal.starts_with(&format!("--couchdb {url}: has databases of another network's channel")), "{refusal}");
    assert!(refusal.contains("mychannel: mychannel_, mychannel__lifecycle, mychannel_basic, "), "{refusal}");
    assert!(refusal.contains("mychannel_c and 1 more;"), "{refusal}");
    assert!(refusal.contains(&format!("curl -u USER -X DELETE '{url}/mychannel_'")), "{refusal}");
    assert_eq!((fake.databases().len(), fake.document()), (7, None));
}

#[tokio::test]
async fn what_a_peer_would_not_start_on_is_reported() {
    let fake = Fake::start(WELCOME, &["_users", "wiki"]).await;
    let refusal = fake.refusal().await;
    assert!(refusal.contains("has databases that are no peer's: wiki; a peer refuses to start"), "{refusal}");
    assert_eq!(fake.databases(), ["_users", "wiki"]);

    for (welcome, expected) in [
        (r#"{"couchdb":"Welcome","version":"1.7.2"}"#, "is version 1.7.2, and a peer needs 2.0 or newer"),
        (r#"{"version":"new"}"#, "what answers there is no CouchDB: 200 OK {\"version\":\"new\"}"),
        ("<html>\nhello", "what answers there is no CouchDB: 200 OK <html> hello"),
        ("", "(an empty answer)"),
    ] {
        let refusal = Fake::start(welcome, &[]).await.refusal().await;
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_shown() {
    let fake = Fake::start(WELCOME, &[]).await;
    let error = claim(&[&fake.url.replace("secret", "wrongsecret")]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("refuses the user or the password") && text.contains("is incorrect"), "{text}");
    assert!(!format!("{text} {error:?}").contains("wrongsecret"), "{text} {error:?}");
}

#[tokio::test]
async fn a_missing_and_a_silent_server_are_reported_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://a:b@{}", listener.local_addr().unwrap());
    let bound = Duration::from_millis(50);
    let couchdb = [url.parse().unwrap()];
    let begin = tokio::time::Instant::now();
    let silent = Databases::claim(&couchdb, &Topology::solo(), bound, |_| Ok(())).await.unwrap_err().to_string();
    assert!(silent.contains("can't be asked: no answer within 50.0ms"), "{silent}");
    assert!(begin.elapsed() < TIMEOUT, "{:?}", begin.elapsed());
    drop(listener);
    let refused = claim(&[&url]).await.unwrap_err().to_string();
    assert!(refused.contains("can't be asked: Connection refused"), "{refused}");
}

#[cfg(feature = "docker")]
#[tokio::test]
async fn nodes_that_do_not_reach_it_are_reported_where_it_was_found() {
    let fake = Fake::start(WELCOME, &[]).await;
    let loopback = |address: IpAddr| Err(crate::runtime::docker::Error::Loopback { address }.into());
    let couchdb = [fake.url.replace("127.0.0.1", "localhost").parse().unwrap()];
    let error = Databases::claim(&couchdb, &Topology::solo(), TIMEOUT, loopback).await.unwrap_err().to_string();
    assert!(error.contains("is found at 127.0.0.1, the loopback of this machine"), "{error}");
    assert_eq!(fake.databases(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_removed_is_reported() {
    let fake = Fake::start(WELCOME, &[]).await;
    let databases = fake.claim().await.unwrap();
    fake.add(&["mychannel_", "undeletable"]);
    let left = databases.release().await.unwrap_err();
    let text = left[0].to_string();
    assert!(text.contains("answers 500 to DELETE /mychannel_: the disk of /mychannel_ is gone"), "{text}");
}

#[test]
fn a_database_is_known_by_its_channel() {
    for (channel, database, is) in [
        ("mychannel", "mychannel_", true),
        ("mychannel", "mychannel_my$cc$$pcollection", true),
        ("mychannel", "mychannel2_", false),
        ("mychannel", "my_", false),
        ("mychannel", "_users", false),
        ("a.b", "a$b_lscc", true),
        ("a.b", "a_b", false),
        ("fabric", "fabric__lifecycle", true),
        ("fabric", "fabric__internal", false),
    ] {
        assert_eq!(is_of_channel(channel, database), is, "{channel} {database}");
    }
    let long = format!("{}.{}", "c".repeat(49), "d".repeat(199));
    let cut = format!("{}$", "c".repeat(49));
    assert!(is_of_channel(&long, &format!("{}_", long.replace('.', "$"))));
    assert!(is_of_channel(&long, &format!("{cut}(0123)_")));
    assert!(is_of_channel(&long, &format!("{cut}_basic(0123)")));
    assert!(!is_of_channel(&long, &format!("{cut}c_basic")));
}
