//! Set-ups that are broken on purpose, one for each known failure: what a client sees and the logs
//! show must be recognized, and the first likely cause must be the one that was brought about, not a
//! symptom of it.
//!
//! Each runs on Fabric, and on embedded peers where these can show it. An entry of the catalogue that is
//! not brought about here has a `reference`: its messages were read in source or seen, and are in
//! `tests/data/messages/`. What has neither is in [`ELSEWHERE`], with the reason.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

mod channel;
mod dial;
mod install;
mod neighbours;
mod program;
mod servers;
mod stage;
mod start;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Failures that are not brought about here, and why.
const ELSEWHERE: &[(&str, &str)] =
    &[("ping-too-often", "Fabric's clients in Go and Node.js see it; one in Rust sees only a broken pipe")];

/// Where a failure can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// Fabric's own nodes, and the embedded ones.
    Both,
    /// Fabric's own nodes only.
    Fabric,
}

#[test]
fn every_known_failure_is_brought_about_or_excused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/catalogue");
    let mut known = BTreeSet::new();
    let mut excused: BTreeSet<String> = ELSEWHERE.iter().map(|(entry, _)| (*entry).to_owned()).collect();
    for file in directory.read_dir().unwrap() {
        let area: toml::Table = toml::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        for failure in area["failure"].as_array().unwrap() {
            let name = failure["name"].as_str().unwrap().to_owned();
            if failure.get("reference").is_some() {
                excused.insert(name.clone());
            }
            known.insert(name);
        }
    }
    let shown: BTreeSet<String> = install::entries()
        .chain(dial::entries())
        .chain(channel::entries())
        .chain(start::entries())
        .map(str::to_owned)
        .collect();
    let covered: BTreeSet<String> = shown.union(&excused).cloned().collect();
    assert_eq!(covered.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the catalogue");
    assert_eq!(known.difference(&covered).collect::<Vec<_>>(), Vec::<&String>::new(), "neither shown nor excused");
    let twice = shown.iter().filter(|name| ELSEWHERE.iter().any(|(entry, _)| entry == name));
    assert_eq!(twice.collect::<Vec<_>>(), Vec::<&String>::new(), "shown, and excused as well");
}
