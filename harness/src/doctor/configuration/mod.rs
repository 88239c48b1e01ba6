//! Checks an operator's core.yaml and orderer.yaml, as far as they can be judged from this machine: keys that Fabric does
//! not read, the external builders and their programs, what a builder is given, and Docker's part.
//!
//! Starts nothing. Whether certificates and addresses are right is not looked at.

mod keys;
mod yaml;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ccaas_builder::connection::Field;

use crate::console::read_text;
use crate::runtime::Finding;
use keys::{Keys, distance};
use yaml::{Entry, Node};

const CORE: &str = "core.yaml";
const ORDERER: &str = "orderer.yaml";

/// What a builder needs for packages of type ccaas. `run` is never called for them.
const NEEDED: [&str; 3] = ["detect", "build", "release"];

/// The fields of an external builder.
const FIELDS: [&str; 3] = ["name", "path", "propagateEnvironment"];

/// Checks a peer's core.yaml for this release line, or for any.
pub(super) fn core(path: &Path, release: Option<&str>) -> Vec<Finding> {
    checked(CORE, path, |document| {
        let keys = Keys::new(include_str!("core.keys")).unread(document, release);
        let mut findings: Vec<Found> = keys
            .into_iter()
            .map(|unread| {
                Found::warning(unread.line, format!("`{}`: peers ignore this key; {}", unread.key, unread.hint))
            })
            .collect();
        findings.extend(builders(document));
        findings
    })
}

/// Checks an orderer's orderer.yaml for this release line, or for any.
pub(super) fn orderer(path: &Path, release: Option<&str>) -> Vec<Finding> {
    checked(ORDERER, path, |document| {
        let keys = Keys::new(include_str!("orderer.keys")).unread(document, release).into_iter();
        let refused =
            |key: keys::Unread| format!("`{}`: an orderer does not start with this key; {}", key.key, key.hint);
        keys.map(|unread| Found::problem(unread.line, refused(unread))).collect()
    })
}

/// A finding about a line.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    line: u64,
    is_problem: bool,
    text: String,
}

impl Found {
    fn warning(line: u64, text: impl Into<String>) -> Self {
        Self { line, is_problem: false, text: text.into() }
    }

    fn problem(line: u64, text: impl Into<String>) -> Self {
        Self { line, is_problem: true, text: text.into() }
    }
}

fn checked(what: &'static str, path: &Path, check: impl FnOnce(&Node) -> Vec<Found>) -> Vec<Finding> {
    let place = path.display();
    let document = match read_text(path) {
        Ok(text) => Node::parse(&text).map_err(|error| format!("{place}: not valid YAML: {error}")),
        Err(error) => Err(format!("{place}: {error}")),
    };
    let document = match document {
        Ok(document) => document,
        Err(text) => return vec![Finding::problem(what, text)],
    };
    let mut found = check(&document);
    found.sort_by_key(|found| found.line);
    if found.is_empty() {
        return vec![Finding::ok(what, format!("{place}: no problems found"))];
    }
    let finding = |found: Found| {
        let text = format!("{place}:{}: {}", found.line, found.text);
        if found.is_problem { Finding::problem(what, text) } else { Finding::warning(what, text) }
    };
    found.into_iter().map(finding).collect()
}

/// Checks `chaincode.externalBuilders` and `vm.endpoint`.
fn builders(document: &Node) -> Vec<Found> {
    let chaincode = document.get("chaincode");
    let list = chaincode.and_then(|chaincode| chaincode.value.get("externalBuilders"));
    let entries = match list.map(|list| &list.value) {
        Some(Node::List(entries)) => entries.as_slice(),
        _ => &[],
    };
    let endpoint = document.get("vm").and_then(|vm| vm.value.get("endpoint"));
    let docker = endpoint.filter(|endpoint| endpoint.value.text().is_some_and(|text| !text.is_empty()));
    let line = list.or(chaincode).map_or(1, |entry| entry.line);
    let mut found = Vec::new();
    match (entries.is_empty(), docker) {
        (true, None) => found.push(Found::problem(
            line,
            "no `chaincode.externalBuilders` and no `vm.endpoint`: a peer does not start; add a builder",
        )),
        (true, Some(_)) => found.push(Found::problem(
            line,
            "no `chaincode.externalBuilders`: a peer accepts no chaincode-as-a-service packages; add a builder",
        )),
        (false, Some(docker)) => found.push(Found::warning(
            docker.line,
            "`vm.endpoint`: the peer gives Docker what no builder accepts, and is unhealthy without Docker; if you use \
             builders only, set it to an empty text",
        )),
        (false, None) => {}
    }
    found.extend(entries.iter().flat_map(|entry| builder(entry, line)));
    found
}

