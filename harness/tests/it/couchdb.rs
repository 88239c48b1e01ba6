//! Peers whose world state is in a CouchDB: `COUCHDB_URL` is that of an administrator, of a CouchDB on
//! this machine that no other network uses meanwhile. Its databases are as before afterwards.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ccaas_builder::connection::Connection;
use ccaas_builder::package::{self, package_id};
use fabric_harness::check::definition::ChaincodeSection;
use fabric_harness::client::{Definition, Invocation};
use fabric_harness::console::timeline::Timeline;
use fabric_harness::couchdb::Databases;
use fabric_harness::deploy::{Administration, Package};
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{ChaincodePlacement, ChaincodeSpec, Runtime, RuntimeOptions, ServerRequest};
use fabric_harness::server::ServerSource;
use fabric_network::couchdb::CouchDb;
use fabric_network::identity::Validity;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::e2e::E2e;

const PEER: &str = "peer0.org1.example.com";
const TIMEOUT: Duration = Duration::from_secs(30);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// The CouchDB of this machine.
struct Server {
    couchdb: CouchDb,
    url: String,
}

impl Server {
    fn new() -> Self {
        let url = variable("COUCHDB_URL");
        Self { couchdb: url.parse().unwrap(), url }
    }

    /// User and password as they go through HTTP.
    fn credentials(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.couchdb.username(), self.couchdb.password().reveal()))
    }

    fn ask(&self, request: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect((self.couchdb.host(), self.couchdb.port())).unwrap();
        // Of HTTP/1.0, so that the answer comes in one piece and ends.
        let head = format!(
            "{request} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.couchdb.address(),
            self.credentials(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer}"));
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{request}: {error}: {answer}"))
    }

    fn databases(&self) -> Vec<String> {
        serde_json::from_value(self.ask("GET /_all_dbs", "")).unwrap()
    }

    fn e2e(&self, arguments: &[&str]) -> E2e {
        E2e::process(&[&["--couchdb", &*self.url], arguments].concat())
    }
}

#[test]
#[ignore = "needs Fabric's peer and orderer (FABRIC_BIN or PATH) and a CouchDB (COUCHDB_URL)"]
fn needs_couchdb_a_run_passes_leaves_no_database_and_shows_no_password() {
    let server = Server::new();
    let before = server.databases();
    server.e2e(&[]).assert_passes(19, 1);
    assert_eq!(server.databases(), before);

    let e2e = server.e2e(&["-vv", "--keep", "always"]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("COUCHDBCONFIG_PASSWORD=(hidden)"), "{text}");
    let evidence = e2e.evidence();
    let log = evidence.iter().find(|(path, _)| path.ends_with(format!("{PEER}.log"))).unwrap();
    let log = String::from_utf8_lossy(&log.1);
    assert!(log.contains("Created state database mychannel_asset-transfer"), "{log}");
    for secret in [server.couchdb.password().reveal(), &server.credentials()] {
        assert!(!text.contains(secret), "the password is in the output");
        let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(secret);
        let shown: Vec<_> = evidence.iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect();
        assert!(shown.is_empty(), "the password is in {shown:?}");
    }
    assert_eq!(server.databases(), before);
}

#[test]
#[ignore = "needs Fabric's peer and orderer (FABRIC_BIN or PATH) and a CouchDB (COUCHDB_URL)"]
fn needs_couchdb_interrupted_and_killed_runs_leave_no_database() {
    let server = Server::new();
    let before = server.databases();
    let came = || -> Vec<String> { server.databases().into_iter().filter(|name| !before.contains(name)).collect() };
    let interrupted = server.e2e(&["--keep", "never"]);
    assert_eq!(interrupted.end_after("commit", Signal::INT), Some(2));
    assert_eq!(came(), Vec::<String>::new());

    let killed = server.e2e(&["--keep", "never"]);
    assert_eq!(killed.end_after("commit", Signal::KILL), None);
    killed.assert_nothing_left();
    assert!(came().contains(&"mychannel_".to_owned()), "{:?}", came());
    server.e2e(&[]).assert_passes(19, 1);
    assert_eq!(came(), Vec::<String>::new());
}

#[test]
#[ignore = "needs Fabric's peer and orderer (FABRIC_BIN or PATH) and a CouchDB (COUCHDB_URL)"]
fn needs_couchdb_the_databases_of_another_ledger_are_reported_and_kept() {
    let server = Server::new();
    server.ask("PUT /mychannel_mine", "");
    let (output, text) = server.e2e(&["--keep", "never"]).output();
    let after = server.databases();
    server.ask("DELETE /mychannel_mine", "");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("has databases of another network's channel mychannel: mychannel_mine;"), "{text}");
    assert!(after.contains(&"mychannel_mine".to_owned()), "what it did not make is not its to remove");
}

