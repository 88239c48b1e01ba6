//! The same as a user sees it: `e2e` with a broken chaincode file, to its exit code and the first likely
//! cause that it prints.

use std::fs;
use std::sync::Mutex;

use serde_json::Value;

use super::servers::Authority;
use crate::builder::ByHand;
use crate::e2e::E2e;

/// The output of a run, and its exit.
struct Run {
    entry: &'static str,
    code: i32,
    options: &'static [&'static str],
    /// What the server's variables are instead; `{}` is the directory of the chaincode file.
    server: &'static [&'static str],
    /// More of the chaincode file.
    chaincode: &'static str,
    case: &'static str,
}

const PASSES: &str = "evaluate = ['AssetExists', 'a1']\npayload = false";
const CREATES: &str = "submit = ['CreateAsset', 'a1', 'blue', '5', 'Tom', '300']";

const NOT_RUN: Run =
    Run { entry: "", code: 2, options: &["--tls", "tls", "--timeout", "5"], server: &[], chaincode: "", case: PASSES };
const FAILED: Run = Run { code: 1, options: &["--tls", "off"], case: CREATES, ..NOT_RUN };
const OWN_PAIR: [&str; 2] = ["CHAINCODE_TLS_CERT={}/own.pem", "CHAINCODE_TLS_KEY={}/own.key"];

const RUNS: &[Run] = &[
    Run {
        entry: "wrong-package-id",
        options: &["--tls", "off", "--timeout", "5"],
        server: &["CHAINCODE_ID=another:0"],
        ..NOT_RUN
    },
    Run { entry: "plain-server", server: &["CHAINCODE_TLS_DISABLED=true"], ..NOT_RUN },
    Run { entry: "unknown-authority", server: &OWN_PAIR, ..NOT_RUN },
    Run {
        entry: "expired-certificate",
        server: &["CHAINCODE_TLS_CERT={}/ended.pem", "CHAINCODE_TLS_KEY={}/ended.key"],
        ..NOT_RUN
    },
    Run { entry: "client-certificate-missing", server: &["CHAINCODE_CLIENT_CA_CERT={}/ca.pem"], ..NOT_RUN },
    Run { entry: "type-refused", chaincode: "package = 'own.tar.gz'", ..NOT_RUN },
    Run { entry: "no-init-expected", case: "init = true\nsubmit = ['InitLedger']", ..FAILED },
    Run {
        entry: "no-endorsers",
        case: "chaincode = 'nowhere'\nevaluate = ['AssetExists', 'a1']\nerror = 'another text'",
        ..FAILED
    },
    Run {
        entry: "endorsement-policy",
        options: &["--tls", "off", "--topology", "duo"],
        case: "endorsing_organizations = ['Org1']\nsubmit = ['InitLedger']",
        ..FAILED
    },
];

impl Run {
    /// With a chaincode file, and what it names.
    fn put_into(&self, e2e: &mut E2e) {
        let directory = e2e.path("").display().to_string();
        let authority = Authority::new("ca");
        e2e.file("ca.pem", &authority.certificate);
        for (name, has_ended) in [("own", false), ("ended", true)] {
            let pair = authority.issue(&["127.0.0.1", "localhost"], has_ended);
            e2e.file(&format!("{name}.pem"), &pair.certificate);
            e2e.file(&format!("{name}.key"), &pair.key);
        }
        let connection = r#"{"address":"production.example.com:9999","tls_required":false}"#;
        let package = ByHand { kind: "golang", ..ByHand::new("own", connection) };
        fs::write(e2e.path("own.tar.gz"), package.bytes()).unwrap();

        let sample = std::env::var("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set");
        let variables = self.server.iter().map(|variable| format!("'{}', ", variable.replace("{}", &directory)));
        let (variables, Self { chaincode, case, .. }) = (variables.collect::<String>(), self);
        let file = format!(
            "[chaincode]\nname = 'basic'\n{chaincode}\n[server]\ncommand = ['env', {variables}'{sample}']\n\
             [[case]]\nname = 'it runs'\n{PASSES}\n\
             [[case]]\nname = 'it does'\n{case}\n"
        );
        e2e.chaincode = Some(e2e.file("my.toml", &file));
        e2e.arguments.extend(self.options.iter().map(|option| (*option).to_owned()));
    }

    /// What is not as it must be.
    fn wrong(&self, mut e2e: E2e) -> Option<String> {
        self.put_into(&mut e2e);
        let (output, text) = e2e.output();
        e2e.assert_nothing_left();
        let evidence = e2e.evidence();
        let report = evidence.iter().find(|(path, _)| path.ends_with("report.json"));
        let report: Value = report.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).unwrap_or_default();
        let first = &report["findings"][0];
        let named = text.split_once("likely cause: ").map_or("", |(_, rest)| rest);
        let is_first = first["cause"].as_str().is_some_and(|cause| named.starts_with(cause));
        let (code, entry) = (output.status.code(), self.entry);
        let is_right = (code, first["name"].as_str(), is_first) == (Some(self.code), Some(entry), true);
        (!is_right).then(|| format!("=== {entry} after exit code {code:?}: {first}\n{text}"))
    }
}

/// Runs them all, so many at once.
fn run(at_once: usize, new: impl Fn() -> E2e + Sync) {
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for share in RUNS.chunks(RUNS.len().div_ceil(at_once)) {
            scope.spawn(|| {
                let found: Vec<String> = share.iter().filter_map(|run| run.wrong(new())).collect();
                wrong.lock().unwrap().extend(found);
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_run_on_embedded_peers_prints_the_cause_first() {
    run(3, || E2e::new(&["--runtime", "embedded"]));
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_run_prints_the_cause_first() {
    run(1, || E2e::process(&[]));
}
