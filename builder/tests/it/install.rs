//! Tests of `install`, `--help` and `--version`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};

fn builder(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env_clear().output().unwrap()
}

const BUILDER: &str = env!("CARGO_BIN_EXE_ccaas-builder");

#[test]
fn installed_programs_run_the_command_of_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let target = root.join("opt/ccaas");
    for _ in 0..2 {
        let output = builder(BUILDER, &["install", target.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
    }
    let mut names: Vec<_> = fs::read_dir(target.join("bin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["build", "detect", "release", "run"]);
    let metadata = fs::metadata(target.join("bin/detect")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
    assert_eq!(metadata.nlink(), 4, "one file with four names");

    fs::write(root.join("metadata.json"), r#"{"type":"ccaas","label":"l"}"#).unwrap();
    let at = root.to_str().unwrap();
    let detected = builder(target.join("bin/detect"), &[at, at]);
    assert_eq!(detected.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&detected.stderr), "detect: l has type ccaas\n");
    let run = builder(target.join("bin/run"), &[at, at]);
    assert_eq!(run.status.code(), Some(7));
}

#[test]
fn install_reports_the_cause_of_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let output = builder(BUILDER, &["install", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: install: cannot write ") && stderr.contains("file/bin: "), "{stderr}");
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = builder(BUILDER, &["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), concat!("ccaas-builder ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = builder(BUILDER, &["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    for command in ["detect", "build", "release", "run", "install", "explain", "inspect", "package"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    assert_eq!(help.status.code(), Some(0));
}
