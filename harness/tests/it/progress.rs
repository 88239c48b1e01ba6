//! What a run prints, and where: a live list on a terminal, lines elsewhere, next to nothing when quiet.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::e2e::E2e;

/// The spinner of a running step.
const SPINNER: [char; 8] = ['⠁', '⠂', '⠄', '⡀', '⢀', '⠠', '⠐', '⠈'];

const FAILING: &str = "[[case]]\nname = 'wrong'\nevaluate = ['AssetExists', 'a']\npayload = true\n";

fn embedded(arguments: &[&str]) -> E2e {
    E2e::new(&[&["--runtime", "embedded"], arguments].concat())
}

fn plain(e2e: &E2e) -> Command {
    let mut command = e2e.command();
    command.env("TERM", "xterm-256color").env_remove("CI").env_remove("NO_COLOR");
    command
}

/// Runs it on a terminal, and returns all that this has been sent.
fn on_a_terminal(mut command: Command) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = || {
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        Stdio::from(File::options().read(true).write(true).open(path).unwrap())
    };
    let mut child = command.stdout(theirs()).stderr(theirs()).spawn().unwrap();
    // It holds the terminal's other side as well, which would never end.
    drop(command);
    let (mut ours, mut printed) = (File::from(ours), Vec::new());
    let mut piece = [0; 4096];
    // Linux ends a terminal that nobody holds any more by an error.
    while let Ok(length @ 1..) = ours.read(&mut piece) {
        printed.extend_from_slice(&piece[..length]);
    }
    child.wait().unwrap();
    String::from_utf8(printed).unwrap()
}

#[test]
fn on_a_terminal_the_steps_that_run_are_shown_and_every_line_stays() {
    let printed = on_a_terminal(plain(&embedded(&[])));
    assert!(printed.contains(SPINNER), "{printed:?}");
    for line in [" ms  place the nodes\r\n", " ms  stop, and remove everything\r\n", " passed, 0 failed, "] {
        assert!(printed.contains(line), "no {line:?} in {printed:?}");
    }
    let (_, end) = printed.rsplit_once("run the cases").unwrap();
    assert!(end.contains("\u{1b}[32mpassed\u{1b}[0m"), "{end:?}");
}

#[test]
fn elsewhere_and_when_asked_there_are_lines_alone() {
    for (name, value) in [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb")] {
        let e2e = embedded(&[]);
        let mut command = plain(&e2e);
        command.env(name, value);
        let printed = on_a_terminal(command);
        assert!(printed.contains(" ms  place the nodes\r\n") && !printed.contains(SPINNER), "{name}: {printed:?}");
        assert!(name == "CI" || !printed.contains('\u{1b}'), "{name}: {printed:?}");
    }
    let output = plain(&embedded(&[])).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains(" ms  place the nodes\n") && !printed.contains('\u{1b}') && !printed.contains(SPINNER),
        "{printed}"
    );
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_quiet_run_reports_what_failed_and_one_line() {
    let output = plain(&embedded(&["-q"])).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!((printed.lines().count(), output.stderr.as_slice()), (1, &b""[..]), "{printed}");
    assert!(printed.contains(" passed, 0 failed, "), "{printed}");

    let mut e2e = embedded(&["-q"]);
    let cases = e2e.file("cases.toml", FAILING);
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    let printed = String::from_utf8(plain(&e2e).output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.first(), Some(&"FAILED: wrong"), "{printed}");
    assert_eq!(lines.last(), Some(&"0 passed, 1 failed, 0 not run; 1 expectation checked"), "{printed}");
}

#[test]
fn a_failure_ends_with_case_difference_and_the_evidences_place() {
    let mut e2e = embedded(&[]);
    let cases = e2e.file("cases.toml", FAILING);
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    let printed = String::from_utf8(plain(&e2e).output().unwrap().stdout).unwrap();
    let (_, end) = printed.rsplit_once("FAILED: wrong\n").unwrap();
    let starts: Vec<&str> = end.lines().map(|line| line.split(':').next().unwrap_or_default().trim()).collect();
    assert_eq!(starts, ["expected", "seen", "$ is false, not true", "cause", "evidence", "report"], "{printed}");
    let evidence = end.lines().find_map(|line| line.strip_prefix("evidence: ")).unwrap();
    assert!(std::path::Path::new(evidence).join("logs").is_dir(), "{evidence}");
}