/// What a package has for CouchDB goes through the builder and the peer into CouchDB.
#[tokio::test]
#[ignore = "needs Fabric's peer and orderer (FABRIC_BIN or PATH) and a CouchDB (COUCHDB_URL)"]
async fn needs_couchdb_the_indexes_of_a_package_are_made_and_used() {
    let server = Server::new();
    let topology = Topology::solo();
    let options = RuntimeOptions::new(variable("CCAAS_BUILDER"));
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    let runtime = ProcessRuntime::find(options, directory.as_deref()).await.unwrap();
    let databases = Databases::claim(std::slice::from_ref(&server.couchdb), &topology, TIMEOUT, |_| Ok(())).await;
    let databases = databases.unwrap();

    let placed = runtime.place(&topology, &[ServerRequest::new("basic", &ServerSource::default())]).await.unwrap();
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
    let couchdb = [(PEER.to_owned(), server.couchdb.clone())].into();
    let options = RenderOptions { couchdb, ..RenderOptions::new(runtime.release(), validity) };
    let bundle = render(&topology, &placed.placement, &options).unwrap();
    let (package, chaincode) = with_indexes(&placed.chaincodes["basic"]);
    let running = placed.start(&bundle, &[chaincode]).await.unwrap();
    let administration = Administration::connect(&topology, &bundle, running.nodes(), TIMEOUT).await.unwrap();
    let (channel, definition) = (&topology.channels[0], with_collection());
    administration.join_and_install(&topology, &bundle, &package, &Timeline::begin(true)).await.unwrap();
    administration.approve(channel, &definition, &package).await.unwrap();
    administration.commit(channel, &definition).await.unwrap();
    let gateway = administration.gateway(channel, &bundle).unwrap();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    gateway.submit_transaction(&Invocation::new("mychannel", "basic", "InitLedger"), &[], deadline).await.unwrap();

    let private = format!("mychannel_basic$$p{COLLECTION}").replace('$', "%24");
    for (database, name, fields) in [
        ("mychannel_basic", "byOwner", json!([{"Owner": "asc"}])),
        (&private, "byColor", json!([{"Color": "asc"}, {"Size": "asc"}])),
    ] {
        let indexes = server.ask(&format!("GET /{database}/_index"), "");
        let index = indexes["indexes"].as_array().unwrap().iter().find(|index| index["name"] == name).cloned();
        let index = index.unwrap_or_else(|| panic!("{indexes}"));
        assert_eq!((&index["ddoc"], &index["def"]["fields"]), (&json!(format!("_design/{name}Doc")), &fields));
    }
    let query = json!({"selector": {"Owner": "Tomoko"}}).to_string();
    assert_eq!(server.ask("POST /mychannel_basic/_explain", &query)["index"]["name"], "byOwner");
    assert_eq!(server.ask("POST /mychannel_basic/_find", &query)["docs"][0]["_id"], "asset1");
    running.stop().await.unwrap();
    databases.release().await.unwrap_or_else(|left| panic!("{left:?}"));
}

/// The collection of private data that has an index.
const COLLECTION: &str = "assets";

fn with_collection() -> Definition {
    let section =
        format!("name = 'basic'\n[[collections]]\nname = '{COLLECTION}'\npolicy = \"OR('Org1MSP.member')\"\n");
    toml::from_str::<ChaincodeSection>(&section).unwrap().definitions().remove(0)
}

fn with_indexes(place: &ChaincodePlacement) -> (Package, ChaincodeSpec) {
    let owner = br#"{"index":{"fields":["Owner"]},"ddoc":"byOwnerDoc","name":"byOwner","type":"json"}"#;
    let color = br#"{"index":{"fields":["Color","Size"]},"ddoc":"byColorDoc","name":"byColor","type":"json"}"#;
    let metadata = PathBuf::from("META-INF/statedb/couchdb");
    let of_collection = metadata.join("collections").join(COLLECTION).join("indexes/byColor.json");
    let content = package::Package {
        label: "basic_1.0".into(),
        kind: "ccaas".into(),
        connection: Connection { address: place.address.clone(), ..Connection::default() },
        extra_files: BTreeMap::from([
            (metadata.join("indexes/byOwner.json"), owner.to_vec()),
            (of_collection, color.to_vec()),
        ]),
    };
    let bytes = content.to_bytes().unwrap();
    let package = Package { id: package_id("basic_1.0", &bytes), bytes, connection: String::new(), organization: None };
    let environment = [("CHAINCODE_ID", &package.id), ("CHAINCODE_SERVER_ADDRESS", &place.listen)];
    let server = ChaincodeSpec {
        name: "basic".to_owned(),
        source: ServerSource::Program(variable("CHAINCODE_SAMPLE").into()),
        environment: environment.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        ..ChaincodeSpec::default()
    };
    (package, server)
}

#[test]
#[ignore = "needs Fabric's peer and orderer (FABRIC_BIN or PATH) and a CouchDB (COUCHDB_URL)"]
fn needs_couchdb_containers_are_passed_over_for_one_on_loopback() {
    let server = Server::new();
    assert!(server.couchdb.host().starts_with("127."), "this test needs a CouchDB on this machine's loopback");
    let e2e = E2e::new(&["--couchdb", &server.url]);
    let mut command = e2e.command();
    // With --fabric-bin containers would not be tried at all.
    if let Ok(programs) = std::env::var("FABRIC_BIN") {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{programs}:{path}"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("runtime docker passed over: ") && text.contains("runtime process, "), "{text}");
}

/// It would be another loopback, where nobody listens.
#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_couchdb_on_this_machines_loopback_is_refused() {
    let text = refusal_of("docker");
    assert!(
        text.contains("is found at 127.0.0.1, the loopback of this machine") && text.contains("172.17.0.1"),
        "{text}"
    );
}

/// A pass would mean that CouchDB had been used.
#[test]
fn an_embedded_network_refuses_a_couchdb() {
    let text = refusal_of("embedded");
    assert!(text.contains("would not be used: an embedded peer keeps its world state in memory"), "{text}");
}

/// The warning about one on this machine's loopback that welcomes everyone.
fn refusal_of(runtime: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://admin:topsecret@{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let body = r#"{"couchdb":"Welcome","version":"3.4.3"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // The rest of the request, or closing would lose the answer.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // Neither is ever started.
    let program = env!("CARGO_BIN_EXE_fabric-harness");
    let mut command = Command::new(program);
    command.args(["e2e", "--builder", program, "--chaincode", program, "--keep", "never", "--runtime", runtime]);
    let output = command.args(["--couchdb", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!text.contains("topsecret"), "{text}");
    text
}
