//! `doctor` as a program: its output on a machine with one thing wrong, and its exit codes.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fake::{Fake, LIVE};

/// A program that runs in any container.
fn static_program(directory: &Path) -> PathBuf {
    let (source, program) = (directory.join("static.c"), directory.join("static"));
    fs::write(&source, "void _start(void) {}").unwrap();
    let mut compiler = Command::new("cc");
    let status = compiler.args(["-static", "-nostdlib", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(status.success());
    program
}

/// The output of `doctor` in a place of its own, where no engine is.
fn doctor(runs: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let scratch = tempfile::tempdir().unwrap();
    let builder = static_program(scratch.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
    command.arg("doctor").args(arguments).arg("--state").arg(runs.join("network"));
    command.env("CCAAS_BUILDER", builder).env("TMPDIR", runs).env("DOCKER_HOST", "unix:///does/not/exist.sock");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The lines on one thing.
fn lines<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.split_whitespace().nth(1) == Some(what)).collect()
}

#[test]
fn a_machine_without_problems_has_one_line_per_check() {
    let fake = Fake::new(LIVE, LIVE);
    let (code, text) = doctor(&fake.runs(), &["--fabric-bin", fake.fabric().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    for what in ["architecture", "clock", "ports", "runs", "fabric", "builder", "leftovers"] {
        let lines = lines(&text, what);
        assert!(lines.len() == 1 && lines[0].starts_with("ok "), "{what}: {text}");
    }
    assert!(lines(&text, "fabric")[0].contains("peer 3.1.5 at "), "{text}");
    assert!(lines(&text, "builder")[0].contains("executable, linked statically"), "{text}");
    let engine = lines(&text, "engine");
    assert!(engine[0].starts_with("warning") && engine[0].contains("/does/not/exist.sock"), "{text}");
    assert!(text.ends_with("0 problems, 1 warnings\n"), "{text}");
}

#[test]
fn a_program_that_would_not_run_in_a_container_is_a_problem() {
    let fake = Fake::new(LIVE, LIVE);
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    let (code, text) = doctor(&fake.runs(), &["--builder", own]);
    assert_eq!(code, Some(1), "{text}");
    let builder = lines(&text, "builder");
    assert!(builder[0].starts_with("problem") && builder[0].contains("linked dynamically, needs /"), "{text}");
    assert_eq!(doctor(&fake.runs(), &["--fabric", "1.4"]).0, Some(2));
}

#[test]
fn leftovers_of_a_dead_run_are_reported_and_removed_when_asked() {
    let fake = Fake::new(LIVE, LIVE);
    let run = fake.runs().join("fabric-harness-dead0000");
    fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
    fs::write(run.join("lock"), "").unwrap();
    let state = fake.runs().join("network");
    fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    for name in ["lock", "daemon.json", "peer.env"] {
        fs::write(state.join(name), "").unwrap();
    }
    let (code, text) = doctor(&fake.runs(), &[]);
    assert_eq!(code, Some(0), "{text}");
    let leftovers = lines(&text, "leftovers");
    assert_eq!(leftovers.len(), 2, "{text}");
    assert!(
        leftovers[0].contains("fabric-harness-dead0000") && leftovers[1].contains("the state of a dead network"),
        "{text}"
    );
    assert!(run.exists() && state.exists());

    let (code, text) = doctor(&fake.runs(), &["--clean"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(lines(&text, "leftovers")[0].contains("removed: 1 runs, 0 further containers, 1 states"), "{text}");
    assert!(!run.exists() && !state.exists());
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_the_engine_and_its_images_are_reported() {
    let builder = std::env::var("CCAAS_BUILDER").expect("CCAAS_BUILDER");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
    let output = command.args(["doctor", "--builder", &builder]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(lines(&text, "engine")[0].starts_with("ok "), "{text}");
    let images = lines(&text, "image");
    assert_eq!(images.len(), 2, "{text}");
    assert!(images.iter().all(|line| line.contains("sha256:")), "{text}");
}

#[test]
fn an_operators_configuration_is_checked_alone() {
    let fake = Fake::new(LIVE, LIVE);
    let file = |name: &str, text: &str| {
        let path = fake.runs().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let peer = file(
        "core.yaml",
        "chaincode:\n  externalBuilders:\n  - name: x\n    path: /none\n    environmentWhitelist: [HOME]\n",
    );
    let orderer = file("orderer.yaml", "General:\n  Throttling: { Rate: 5 }\n");
    let (code, text) = doctor(&fake.runs(), &["--core-yaml", &peer, "--orderer-yaml", &orderer]);
    assert_eq!(code, Some(1), "{text}");
    let found = lines(&text, "core.yaml");
    assert!(found.iter().any(|line| line.starts_with("problem") && line.contains("core.yaml:5: ")), "{text}");
    assert!(lines(&text, "orderer.yaml")[0].starts_with("ok "), "{text}");
    assert!(text.ends_with("1 problems, 2 warnings\n"), "{text}");
    assert!(lines(&text, "builder").is_empty(), "{text}");
    let (code, text) = doctor(&fake.runs(), &["--orderer-yaml", &orderer, "--fabric", "2.5"]);
    assert!(
        code == Some(1) && text.contains("orderer.yaml:2: ") && text.contains("only Fabric 3.1 reads it"),
        "{text}"
    );
}
