//! The program's ends: whatever ends it, and whenever, nothing is left behind.
//!
//! Fabric's programs are fakes that never answer, so the program waits in the middle of its work.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fabric_harness::runtime::registry::sweep;
use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{Fake, LIVE, marked, soon};

struct Harness {
    child: Child,
    fake: Fake,
}

impl Harness {
    /// The program, waiting for nodes that run but never answer.
    fn start() -> Self {
        let harness = Self::spawn();
        soon("two nodes, a chaincode server and a reaper run", || harness.marked().len() == 4);
        harness
    }

    fn spawn() -> Self {
        let fake = Fake::new(LIVE, LIVE);
        let child = Command::new(env!("CARGO_BIN_EXE_fabric-harness"))
            .args(["e2e", "--runtime", "process", "--keep", "never"])
            .arg("--fabric-bin")
            .arg(fake.fabric())
            .arg("--builder")
            .arg(fake.builder())
            .arg("--chaincode")
            .arg(fake.program("chaincode", LIVE))
            .env("TMPDIR", fake.runs())
            .env("CORE_PEER_ADDRESS", "of the user's own shell")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, fake }
    }

    fn marked(&self) -> Vec<u32> {
        marked(&self.fake.runs())
    }

    fn run(&self) -> PathBuf {
        let left = self.fake.left();
        assert_eq!(left.len(), 1, "one run: {left:?}");
        left[0].clone()
    }

    /// The leader of the run's process group.
    fn reaper(&self) -> u32 {
        let record = fs::read(self.run().join("run.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        u32::try_from(record["group"].as_u64().unwrap()).unwrap()
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        send(self.child.id(), signal);
        self.child.wait().unwrap()
    }

    fn assert_nothing_left(&self) {
        soon("every process has ended", || self.marked().is_empty());
        soon("the directory is gone", || self.fake.left().is_empty());
    }
}

fn send(number: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(number).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn sigint_and_sigterm_end_everything_with_exit_code_2() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut harness = Harness::start();
        let status = harness.end(signal);
        // At once, not soon: the program itself does it.
        assert_eq!(harness.fake.left(), Vec::<PathBuf>::new(), "{signal:?}");
        assert_eq!(harness.marked(), Vec::<u32>::new(), "{signal:?}");
        assert_eq!(status.code(), Some(2), "{signal:?}");
    }
}

#[test]
fn the_reaper_ends_everything_when_the_program_is_killed() {
    let mut harness = Harness::start();
    harness.end(Signal::KILL);
    harness.assert_nothing_left();
}

#[test]
fn a_program_that_is_killed_in_its_first_moments_leaves_nothing() {
    for milliseconds in 0..40 {
        let mut harness = Harness::spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        harness.end(Signal::KILL);
        harness.assert_nothing_left();
    }
}

#[test]
fn the_reaper_does_not_end_on_the_signals_that_end_others() {
    let mut harness = Harness::start();
    let reaper = harness.reaper();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        send(reaper, signal);
    }
    harness.end(Signal::KILL);
    harness.assert_nothing_left();
}

#[tokio::test]
async fn the_next_sweep_ends_what_even_the_reaper_could_not() {
    let mut harness = Harness::start();
    send(harness.reaper(), Signal::KILL);
    harness.end(Signal::KILL);
    soon("the nodes and the chaincode server live on, without the reaper", || harness.marked().len() == 3);
    let swept = sweep(&harness.fake.runs(), Vec::new()).await;
    assert_eq!(swept.runs, 1, "{swept:?}");
    assert_eq!(harness.marked(), Vec::<u32>::new());
    assert_eq!(harness.fake.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_sweep_does_not_kill_a_process_that_got_a_dead_runs_number() {
    let mut harness = Harness::start();
    let (run, reaper) = (harness.run(), harness.reaper());
    send(reaper, Signal::KILL);
    harness.end(Signal::KILL);
    // As if the group's number had come to another program since.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let record = fs::read_to_string(run.join("run.json")).unwrap();
    let of_stranger = record.replace(&format!("\"group\":{reaper}"), &format!("\"group\":{}", stranger.id()));
    assert_ne!(record, of_stranger);
    fs::write(run.join("run.json"), of_stranger).unwrap();
    sweep(&harness.fake.runs(), Vec::new()).await;
    let lives = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(lives, "the sweep killed a process that is not of the run");
    assert_eq!(harness.marked(), Vec::<u32>::new());
}

#[test]
fn the_reaper_refuses_a_directory_that_no_harness_made() {
    let scratch = tempfile::tempdir().unwrap();
    let mine = scratch.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis"), "").unwrap();
    let reap = Command::new(env!("CARGO_BIN_EXE_fabric-harness")).arg("reap").arg(&mine).stdin(Stdio::null()).output();
    let stderr = String::from_utf8(reap.unwrap().stderr).unwrap();
    assert!(mine.join("thesis").exists(), "it is gone: {stderr}");
    assert!(stderr.contains("mine is not the directory of a run"), "{stderr}");
}

#[test]
fn the_users_own_fabric_variables_do_not_reach_the_nodes() {
    let mut harness = Harness::start();
    let environments: Vec<String> = harness
        .marked()
        .into_iter()
        .filter(|number| *number != harness.reaper())
        .map(|number| fs::read(format!("/proc/{number}/environ")).unwrap())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    assert_eq!(environments.len(), 3);
    assert!(environments.iter().all(|text| !text.contains("of the user's own shell")));
    harness.end(Signal::TERM);
}
