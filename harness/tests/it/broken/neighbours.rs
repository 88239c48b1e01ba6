//! Cases that fail next to cases that pass because they expect a failure: what belongs to one must not be blamed for
//! the other. Prints how many of the causes were right, and how many were found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use serde_json::Value;

use crate::e2e::E2e;

/// The precision and recall that the causes must have, in percent.
const PRECISION: usize = 98;
const RECALL: usize = 90;

/// Passes: what it expects goes wrong.
const EXPECTED: &[&str] = &[
    "submit = ['InitLedger']\nendorsing_organizations = ['Org1']\ninvalid = 'ENDORSEMENT_POLICY_FAILURE'",
    "evaluate = ['AssetExists', 'a']\nchaincode = 'nowhere'\nerror = 'no'",
    "submit = ['InitLedger']\ninit = true\nerror = 'does not require initialization'",
    "submit = ['CreateAsset', 'a', 'blue', '5', 'Tom', '300']\nerror = 'already exists'",
    "evaluate = ['Missing']\nerror = 'Missing'",
    "submit = ['InitLedger']\nchaincode = 'nowhere'\nerror = 'no'",
];

/// Fails, and the cause that is known of it.
struct Failing {
    case: &'static str,
    cause: Option<&'static str>,
}

const FAILING: &[Failing] = &[
    Failing { case: "evaluate = ['AssetExists', 'a']\npayload = false", cause: None },
    Failing { case: "evaluate = ['ReadAsset', 'missing']\npayload = {ID = 'missing'}", cause: None },
    Failing { case: "submit = ['ReadAsset', 'missing']", cause: None },
    Failing { case: "evaluate = ['Gett', 'a']\npayload_text = 'a'", cause: Some("unknown-function") },
    Failing { case: "submit = ['InitLedger']\ninvalid = 'MVCC_READ_CONFLICT'", cause: None },
    Failing { case: "evaluate = ['ReadAsset', 'missing']\nerror = 'another text'", cause: None },
    Failing { case: "submit = ['TransferAsset', 'a', 'Tom']\nevent = {name = 'Nothing'}", cause: None },
    Failing { case: "submit = ['InitLedger']\nendorsing_organizations = ['Org1']", cause: Some("endorsement-policy") },
    Failing { case: "submit = ['InitLedger']\ninit = true", cause: Some("no-init-expected") },
    Failing {
        case: "evaluate = ['AssetExists', 'a']\nchaincode = 'nowhere'\nerror = 'another text'",
        cause: Some("no-endorsers"),
    },
];

/// What was found in the failed cases of a kind.
#[derive(Default)]
struct Row {
    cases: usize,
    /// Causes that were named, and those of them that are right.
    named: usize,
    right: usize,
    /// Cases with a known cause, and those whose cause was found.
    known: usize,
    found: usize,
}

impl Row {
    fn add(&mut self, cause: Option<&str>, seen: &[&str]) {
        self.cases += 1;
        self.named += seen.len();
        self.right += seen.iter().filter(|name| cause == Some(**name)).count();
        self.known += usize::from(cause.is_some());
        self.found += usize::from(cause.is_some() && seen.first() == cause.as_ref());
    }
}

/// A chaincode file in which each failing case has two passing neighbours, in every order.
fn file(failing: &Failing) -> String {
    let sample = std::env::var("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set");
    let mut file = format!(
        "[chaincode]\nname = 'basic'\n[server]\ncommand = ['{sample}']\n\
         [[case]]\nname = 'first'\nsubmit = ['CreateAsset', 'a', 'blue', '5', 'Tom', '300']\n"
    );
    for (number, expected) in EXPECTED.iter().enumerate() {
        for (name, case) in [("expected", *expected), ("failing", failing.case)] {
            // Writing to a string can't fail.
            let _ = write!(file, "[[case]]\nname = '{name} {number}'\n{case}\n");
        }
    }
    file
}

/// The names of the causes of each failed case.
fn causes(mut e2e: E2e, failing: &Failing) -> Vec<Vec<String>> {
    e2e.chaincode = Some(e2e.file("my.toml", &file(failing)));
    let text = e2e.printed(1);
    let evidence = e2e.evidence();
    let (_, report) = evidence.iter().find(|(path, _)| path.ends_with("report.json")).unwrap();
    let report: Value = serde_json::from_slice(report).unwrap();
    let cases = report["cases"].as_array().unwrap().iter();
    let failed: Vec<&Value> = cases.filter(|case| case["outcome"] == "failed").collect();
    assert!(failed.iter().all(|case| case["name"].as_str().unwrap().starts_with("failing")), "{text}");
    assert_eq!(failed.len(), EXPECTED.len(), "{text}");
    let names = |case: &&Value| {
        let names = case["causes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        let names: Vec<String> = names.collect();
        assert!(!names.is_empty() || text.contains("no known cause"), "{text}");
        names
    };
    failed.iter().map(names).collect()
}

/// Runs them all, so many at the same time.
fn run(at_once: usize, new: impl Fn() -> E2e + Sync) {
    let rows = Mutex::new(BTreeMap::<&str, Row>::new());
    let (all, start) = (&rows, &new);
    std::thread::scope(|scope| {
        for share in FAILING.chunks(FAILING.len().div_ceil(at_once)) {
            scope.spawn(move || {
                for failing in share {
                    for seen in causes(start(), failing) {
                        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
                        let mut rows = all.lock().unwrap();
                        rows.entry(failing.case).or_default().add(failing.cause, &seen);
                    }
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    let sum = |value: fn(&Row) -> usize| rows.values().map(value).sum::<usize>();
    let mut table = String::from("cases named right known found\n");
    for (case, Row { cases, named, right, known, found }) in &rows {
        let case = case.replace('\n', ", ");
        let _ = writeln!(table, "{cases:>5} {named:>5} {right:>5} {known:>5} {found:>5}  {case}");
    }
    let (named, right, known, found) =
        (sum(|row| row.named), sum(|row| row.right), sum(|row| row.known), sum(|row| row.found));
    let _ = writeln!(table, "{:>5} {named:>5} {right:>5} {known:>5} {found:>5}", sum(|row| row.cases));
    println!("{table}");
    assert!(right * 100 >= named * PRECISION, "wrong causes:\n{table}");
    assert!(found * 100 >= known * RECALL, "missing causes:\n{table}");
}

#[test]
fn an_expected_failure_on_embedded_peers_is_no_cause_of_another_one() {
    run(2, || E2e::new(&["--runtime", "embedded", "--topology", "duo", "--tls", "off"]));
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_an_expected_failure_is_no_cause_of_another_one() {
    run(1, || E2e::process(&["--topology", "duo", "--tls", "off"]));
}
