//! The catalogue against error messages of Fabric, its SDKs and shims, and against logs of healthy networks.
//!
//! `tests/data/messages/` lists the messages. Each is explained by an entry of the catalogue, clear by itself,
//! or undecided, with the reason.

use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Failures of this project's builder, whose messages are not Fabric's.
const OURS: [&str; 2] = ["type-refused", "build-refused"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Messages {
    source: Vec<Source>,
}

/// The messages of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    file: String,
    /// The releases of Fabric that print them. Empty for SDKs and shims.
    #[serde(default)]
    releases: Vec<String>,
    /// They show by themselves what to do.
    #[serde(default)]
    clear: Vec<String>,
    /// With the name of the failure.
    #[serde(default)]
    explained: BTreeMap<String, String>,
    /// With the reason.
    #[serde(default)]
    undecided: BTreeMap<String, String>,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn sources() -> Vec<Source> {
    let files = data("messages").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        toml::from_str::<Messages>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).source
    };
    files.flat_map(read).collect()
}

fn names_in(text: &str) -> Vec<String> {
    find([("log", text)]).into_iter().map(|finding| finding.name).collect()
}

#[test]
fn each_message_has_the_finding_that_was_decided() {
    let sources = sources();
    let mut wrong = Vec::new();
    for source in &sources {
        let explained = source.explained.iter().map(|(text, name)| (text, vec![name.clone()]));
        let others = source.clear.iter().chain(source.undecided.keys()).map(|text| (text, Vec::new()));
        for (text, expected) in explained.chain(others) {
            let found = names_in(text);
            if found != expected {
                wrong.push(format!("{}: {text}\n  expected {expected:?}, found {found:?}", source.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{} wrong", wrong.join("\n"), wrong.len());
}

#[test]
fn at_least_95_percent_of_the_messages_are_decided() {
    let sources = sources();
    let count = |of: fn(&Source) -> usize| sources.iter().map(of).sum::<usize>();
    let undecided = count(|source| source.undecided.len());
    let all = undecided + count(|source| source.clear.len() + source.explained.len());
    assert!(all >= 1200, "only {all} messages");
    assert!(undecided * 20 <= all, "{undecided} of {all} are undecided");
    for source in &sources {
        assert!(
            source.undecided.values().all(|reason| !reason.is_empty()),
            "{}: undecided without a reason",
            source.file
        );
        assert!(source.releases.iter().all(|release| ["2.5", "3.1"].contains(&release.as_str())), "{source:?}");
    }
}

#[test]
fn each_entry_explains_a_message() {
    let sources = sources();
    let explained: BTreeSet<&str> =
        sources.iter().flat_map(|source| source.explained.values()).map(String::as_str).collect();
    let without = FAILURES.iter().map(|failure| failure.name.as_str()).filter(|name| !explained.contains(name));
    assert_eq!(without.collect::<Vec<_>>(), OURS);
    assert!(FAILURES.iter().all(|failure| failure.reference.as_ref().is_none_or(|reference| !reference.is_empty())));
}

/// `healthy.log` has a line of each kind that peers and orderers of 2.5 and 3.1 logged while clients, nodes and
/// chaincode worked, and at the end those of nodes whose orderer was restarted. Those at level debug are only
/// the ones that mention an error.
#[test]
fn logs_of_healthy_networks_have_no_failures() {
    let log = std::fs::read_to_string(data("healthy.log")).unwrap();
    let wrong: Vec<String> =
        log.lines().flat_map(|line| names_in(line).into_iter().map(move |name| format!("{name}: {line}"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(log.lines().count() > 300);
}