fn builder(entry: &Node, line: u64) -> Vec<Found> {
    let line = entry.entries().first().map_or(line, |first| first.line);
    let mut found = Vec::new();
    let text = |key: &str| entry.get(key).filter(|entry| entry.value.text().is_some_and(|text| !text.is_empty()));
    if text("name").is_none() {
        found.push(Found::problem(line, "a builder without `name`: a peer does not start"));
    }
    let path = text("path");
    let is_ours = match path {
        None => {
            found.push(Found::problem(line, "a builder without `path`: a peer does not start"));
            None
        }
        Some(path) => programs(path, &mut found),
    };
    for member in entry.entries() {
        if member.key.eq_ignore_ascii_case("environmentWhitelist") {
            let text = "`environmentWhitelist`: peers ignore it, so the builder gets none of these variables; rename it to \
                        `propagateEnvironment`";
            found.push(Found::problem(member.line, text));
        } else if !FIELDS.iter().chain(&["environment"]).any(|field| member.key.eq_ignore_ascii_case(field)) {
            let nearest = FIELDS.iter().min_by_key(|field| distance(&member.key.to_lowercase(), &field.to_lowercase()));
            let nearest = nearest.filter(|field| distance(&member.key.to_lowercase(), &field.to_lowercase()) <= 3);
            let hint = nearest.map_or_else(|| "remove it".to_owned(), |field| format!("did you mean `{field}`?"));
            found.push(Found::warning(member.line, format!("`{}`: peers ignore this field; {hint}", member.key)));
        }
    }
    let given = entry.get("propagateEnvironment").or_else(|| entry.get("environment"));
    if is_ours != Some(false) {
        found.extend(variables(given, line, is_ours.is_none()));
    }
    found
}

/// Checks the programs of a builder. Whether it is ccaas-builder; `None` if it is not on this machine.
fn programs(path: &Entry, found: &mut Vec<Found>) -> Option<bool> {
    let directory = Path::new(path.value.text().unwrap_or_default());
    let place = directory.display();
    if !directory.is_absolute() {
        found.push(Found::problem(path.line, format!("`path` {place}: must be absolute")));
        return None;
    }
    if !directory.is_dir() {
        let text = format!("`path` {place}: not on this machine, so its programs are not checked");
        found.push(Found::warning(path.line, text));
        return None;
    }
    for name in NEEDED {
        let program = directory.join("bin").join(name);
        let place = program.display();
        match program.metadata() {
            Err(error) => found.push(Found::problem(path.line, format!("{place}: {error}"))),
            Ok(metadata) if !metadata.is_file() => {
                found.push(Found::problem(path.line, format!("{place}: not a file")));
            }
            Ok(metadata) => match metadata.permissions().mode() & 0o111 {
                0 => found.push(Found::problem(path.line, format!("{place}: not executable; chmod 755 {place}"))),
                0o111 => {}
                _ => {
                    let text = format!("{place}: not every user may execute it; the peer's user must");
                    found.push(Found::warning(path.line, text));
                }
            },
        }
    }
    let build = std::fs::read(directory.join("bin/build")).unwrap_or_default();
    let sign = ccaas_builder::config::VARIABLE.as_bytes();
    Some(build.windows(sign.len()).any(|window| window == sign))
}

