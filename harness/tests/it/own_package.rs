//! Packages that were made elsewhere, by `tar` as people do by hand: installed to the byte, whatever
//! server they name, and led to the one of the run.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are the static programs; `cargo xtask test` builds them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::e2e::E2e;

const CASES: &str = "[[case]]\nname = 'it is created'\nsubmit = ['CreateAsset', 'a1', 'blue', '5', 'Tom', '300']\n\
                     [[case]]\nname = 'it is there'\nsetup = 'restart-peers'\n\
                     evaluate = ['AssetExists', 'a1']\npayload = true\n";
/// As documented for CCaaS, with an address of production, a name for its certificate, and a field that
/// Fabric does not know.
const FIXED: &str = r#"{"address":"production.example.com:9999","domain":"basic.example.com","dial_timeout":"10s",
    "tls_required":"false","region":"eu"}"#;
const TEMPLATED: &str = r#"{"address":"{{.host}}:{{.port}}","dial_timeout":"{{index .timeouts 0}}s",
    "tls_required":false}"#;

fn tar(directory: &Path, entries: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").args(["-czf", "-", "-C"]).arg(directory).args(entries).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Writes `own.tar.gz` in the directory of the chaincode file, with an index, and with what a peer passes over;
/// its entries are in this order.
fn package(e2e: &E2e, kind: &str, connection: &str, order: &[&str]) {
    let (outer, code) = (e2e.path("outer"), e2e.path("code"));
    let index = code.join("META-INF/statedb/couchdb/indexes/owner.json");
    fs::create_dir_all(index.parent().unwrap()).unwrap();
    fs::create_dir_all(&outer).unwrap();
    fs::write(index, r#"{"index":{"fields":["Owner"]},"ddoc":"d","name":"byOwner","type":"json"}"#).unwrap();
    fs::write(code.join("connection.json"), connection).unwrap();
    fs::write(outer.join("code.tar.gz"), tar(&code, &["."])).unwrap();
    fs::write(outer.join("metadata.json"), format!(r#"{{"path":"","type":"{kind}","label":"own+1.0"}}"#)).unwrap();
    fs::write(outer.join("README"), "peers pass this over").unwrap();
    fs::write(e2e.path("own.tar.gz"), tar(&outer, order)).unwrap();
}

fn file(fields: &str) -> String {
    let sample = std::env::var("CHAINCODE_SAMPLE").expect("`cargo xtask test` sets CHAINCODE_SAMPLE");
    format!("[chaincode]\nname = 'basic'\n{fields}\n[server]\nprogram = '{sample}'\n{CASES}")
}

fn on(runtime: &[&str], fields: &str) -> E2e {
    with(E2e::new(&[runtime, &["--keep", "always"]].concat()), fields)
}

fn with(mut e2e: E2e, fields: &str) -> E2e {
    e2e.chaincode = Some(e2e.file("my.toml", &file(fields)));
    e2e
}

fn passes(e2e: &E2e) {
    let text = e2e.printed(0);
    assert!(text.contains("2 passed, 0 failed, 0 not run"), "{text}");
    let evidence = e2e.evidence();
    let of_package = |name: &str| {
        let found = evidence.iter().find(|(path, _)| path.ends_with(Path::new("package").join(name)));
        found.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    let builder = std::env::var("CCAAS_BUILDER").unwrap();
    let inspected = Command::new(builder).arg("inspect").arg(e2e.path("own.tar.gz")).output().unwrap();
    assert_eq!(of_package("contents.txt").unwrap(), String::from_utf8_lossy(&inspected.stdout));
    let id = of_package("contents.txt").unwrap().split_whitespace().nth(2).unwrap().to_owned();
    assert!(id.starts_with("own+1.0:"), "{id}");
    // A package may have a key.
    assert!(!evidence.iter().any(|(path, _)| path.to_string_lossy().ends_with(".tar.gz")));
    let log = evidence.iter().find(|(path, _)| path.ends_with("peer0.org1.example.com.log")).unwrap();
    let log = String::from_utf8_lossy(&log.1);
    assert!(log.contains(&id), "the peer has the package under another ID");
    assert_eq!(log.matches("Starting peer:").count(), 2, "the peer was restarted once");
}

/// A package with a fixed address, and one whose templates decide, each with TLS both ways.
fn both_pass(new: impl Fn() -> E2e) {
    let e2e = with(new(), "package = 'own.tar.gz'");
    package(&e2e, "external", FIXED, &["README", "code.tar.gz", "metadata.json"]);
    passes(&e2e);

    let values = "values = { host = '${CHAINCODE_SERVER_HOST}', port = '${CHAINCODE_SERVER_PORT}', timeouts = [7] }";
    let e2e = with(new(), &format!("package = 'own.tar.gz'\n{values}"));
    package(&e2e, "CCaaS", TEMPLATED, &["code.tar.gz", "metadata.json"]);
    passes(&e2e);
}

#[test]
fn a_package_is_installed_as_it_is() {
    both_pass(|| E2e::new(&["--runtime", "embedded", "--topology", "duo", "--keep", "always"]));
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_package_is_installed_as_it_is() {
    both_pass(|| E2e::process(&["--keep", "always"]));
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_package_is_installed_as_it_is() {
    for fabric in ["2.5", "3.1"] {
        both_pass(|| E2e::new(&["--runtime", "docker", "--fabric", fabric, "--keep", "always"]));
    }
}

#[test]
fn a_value_that_a_template_lacks_is_reported() {
    let e2e = on(&["--runtime", "embedded"], "package = 'own.tar.gz'\nvalues = { host = 'h' }");
    package(&e2e, "ccaas", TEMPLATED, &["metadata.json", "code.tar.gz"]);
    let text = e2e.printed(2);
    let cause = "likely cause: The external builder rejected its input. connection.json: address: \
                 found a template with the key \"port\"";
    assert!(text.contains(cause), "{text}");
}

#[test]
fn what_does_not_go_with_a_package_is_reported_before_anything_starts() {
    for (fields, expected) in [
        ("package = 'nowhere.tar.gz'", "nowhere.tar.gz: cannot read it: No such file"),
        ("package = 'my.toml'", "my.toml: the package: found data that is not gzip"),
        ("package = 'own.tar.gz'\nlabel = 'a'", "leave out `label` and `indexes`"),
        ("package = 'own.tar.gz'\nindexes = 'META-INF'", "leave out `label` and `indexes`"),
        ("package = 'own.tar.gz'\nalso_named = ['b']", "needs its own package, but `package` is one package"),
        ("values = { a = 'b' }", "`values` needs a `package` with templates"),
        ("package = 'own.tar.gz'\nvalues = { a = '${HOME}' }", "unknown variable ${HOME}"),
    ] {
        let e2e = on(&["--runtime", "embedded"], fields);
        package(&e2e, "ccaas", FIXED, &["metadata.json", "code.tar.gz"]);
        let text = e2e.printed(2);
        assert!(text.contains("my.toml") && text.contains(expected), "{fields}\n---\n{text}");
    }
}
