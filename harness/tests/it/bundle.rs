//! `bundle`: what it writes, and what it leaves alone.

use std::fs;
use std::path::Path;
use std::process::Command;

fn bundle(arguments: &[&str]) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_fabric-harness");
    let output = Command::new(program).arg("bundle").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every path below a directory with its mode and content.
pub(crate) fn tree(directory: &Path) -> Vec<(String, u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            let bytes = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.push((name, metadata.permissions().mode() & 0o7777, bytes));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_bundle_is_rendered_again_with_its_identities_to_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    for format in ["compose", "kubernetes"] {
        let (first, second) = (scratch.path().join(format), scratch.path().join(format!("{format}-again")));
        let (code, text) = bundle(&["--format", format, "--out", path(&first)]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("README.md"), "{text}");
        let (code, text) = bundle(&["--format", format, "--identities", path(&first), "--out", path(&second)]);
        assert_eq!(code, Some(0), "{text}");
        assert!(tree(&first) == tree(&second), "the two differ");
    }
    let names: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "something is left next to them: {names:?}");
}

#[test]
fn nothing_is_overwritten_that_is_no_bundle_or_without_force() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "mine").unwrap();
    let arguments = ["--format", "files", "--out", path(&out)];
    let (code, text) = bundle(&arguments);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is not empty: give a new directory, or replace"), "{text}");
    let (code, text) = bundle(&[&arguments[..], &["--force"]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no bundle: it has no deployment.yaml; --force replaces nothing else"), "{text}");
    assert_eq!(tree(&out).len(), 1);

    fs::remove_file(out.join("mine")).unwrap();
    let (code, text) = bundle(&arguments);
    assert_eq!(code, Some(0), "an empty directory is taken: {text}");
    let before = tree(&out);
    assert_eq!(bundle(&arguments).0, Some(2), "not without --force");
    assert!(before == tree(&out));
    // What goes wrong leaves the old one.
    let (code, text) =
        bundle(&[&arguments[..], &["--force", "--topology", "duo", "--identities", path(&out)]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the identities do not match the topology"), "{text}");
    assert!(before == tree(&out));
    // Nor does what somebody has added go.
    let mine = out.join("overlays");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("mine.yaml"), "mine").unwrap();
    let (code, text) = bundle(&[&arguments[..], &["--force"]].concat());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("not of this bundle, and --force would remove them: overlays/mine.yaml;"), "{text}");
    fs::remove_dir_all(mine).unwrap();
    assert!(before == tree(&out));
    let (code, text) = bundle(&[&arguments[..], &["--force"]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(before != tree(&out), "new keys");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "something is left next to it");
}

#[test]
fn every_wrong_option_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let linked = scratch.path().join("linked");
    fs::create_dir_all(linked.join("peerOrganizations")).unwrap();
    std::os::unix::fs::symlink("/etc", linked.join("peerOrganizations/org1.example.com")).unwrap();
    let compose = ["--format", "compose", "--out", path(&out)];
    for (arguments, expected) in [
        (&["--fabric", "1.4"][..], "--fabric 1.4: not a supported Fabric version"),
        (
            &["--topology", "bft", "--fabric", "2.5"],
            "--topology bft: BFT ordering needs Fabric 3, but --fabric is 2.5.16",
        ),
        (&["--topology", "nowhere"], "--topology nowhere: neither a preset"),
        (&["--identities", path(&empty)], "neither organizations/ nor peerOrganizations/ is there"),
        (&["--identities", "/nowhere"], "neither organizations/ nor peerOrganizations/ is there"),
        (&["--identities", path(&linked)], "org1.example.com is no file: a link is not followed"),
        (&["--namespace", "My_Space"], "invalid DNS label `My_Space`"),
        (&["--chaincode", "a/b"], "--chaincode: invalid chaincode name `a/b`: use letters and digits"),
        (&["--chaincode", "my.cc"], "--chaincode: invalid chaincode name `my.cc`: use letters and digits"),
        (&["--chaincode", "lscc"], "--chaincode: invalid chaincode name `lscc`: it is reserved"),
        (&["--chaincode", &"x".repeat(170)], "it has 174 characters, at most 173 are possible"),
    ] {
        let (code, text) = bundle(&[&compose[..], arguments].concat());
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
        assert!(!out.exists());
    }
    let (code, text) = bundle(&["--format", "compose", "--out", path(&file)]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is no directory"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_not_ready() {
    let program = env!("CARGO_BIN_EXE_fabric-harness");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ready = || Command::new(program).args(["ready", &address, "--listening"]).output().unwrap();
    assert_eq!(ready().status.code(), Some(0));
    drop(listener);
    let output = ready();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    assert!(text.contains(&format!("not ready: nothing listens at port {port}")), "{text}");
}

#[test]
fn the_program_installs_itself_in_the_given_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("tools");
    for _ in 0..2 {
        let output =
            Command::new(env!("CARGO_BIN_EXE_fabric-harness")).arg("install").arg(&directory).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["fabric-harness"]);
    let output = Command::new(directory.join("fabric-harness")).arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