/// Compares the variables that a builder gets with those that ccaas-builder reads. `is_guess`: it may be another one.
fn variables(given: Option<&Entry>, line: u64, is_guess: bool) -> Vec<Found> {
    let read = [
        ccaas_builder::template::VARIABLE,
        ccaas_builder::config::PEER_VARIABLE,
        ccaas_builder::config::VARIABLE,
        ccaas_builder::report::LEVEL_VARIABLE,
        ccaas_builder::TYPES_VARIABLE,
    ];
    let read: Vec<&str> = read.into_iter().chain(Field::ALL.iter().filter_map(|field| field.variable())).collect();
    let names: Vec<&str> = match given.map(|given| &given.value) {
        Some(Node::List(names)) => names.iter().filter_map(Node::text).collect(),
        _ => Vec::new(),
    };
    let line = given.map_or(line, |given| given.line);
    let mut found = Vec::new();
    for name in names.iter().filter(|name| !read.contains(name)) {
        if let Some(meant) = read.iter().find(|read| (1..=2).contains(&distance(name, read))) {
            found.push(Found::warning(line, format!("{name}: the builder does not read it; did you mean {meant}?")));
        }
    }
    let missing: Vec<&str> = read.into_iter().filter(|read| !names.contains(read)).collect();
    if !missing.is_empty() {
        let builder = if is_guess { "if this is ccaas-builder, it" } else { "ccaas-builder" };
        let text = format!(
            "`propagateEnvironment`: {builder} does not get {}; add those that you set on the peer",
            missing.join(", ")
        );
        found.push(Found::warning(line, text));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use fabric_network::bundle::Bundle;
    use fabric_network::identity::Validity;
    use fabric_network::placement::{NodePlacement, Placement, Ports};
    use fabric_network::release::Release;
    use fabric_network::render::{RenderOptions, render};
    use fabric_network::topology::Topology;
    use std::fs;

    fn look(check: fn(&Path, Option<&str>) -> Vec<Finding>, text: &str) -> Vec<(Level, String)> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f.yaml");
        fs::write(&file, text).unwrap();
        let findings = check(&file, None).into_iter();
        findings.map(|finding| (finding.level, finding.text.rsplit_once("f.yaml:").unwrap().1.to_owned())).collect()
    }

    fn has(found: &[(Level, String)], level: Level, begin: &str, part: &str) -> bool {
        found.iter().any(|(other, text)| *other == level && text.starts_with(begin) && text.contains(part))
    }

    /// A directory with the programs of a builder.
    fn programs(is_ours: bool) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        for name in NEEDED {
            let program = directory.path().join("bin").join(name);
            fs::write(&program, if is_ours { ccaas_builder::config::VARIABLE } else { "#!/bin/sh" }).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    #[test]
    fn dead_and_misplaced_keys_of_core_yaml_are_found_with_their_lines() {
        let found = look(
            core,
            "peer:\n  gossip:\n    bootstap: x\n  BCCSP: { SW: { Any: 1 } }\nexternalBuilders: []\n\
             chaincode:\n  externalBuilders:\n    - name: x\n      path: /does/not/exist\n      environmentWhitelist: [A]\n\
             vm:\n  endpoint: unix:///var/run/docker.sock\n",
        );
        assert!(has(&found, Level::Warning, "3:", "did you mean `peer.gossip.bootstrap`?"), "{found:?}");
        assert!(has(&found, Level::Warning, "5:", "it belongs at `chaincode.externalBuilders`"), "{found:?}");
        assert!(has(&found, Level::Warning, "9:", "/does/not/exist: not on this machine"), "{found:?}");
        assert!(has(&found, Level::Problem, "10:", "rename it to `propagateEnvironment`"), "{found:?}");
        assert!(has(&found, Level::Warning, "12:", "set it to an empty text"), "{found:?}");
        assert!(
            has(&found, Level::Warning, "8:", "if this is ccaas-builder, it does not get CHAINCODE_AS"),
            "{found:?}"
        );
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn a_peer_needs_a_builder_with_name_path_and_programs() {
        let none = look(core, "vm:\n  endpoint:\nchaincode:\n  mode: net\n");
        assert!(has(&none, Level::Problem, "3:", "a peer does not start; add a builder"), "{none:?}");
        let bad = look(core, "chaincode:\n  externalBuilders:\n    - path: builders\n      nam: x\n    - name: y\n");
        assert!(has(&bad, Level::Problem, "3:", "without `name`"), "{bad:?}");
        assert!(has(&bad, Level::Problem, "3:", "builders: must be absolute"), "{bad:?}");
        assert!(has(&bad, Level::Warning, "4:", "did you mean `name`?"), "{bad:?}");
        assert!(has(&bad, Level::Problem, "5:", "without `path`"), "{bad:?}");

        let directory = programs(false);
        let text = format!("chaincode:\n  externalBuilders:\n  - name: x\n    path: {}\n", directory.path().display());
        let fine = look(core, &text);
        assert_eq!(fine, [(Level::Ok, " no problems found".to_owned())]);
        let program = |name: &str| directory.path().join("bin").join(name);
        fs::set_permissions(program("build"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(program("detect"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(program("release")).unwrap();
        let bad = look(core, &text);
        assert!(has(&bad, Level::Problem, "4:", "build: not executable; chmod 755"), "{bad:?}");
        assert!(has(&bad, Level::Warning, "4:", "detect: not every user may execute it"), "{bad:?}");
        assert!(has(&bad, Level::Problem, "4:", "release: No such file"), "{bad:?}");
    }

    #[test]
    fn our_builder_needs_its_variables() {
        let directory = programs(true);
        let begin = format!("chaincode:\n  externalBuilders:\n  - name: x\n    path: {}\n", directory.path().display());
        let none = look(core, &begin);
        assert!(has(&none, Level::Warning, "3:", "ccaas-builder does not get CHAINCODE_AS_A_SERVICE"), "{none:?}");
        let some = look(core, &format!("{begin}    propagateEnvironment: [CORE_CHAINCODE_ADRESS, HOME]\n"));
        assert!(has(&some, Level::Warning, "5:", "did you mean CORE_CHAINCODE_ADDRESS?"), "{some:?}");
        assert_eq!(some.len(), 2, "{some:?}");
    }

    #[test]
    fn an_orderer_refuses_unknown_keys() {
        let found = look(
            orderer,
            "General:\n  ListenPrt: 1\nConsensus:\n  Any: { thing: 1 }\nAdmin:\n  TLS: { Enabled: true }\n",
        );
        assert!(
            has(&found, Level::Problem, "2:", "does not start with this key; did you mean `General.ListenPort`?"),
            "{found:?}"
        );
        assert_eq!(found.len(), 1, "{found:?}");
        let broken = look(orderer, "a: [\n");
        assert!(has(&broken, Level::Problem, "", "not valid YAML"), "{broken:?}");
    }

    /// The files of a network that is not started.
    fn rendered(release: Release) -> Bundle {
        let topology = Topology::duo();
        let nodes = topology.nodes().zip(7000..).map(|(node, port)| {
            let placement = NodePlacement {
                host: "127.0.0.1".to_owned(),
                bind: [127, 0, 0, 1].into(),
                ports: Ports {
                    grpc: port,
                    operations: port + 100,
                    admin: Some(port + 200),
                    chaincode: Some(port + 300),
                },
                extra_sans: Vec::new(),
                config_dir: Path::new("/network").join(&node.name),
                data_dir: "data".into(),
                builder_dir: "/builder".into(),
            };
            (node.name, placement)
        });
        let placement = Placement { nodes: nodes.collect(), chaincode_hosts: vec!["127.0.0.1".to_owned()] };
        render(&topology, &placement, &RenderOptions::new(release, Validity::fixed())).unwrap()
    }

    /// What a run renders is what a peer and an orderer of either release read.
    #[test]
    fn our_own_configuration_has_no_unread_keys() {
        for release in Release::ALL {
            let bundle = rendered(release);
            let mut count = 0;
            for (path, file) in &bundle.files {
                let keys = match path.file_name().and_then(|name| name.to_str()) {
                    Some("core.yaml") => include_str!("core.keys"),
                    Some("orderer.yaml") => include_str!("orderer.keys"),
                    _ => continue,
                };
                let document = Node::parse(std::str::from_utf8(&file.bytes).unwrap()).unwrap();
                assert_eq!(Keys::new(keys).unread(&document, Some(release.line())), [], "{}", path.display());
                count += 1;
            }
            assert_eq!(count, 7);
        }
    }
}
