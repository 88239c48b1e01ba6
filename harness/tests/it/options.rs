//! The command line: what it refuses, and that docs/options.md equals its help.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

fn harness(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fabric-harness")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Every documented command.
fn commands() -> Vec<String> {
    let command = <fabric_harness::program::cli::Cli as clap::CommandFactory>::command();
    command.get_subcommands().filter(|it| !it.is_hide_set()).map(|it| it.get_name().to_owned()).collect()
}

#[test]
fn the_help_of_each_command_fits_a_screen_and_shows_its_exit_codes() {
    assert!(commands().len() > 15, "{:?}", commands());
    for command in commands() {
        let (code, help) = harness(&[&command, "--help"]);
        assert_eq!(code, Some(0), "{help}");
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(help.contains("\nExit codes: 0, "), "{help}");
    }
    let (_, help) = harness(&["--help"]);
    assert!(help.lines().count() <= 50, "{help}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, text) = harness(&["completions", shell]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("snapshot") && text.contains("topology"), "{shell}: {text}");
    }
}

#[test]
fn a_package_is_written_and_looked_into() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("basic.tar.gz");
    let file = file.to_str().unwrap();
    let label = ["--label", "basic_1.0"];
    let address = ["--address", "cc:9999", "--tls-required", "false"];
    let (code, id) = harness(&[&["package", file][..], &address[..], &label[..]].concat());
    assert_eq!(code, Some(0), "{id}");
    assert!(id.starts_with("basic_1.0:"), "{id}");
    let (code, text) = harness(&["inspect", file]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(id.trim()) && text.contains("cc:9999"), "{text}");
    let (code, text) = harness(&["package", file, "--label", "-", "--address", "cc:9999"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("invalid package label `-`: use letters"), "{text}");
    let (code, text) = harness(&["inspect", "no-package"]);
    assert_eq!(code, Some(2), "{text}");
}

/// `docs/options.md` is written by this test when `BLESS` is set.
#[test]
fn the_page_of_options_is_the_help() {
    let mut page =
        "# Options\n\nEach command as `fabric-harness help COMMAND` describes it; `--help` after a command is \
         shorter. `cargo xtask COMMAND` builds and gives static programs for `--builder` and `--chaincode` where \
         containers need them, and \
         `--evidence` and `--state` below the workspace's target directory, when you don't.\n"
            .to_owned();
    for command in commands() {
        let (code, help) = harness(&["help", &command]);
        assert_eq!(code, Some(0), "{help}");
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        write!(page, "\n## {command}\n\n```text\n{}\n```\n", help.join("\n").trim_end()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/options.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/options.md differs from --help; run this test with BLESS=1");
}

#[test]
fn all_mistakes_are_reported_together_with_their_options() {
    let wrong = ["e2e", "--builder", "no-builder", "--chaincode", "/", "--fabric", "1.4", "--fabric-bin", "no-bin"];
    let (code, text) = harness(&[&wrong[..], &["--topology", "no-topology", "--cases", "no-cases"]].concat());
    assert_eq!(code, Some(2), "{text}");
    for mistake in [
        "--builder no-builder: No such file",
        "--chaincode /: not a file",
        "--fabric 1.4: not a supported Fabric version; give 2.5, 3.1",
        "--fabric-bin no-bin: not a directory",
        "--topology no-topology: neither a preset (solo, duo, bft) nor a file that can be read",
        "--cases: cannot read no-cases",
    ] {
        assert!(text.contains(mistake), "{mistake} is not in:\n{text}");
    }
}

#[test]
fn an_invalid_logging_specification_is_refused_wherever_it_is_from() {
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    for (option, variable, expected) in [
        (&["--logging-spec", "info:grpc=loud"][..], "info", "--logging-spec: invalid part `grpc=loud`; give levels"),
        (&[], "bogus", "FABRIC_LOGGING_SPEC: invalid part `bogus`; give levels"),
    ] {
        let mut command = Command::new(own);
        command.args(["e2e", "--runtime", "process", "--chaincode", own, "--builder", own]).args(option);
        let output = command.env("FABRIC_LOGGING_SPEC", variable).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

/// A pipe that nobody writes to would be waited for, and a device has no end.
#[test]
fn only_regular_files_are_read() {
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let (pipe, chaincode) = (file("pipe"), file("pipe.toml"));
    for path in [&pipe, &chaincode] {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
    }
    let collections = file("collections.toml");
    std::fs::write(&collections, format!("[chaincode]\ncollections = '{pipe}'\npackage = '{pipe}'\n")).unwrap();
    let zero = "/dev/zero".to_owned();
    let e2e = ["e2e", "--builder", own, "--chaincode"];
    for (arguments, expected) in [
        (vec![&chaincode], "--chaincode: cannot read "),
        (vec![&own.to_owned(), &"--cases".to_owned(), &pipe], "--cases: cannot read "),
        (vec![&own.to_owned(), &"--topology".to_owned(), &pipe], "a file that can be read: "),
        (vec![&own.to_owned(), &"--topology".to_owned(), &zero], "a file that can be read: "),
        (vec![&collections], "collections: cannot read "),
        (vec![&collections], ": cannot read it: "),
    ] {
        let arguments: Vec<&str> = e2e.into_iter().chain(arguments.into_iter().map(String::as_str)).collect();
        let (code, text) = harness(&arguments);
        assert_eq!(code, Some(2), "{text}");
        let found = text.lines().any(|line| line.contains(expected) && line.contains("not a regular file, but a "));
        assert!(found, "{expected} is not in:\n{text}");
    }
    for path in [&pipe, &zero] {
        let (code, text) = harness(&["explain", path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(&format!("{path}: not a regular file, but a ")), "{text}");
    }
}

/// As a user of the installed program types it: the builder is that of the variable, the one on PATH, or the program
/// itself.
#[test]
fn the_builder_need_not_be_given() {
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    let scratch = tempfile::tempdir().unwrap();
    let run = |path: &Path, variable: Option<&str>| {
        let mut command = Command::new(own);
        command.args(["e2e", "--chaincode", own, "--cases", "no-cases"]).env("PATH", path).env_remove("CCAAS_BUILDER");
        let output = command.envs(variable.map(|value| ("CCAAS_BUILDER", value))).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run(scratch.path(), None);
    assert!(text.contains("--cases: cannot read no-cases") && !text.contains("--builder"), "{text}");
    let text = run(scratch.path(), Some("no-builder"));
    assert!(text.contains("--builder no-builder: No such file"), "{text}");
    std::os::unix::fs::symlink(own, scratch.path().join("ccaas-builder")).unwrap();
    let text = run(scratch.path(), Some(""));
    assert!(text.contains("--cases: cannot read no-cases") && !text.contains("--builder"), "{text}");
}

#[test]
fn an_unknown_value_names_the_known_ones() {
    for (option, known) in
        [("--runtime", "auto, docker, kubernetes, process"), ("--tls", "mtls"), ("--keep", "on-failure")]
    {
        let (code, text) = harness(&["e2e", "--builder", "b", "--chaincode", "c", option, "wrong"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("[possible values: ") && text.contains(known), "{text}");
    }
}

#[test]
fn what_can_not_go_together_is_refused() {
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    let programs = ["e2e", "--builder", own, "--chaincode", own];
    let (code, text) = harness(&[&programs[..], &["--topology", "bft", "--fabric", "2.5"]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--topology bft: BFT ordering needs Fabric 3, but --fabric is 2.5"), "{text}");
    let (code, text) = harness(&[&programs[..], &["--runtime", "docker", "--fabric-bin", "/"]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--fabric-bin /: --runtime docker uses images"), "{text}");
}

#[test]
fn each_peer_has_one_couchdb_and_no_password_is_shown() {
    let own = env!("CARGO_BIN_EXE_fabric-harness");
    let couchdb = |topology: &str, urls: &[&str]| {
        let urls: Vec<&str> = urls.iter().flat_map(|url| ["--couchdb", url]).collect();
        let programs = ["e2e", "--builder", own, "--chaincode", own, "--topology", topology];
        let (code, text) = harness(&[&programs[..], &urls].concat());
        assert_eq!(code, Some(2), "{text}");
        assert!(!text.contains("topsecret"), "{text}");
        text
    };
    let text = couchdb("duo", &["http://admin:topsecret@h:1", "http://admin:topsecret@h:1/"]);
    assert!(text.contains("URLs given: 2, peers of the topology: 4 (peer0.org1.example.com, peer1.org1"), "{text}");
    assert!(text.contains("--couchdb http://h:1 is given twice"), "{text}");
    let text = couchdb("solo", &["http://admin:topsecret@h:1", "topsecret", "https://admin:topsecret@h:1"]);
    assert!(text.contains("URLs given: 3, peers of the topology: 1 (peer0.org1.example.com); a CouchDB"), "{text}");
    assert!(
        text.contains("--couchdb (number 2): invalid URL")
            && text.contains("--couchdb (number 3): unsupported scheme https://"),
        "{text}"
    );
}
