//! Packages that were made elsewhere, by `tar` as people do by hand: installed to the byte, whatever
//! server they name, and led to the one of the run. What peers cannot use as it is fails a case of its own.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::e2e::E2e;
use crate::kubernetes;

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
    assert!(text.contains("3 passed, 0 failed, 0 not run"), "{text}");
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

/// In 09, the peers of production would have to set `root_cert`. All of these connect in the run.
#[test]
fn a_package_that_peers_cannot_use_as_it_is_fails() {
    let server = r#"{"address":"a:9999","tls_required":false}"#;
    for (connection, index, expected) in [
        (
            r#"{"address":"ledger.example.com:9999","dial_timeout":"10s","tls_required":true}"#,
            None,
            "connection.json: root_cert: found nothing, expected PEM of the CA certificate",
        ),
        (r#"{"tls_required":false}"#, None, "connection.json: address: found nothing, expected host:port"),
        (
            r#"{"name":"test-network","version":"1.0.0"}"#,
            None,
            "connection.json: found only fields that peers ignore, such as \"name\"",
        ),
        (r#"{"address":"0.0.0.0:9999","tls_required":false}"#, None, "the peer would connect to itself"),
        (
            r#"{"address":"a:1","tls_required":true,"root_cert":"x","client_auth_required":true}"#,
            None,
            "connection.json: client_key: found nothing, expected PEM, because client_auth_required is true",
        ),
        (server, Some("statedb/couchdb/indexes/a.json"), "indexes/a.json: found a file that peers ignore"),
        (server, Some("META-INF/statedb/couchdb/a.json"), "couchdb/a.json: found a file in a directory that peers"),
    ] {
        let e2e = on(&["--runtime", "embedded"], "package = 'own.tar.gz'");
        if let Some(index) = index {
            let path = e2e.path("code").join(index);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        package(&e2e, "ccaas", connection, &["metadata.json", "code.tar.gz"]);
        let text = e2e.printed(1);
        assert!(text.contains("2 passed, 1 failed, 0 not run"), "{connection}\n---\n{text}");
        assert!(text.contains("FAILED: the package is complete") && text.contains(expected), "{expected}\n---\n{text}");
        assert!(!text.contains("likely cause"), "{text}");
    }
}

#[test]
fn what_peers_supply_may_be_missing_in_the_package() {
    let mutual = r#"{"address":"a:1","tls_required":true,"client_auth_required":true}"#;
    for (connection, supplied, passes) in [
        (r#"{"address":"a:9999","tls_required":true}"#, "'root_cert'", true),
        (r#"{"tls_required":false}"#, "'address'", true),
        (r#"{"address":"{{.address}}","tls_required":false}"#, "'address'", true),
        (mutual, "'root_cert', 'client_cert', 'client_key'", true),
        (mutual, "'client_cert', 'root_cert'", false),
        (r#"{"address":"a:9999"}"#, "'tls_required', 'root_cert'", true),
        // The peers of this run require TLS.
        (r#"{"address":"a:9999"}"#, "'tls_required'", false),
    ] {
        let fields = format!("package = 'own.tar.gz'\nsupplied_by_peers = [{supplied}]");
        let e2e = on(&["--runtime", "embedded", "--tls", "tls"], &fields);
        package(&e2e, "ccaas", connection, &["metadata.json", "code.tar.gz"]);
        let text = e2e.printed(i32::from(!passes));
        let counts = if passes { "3 passed, 0 failed" } else { "2 passed, 1 failed" };
        assert!(text.contains(counts), "{connection} {supplied}\n---\n{text}");
        assert!(passes || text.contains(&format!("other than {}", supplied.replace('\'', ""))), "{text}");
    }
}

/// What the run replaces is in the output and in each report.
#[test]
fn what_the_run_replaces_is_listed() {
    let e2e = on(&["--runtime", "embedded"], "package = 'own.tar.gz'");
    package(&e2e, "ccaas", FIXED, &["metadata.json", "code.tar.gz"]);
    let text = e2e.printed(0);
    let evidence = e2e.evidence();
    let report = |name: &str| {
        let (_, bytes) = evidence.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let json: serde_json::Value = serde_json::from_str(&report("report.json")).unwrap();
    let fields: Vec<_> =
        json["replaced"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    let expected =
        ["address", "client_auth_required", "client_cert", "client_key", "domain", "root_cert", "tls_required"];
    assert_eq!(fields, expected);
    assert_eq!(json["replaced"][0]["package"], "production.example.com:9999");
    assert_eq!(json["cases"][0]["name"], "the package is complete");
    let html = report("report.html");
    assert!(html.contains("<b>address</b> production.example.com:9999 → 127.0.0.1:"), "{html}");
    for text in [text, report("report.txt")] {
        assert!(text.contains("    address               production.example.com:9999 -> 127.0.0.1:"), "{text}");
        assert!(text.contains("    tls_required          false -> true\n"), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}

/// The peers of the topology `duo`.
const DUO: [&str; 4] =
    ["peer0.org1.example.com", "peer1.org1.example.com", "peer0.org2.example.com", "peer1.org2.example.com"];

/// The connection.json of a package as fablo makes it for a network with TLS: certificates and key of each peer, of
/// fablo's own authority.
fn fablo_with_tls(peers: &[&str]) -> String {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut templates = [String::new(), String::new(), String::new()];
    for (number, peer) in peers.iter().enumerate() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![(*peer).to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pems = [params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem(), authority.pem()];
        for (template, pem) in templates.iter_mut().zip(pems) {
            let condition = if number == 0 { "if" } else { "else if" };
            let branch = format!("{{{{{condition} eq .peer_hostname \"{peer}\"}}}}{pem}");
            template.push_str(&branch);
        }
    }
    let [cert, key, root] = templates.map(|template| template + "{{end}}");
    let server = "ccaas_{{.peer_hostname}}_mychannel_basic_1.0";
    let connection = serde_json::json!({
        "address": format!("{server}:7052"), "domain": server, "dial_timeout": "10s", "tls_required": true,
        "client_auth_required": true, "client_cert": cert, "client_key": key, "root_cert": root,
    });
    connection.to_string()
}

/// Packages as the scripts of fabric-samples (test-network, test-network-k8s) and of fablo make them. Each peer reads
/// another address in them; `resolves` is whether the run keeps it. A host of fablo ends in a number, as a version
/// does, which no TLS server in Rust accepts as its name.
fn packages_of_known_networks_pass(new: impl Fn() -> E2e, resolves: impl Fn(&str) -> bool) {
    for (connection, address, on_peer) in [
        (
            r#"{ "address": "{{.peername}}_basic_ccaas:9999", "dial_timeout": "10s", "tls_required": false }"#
                .to_owned(),
            "{{.peername}}_basic_ccaas:9999",
            Some("peer0org2_basic_ccaas:9999"),
        ),
        (
            r#"{ "address": "{{.peername}}-ccaas-basic:9999", "dial_timeout": "10s", "tls_required": false }"#
                .to_owned(),
            "{{.peername}}-ccaas-basic:9999",
            Some("peer0org2-ccaas-basic:9999"),
        ),
        (
            r#"{ "address": "ccaas_{{.peer_hostname}}_mychannel_basic_1.0:7052", "dial_timeout": "10s",
                 "domain": "ccaas_{{.peer_hostname}}_mychannel_basic_1.0", "tls_required": false }"#
                .to_owned(),
            "ccaas_{{.peer_hostname}}_mychannel_basic_1.0:7052",
            None,
        ),
        (fablo_with_tls(&DUO), "ccaas_{{.peer_hostname}}_mychannel_basic_1.0:7052", None),
    ] {
        let e2e = with(new(), "package = 'own.tar.gz'");
        package(&e2e, "ccaas", &connection, &["metadata.json", "code.tar.gz"]);
        let text = e2e.printed(0);
        assert!(text.contains("3 passed, 0 failed, 0 not run"), "{connection}\n---\n{text}");
        let expected = match on_peer.filter(|address| resolves(address)) {
            Some(on_peer) => format!("the peers resolve {on_peer}, the package's address, to the chaincode server"),
            None => format!("    address               {address} -> "),
        };
        assert!(text.contains(&expected), "{expected}\n---\n{text}");
        assert_eq!(text.matches("    address  ").count(), usize::from(!expected.starts_with("the peers")), "{text}");
    }
}

#[test]
fn packages_of_fabric_samples_and_fablo_pass() {
    packages_of_known_networks_pass(|| E2e::new(&["--runtime", "embedded", "--topology", "duo"]), |_| false);
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_packages_of_fabric_samples_and_fablo_pass() {
    packages_of_known_networks_pass(|| E2e::process(&["--topology", "duo"]), |_| false);
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_packages_of_fabric_samples_and_fablo_pass() {
    for fabric in ["2.5", "3.1"] {
        let new = || E2e::new(&["--runtime", "docker", "--fabric", fabric, "--topology", "duo"]);
        packages_of_known_networks_pass(new, |_| true);
    }
}

/// A pod's hosts file refuses names with `_`.
#[test]
#[ignore = "needs a Kubernetes cluster that can have Fabric's images: FABRIC_HARNESS_KUBE_CONTEXT"]
fn needs_kubernetes_packages_of_fabric_samples_and_fablo_pass() {
    packages_of_known_networks_pass(|| kubernetes::e2e(&["--topology", "duo"]), |address| !address.contains('_'));
}

/// Each organization of a fablo network has a package of its own, which says nothing about the peers of others.
#[test]
fn a_package_that_lacks_something_on_one_peer_is_reported_for_that_peer() {
    let e2e = with(E2e::new(&["--runtime", "embedded", "--topology", "duo"]), "package = 'own.tar.gz'");
    package(&e2e, "ccaas", &fablo_with_tls(&DUO[..3]), &["metadata.json", "code.tar.gz"]);
    let text = e2e.printed(1);
    let expected = "on peer1.org2.example.com: connection.json: root_cert: found nothing, expected PEM";
    assert!(text.contains("2 passed, 1 failed, 0 not run") && text.contains(expected), "{text}");
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
        ("supplied_by_peers = ['address']", "`supplied_by_peers` needs a `package`"),
        (
            "package = 'own.tar.gz'\nsupplied_by_peers = ['adress']",
            "unknown field `adress`; the fields are address, client_auth_required, client_cert, client_key, dial_timeout, \
             domain, root_cert, tls_required",
        ),
        ("values = { a = 'b' }", "`values` needs a `package` with templates"),
        ("package = 'own.tar.gz'\nvalues = { a = '${HOME}' }", "unknown variable ${HOME}"),
    ] {
        let e2e = on(&["--runtime", "embedded"], fields);
        package(&e2e, "ccaas", FIXED, &["metadata.json", "code.tar.gz"]);
        let text = e2e.printed(2);
        assert!(text.contains("my.toml") && text.contains(expected), "{fields}\n---\n{text}");
    }
}
