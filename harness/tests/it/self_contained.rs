//! The program alone, in a directory where nothing else is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn copy_of_harness(directory: &Path) -> PathBuf {
    let (program, copy) = (env!("CARGO_BIN_EXE_fabric-harness"), directory.join("fabric-harness"));
    // Another file system allows no link.
    fs::hard_link(program, &copy).or_else(|_| fs::copy(program, &copy).map(drop)).unwrap();
    copy
}

/// The program without anything of the repository in its environment.
fn run(directory: &Path, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env_clear().env("TMPDIR", directory).env("PATH", "");
    command.env("DOCKER_HOST", "unix:///does/not/exist.sock").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn e2e_passes_in_an_empty_directory() {
    let directory = tempfile::tempdir().unwrap();
    let program = copy_of_harness(directory.path());
    let output = run(directory.path(), &program, &["e2e", "--keep", "never"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("runtime embedded") && text.contains("19 passed, 0 failed, 1 not run"), "{text}");
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [program.file_name().unwrap()]);
}

#[test]
fn a_persistent_network_starts_in_an_empty_directory() {
    let directory = tempfile::tempdir().unwrap();
    let program = copy_of_harness(directory.path());
    let up = run(directory.path(), &program, &["up"]);
    assert_eq!(up.status.code(), Some(0), "{}", text(&up));
    let down = run(directory.path(), &program, &["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", text(&down));
}

#[test]
fn the_program_is_an_external_builder_by_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let program = copy_of_harness(directory.path());
    let detect = directory.path().join("detect");
    symlink(program, &detect).unwrap();
    let metadata = directory.path().join("metadata");
    fs::create_dir(&metadata).unwrap();
    for (kind, code) in [("ccaas", 0), ("golang", 3)] {
        fs::write(metadata.join("metadata.json"), format!(r#"{{"type":"{kind}","label":"a_1"}}"#)).unwrap();
        let output = run(directory.path(), &detect, &["metadata", "metadata"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    }
}

#[test]
fn a_dynamic_program_is_refused_for_containers() {
    let directory = tempfile::tempdir().unwrap();
    let program = copy_of_harness(directory.path());
    let output = run(directory.path(), &program, &["e2e", "--runtime", "docker"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--runtime docker: this build of fabric-harness is linked dynamically"), "{text}");
    assert!(text.contains("give static programs with --builder and --chaincode"), "{text}");
}
