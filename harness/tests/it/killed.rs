//! SIGKILL at the N-th system call of a kind, in the harness and its reaper: one more command leaves nothing.
//!
//! `strace` injects the signal. It counts the calls of each thread.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::daemon::Daemon;
use crate::e2e::E2e;
use crate::fake::{marked, soon};

/// The calls that change what is left, by kind. Those that this machine's architecture lacks are skipped.
const CALLS: [&str; 7] = [
    "?unlink,?unlinkat",
    "?rmdir",
    "?rename,?renameat,?renameat2",
    "?mkdir,?mkdirat",
    "?flock",
    "?connect",
    "?clone,?clone3,?fork,?vfork",
];

/// As [`CALLS`], for calls that a run makes by the thousand.
const FREQUENT_CALLS: [&str; 1] = ["?open,?openat"];

/// Which call of its kind is the last: all of the first ones, and then fewer.
fn numbers(is_frequent: bool) -> impl Iterator<Item = u32> {
    let first = if is_frequent { 3 } else { 8 };
    (1..first).chain(std::iter::successors(Some(first), move |number| {
        Some(if is_frequent { number * 2 } else { number * 3 / 2 })
    }))
}

fn strace(calls: &str, number: u32) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:signal=KILL:when={number}")]);
    command
}

fn clean(runs: &Path, state: &Path) {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
    doctor.args(["doctor", "--clean", "--state"]).arg(state).env("TMPDIR", runs);
    // Its exit code is about the whole machine.
    doctor.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

/// Kills `command` at each call in turn, until it ends without reaching that many. Returns the number of kills.
fn kill_at_each_call(calls: &str, is_frequent: bool, mut kill: impl FnMut(&str, u32) -> bool) -> usize {
    numbers(is_frequent).take_while(|number| kill(calls, *number)).count()
}

#[test]
#[ignore = "needs strace"]
fn needs_strace_a_run_that_is_killed_at_any_call_leaves_nothing() {
    let e2e = E2e::new(&["--runtime", "embedded", "--keep", "never"]);
    let mut kills = 0;
    let kinds = CALLS.iter().map(|calls| (calls, false)).chain(FREQUENT_CALLS.iter().map(|calls| (calls, true)));
    for (calls, is_frequent) in kinds {
        kills += kill_at_each_call(calls, is_frequent, |calls, number| {
            let run = e2e.command();
            let mut traced = strace(calls, number);
            traced.arg(run.get_program()).args(run.get_args());
            traced.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let status = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            clean(&e2e.runs(), &e2e.path("state"));
            let left = || fs::read_dir(e2e.runs()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
            let place = format!("killed at call {number} of {calls}");
            soon(&format!("{place}: every process has ended"), || marked(&e2e.runs()).is_empty());
            soon(&format!("{place}: every directory is gone"), || left().is_empty());
            !status.success()
        });
    }
    println!("{kills} kills");
    assert!(kills > 40, "strace injects nothing: {kills} kills");
}

/// The last number in a line of /proc/PID/status that begins so.
fn status_number(process: u32, name: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[test]
#[ignore = "needs strace"]
fn needs_strace_a_daemon_that_is_killed_at_any_call_of_its_end_leaves_nothing() {
    let mut kills = 0;
    for calls in ["?unlink,?unlinkat", "?rmdir", "?rename,?renameat,?renameat2"] {
        kills += kill_at_each_call(calls, false, |calls, number| {
            let daemon = Daemon::new();
            daemon.is_up(&["--runtime", "embedded"]);
            let process = daemon.process();
            let mut tracer = strace(calls, number).args(["-p", &process.to_string()]).spawn().unwrap();
            soon("strace is attached", || status_number(process, "TracerPid:").is_some_and(|tracer| tracer > 0));
            let (code, text) = daemon.run(&["down"]);
            tracer.wait().unwrap();
            let was_killed = !text.contains("stopped the network and removed everything");
            assert_eq!(code, Some(0), "killed at call {number} of {calls}: {text}");
            daemon.done(&["down"]);
            daemon.assert_nothing_left();
            was_killed
        });
    }
    println!("{kills} kills");
    assert!(kills > 10, "strace injects nothing: {kills} kills");
}
