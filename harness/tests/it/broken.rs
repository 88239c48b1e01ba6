//! Set-ups that are broken on purpose, one for each known failure: what a client sees and the logs
//! show must be recognized, and the first likely cause must be the one that was brought about, not a
//! symptom of it.
//!
//! Each runs on Fabric, and on embedded peers where these can show it. What is in the catalogue and not
//! brought about here is in [`ELSEWHERE`], with the reason; a test holds that there is no third kind.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are the static programs; `cargo xtask test` builds them.

mod channel;
mod dial;
mod install;
mod neighbours;
mod program;
mod servers;
mod stage;
mod start;

use std::collections::BTreeSet;

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
    let catalogue: toml::Table = toml::from_str(include_str!("../../src/explain/catalogue.toml")).unwrap();
    let known: BTreeSet<&str> =
        catalogue["failure"].as_array().unwrap().iter().map(|failure| failure["name"].as_str().unwrap()).collect();
    let shown: BTreeSet<&str> =
        install::entries().chain(dial::entries()).chain(channel::entries()).chain(start::entries()).collect();
    let excused: BTreeSet<&str> = ELSEWHERE.iter().map(|(entry, _)| *entry).collect();
    let covered: BTreeSet<&str> = shown.union(&excused).copied().collect();
    assert_eq!(covered.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the catalogue");
    assert_eq!(known.difference(&covered).collect::<Vec<_>>(), Vec::<&&str>::new(), "neither shown nor excused");
    assert_eq!(shown.intersection(&excused).collect::<Vec<_>>(), Vec::<&&str>::new(), "shown, and excused as well");
}
