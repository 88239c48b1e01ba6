//! `e2e` as a user runs it, on real Fabric: every topology and TLS mode passes, a failure is reported,
//! and whenever it is ended, nothing is left.
//!
//! `CCAAS_BUILDER` and `CHAINCODE_SAMPLE` are programs that `cargo xtask test` builds.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::docker::containers_below;
use crate::fake::{marked, soon};

/// What a run prints up to the cases: the line that names the runtime, then one for each step.
pub(crate) const UNTIL_THE_CASES: [&str; 12] = [
    "runtime ",
    "place the nodes",
    "render the network and the package",
    "start the nodes and the chaincode server",
    "connect to the nodes",
    "join the orderers to the channel",
    "install the package on every peer",
    "join the peers to the channel",
    "approve for each organization",
    "check the commit readiness",
    "commit",
    "first query",
];

/// The program with its own place for runs and evidence.
pub(crate) struct E2e {
    scratch: tempfile::TempDir,
    pub(crate) arguments: Vec<String>,
    /// The chaincode server, if not the sample.
    pub(crate) chaincode: Option<String>,
}

impl E2e {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { scratch: tempfile::tempdir().unwrap(), arguments, chaincode: None }
    }

    /// On the programs of `FABRIC_BIN`, or of PATH.
    pub(crate) fn process(arguments: &[&str]) -> Self {
        let mut this = Self::new(&["--runtime", "process"]);
        if let Ok(directory) = std::env::var("FABRIC_BIN") {
            this.arguments.extend(["--fabric-bin".to_owned(), directory]);
        }
        this.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().canonicalize().unwrap().join(name)
    }

    /// Where the runs' directories are made.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path("runs")
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(crate) fn command(&self) -> Command {
        let program = |variable: &str| std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
        fs::create_dir_all(self.path("runs")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
        command.arg("e2e").args(["--builder", &program("CCAAS_BUILDER")]);
        let chaincode = self.chaincode.clone().unwrap_or_else(|| program("CHAINCODE_SAMPLE"));
        command.args(["--chaincode", &chaincode]);
        command.arg("--evidence").arg(self.path("evidence")).args(&self.arguments);
        command.env("TMPDIR", self.path("runs")).stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self) -> (Output, String) {
        let output = self.command().output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
        (output, text)
    }

    /// What it prints, when it ends with this exit code and leaves nothing behind.
    pub(crate) fn printed(&self, code: i32) -> String {
        let (output, text) = self.output();
        assert_eq!(output.status.code(), Some(code), "{text}");
        self.assert_nothing_left();
        text
    }

    /// Every case passes, but for those that are not run: exactly this many of each.
    pub(crate) fn assert_passes(&self, passed: usize, not_run: usize) {
        let (output, text) = self.output();
        assert_eq!(output.status.code(), Some(0), "{:?}\n{text}", self.arguments);
        let counts = format!("{passed} passed, 0 failed, {not_run} not run; ");
        let checked = text.lines().find_map(|line| line.strip_prefix(&counts)?.strip_suffix(" checked"));
        let checked = checked.and_then(|checked| checked.split_once(" expectation")?.0.parse().ok());
        let checked: usize = checked.unwrap_or_default();
        // Every case checks something.
        assert!(checked >= passed, "not {counts}:\n{text}");
        assert!(!text.contains("warning: it checks"), "{text}");
        self.assert_keeps_its_report_alone();
        self.assert_nothing_left();
    }

    /// A success keeps what came of it, and neither logs nor configuration.
    fn assert_keeps_its_report_alone(&self) {
        if self.arguments.windows(2).any(|pair| pair == ["--keep", "never"]) {
            assert!(!self.path("evidence").exists());
            return;
        }
        let kept = self.evidence();
        let mut names: Vec<_> = kept.iter().filter_map(|(path, _)| path.file_name()?.to_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["junit.xml", "report.html", "report.json"]);
        let text = |name: &str| {
            let (_, bytes) = kept.iter().find(|(path, _)| path.ends_with(name)).unwrap();
            String::from_utf8(bytes.clone()).unwrap()
        };
        let report: serde_json::Value = serde_json::from_str(&text("report.json")).unwrap();
        assert_eq!(report["outcome"], "passed");
        let cases = report["cases"].as_array().unwrap().len();
        assert!(cases > 0);
        assert_eq!(text("junit.xml").matches("<testcase ").count(), cases);
        assert!(text("report.html").contains("<span class=\"outcome passed\">passed</span>"));
    }

    pub(crate) fn assert_nothing_left(&self) {
        let runs = self.path("runs");
        soon("every process has ended", || marked(&runs).is_empty());
        soon("every directory is gone", || fs::read_dir(&runs).unwrap().next().is_none());
    }

    /// The only run's evidence: its paths and texts.
    pub(crate) fn evidence(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.path("evidence")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files
    }

    /// Starts the program, and sends it the signal when it has printed that this was done: a line that
    /// begins so, or a step of this name. Its exit code.
    pub(crate) fn end_after(&self, done: &str, signal: Signal) -> Option<i32> {
        let step = format!(" ms  {done}");
        let is_last = |line: &String| line.starts_with(done) || line.ends_with(&step);
        let mut child = self.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        output.by_ref().map(Result::unwrap).find(is_last).expect("it ended before");
        send(&child, signal);
        // The rest is read, so that the program never blocks on a full pipe.
        output.for_each(drop);
        child.wait().unwrap().code()
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

fn is_bft_possible() -> bool {
    let peer = std::env::var("FABRIC_BIN").map_or_else(|_| PathBuf::from("peer"), |bin| Path::new(&bin).join("peer"));
    let version = String::from_utf8(Command::new(peer).arg("version").output().unwrap().stdout).unwrap();
    // Official binaries print `v3.1.5`, others `3.1.5`.
    ["Version: v3.", "Version: 3."].iter().any(|newer| version.contains(newer))
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_nodes_log_what_the_caller_asks_for() {
    for (options, variable, debug) in [
        (&[][..], None, false),
        (&["--logging-spec", "gossip=debug"], Some("info"), true),
        (&[], Some("gossip=debug"), true),
    ] {
        let e2e = E2e::process(&[&["--keep", "always"], options].concat());
        let output = e2e.command().envs(variable.map(|value| ("FABRIC_LOGGING_SPEC", value))).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let evidence = e2e.evidence();
        let log = evidence.iter().find(|(path, _)| path.ends_with("logs/peer0.org1.example.com.log")).unwrap();
        assert_eq!(String::from_utf8_lossy(&log.1).contains(" DEBU [gossip"), debug, "{variable:?}");
    }
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_every_topology_passes() {
    E2e::process(&["--topology", "solo"]).assert_passes(19, 1);
    E2e::process(&["--topology", "duo"]).assert_passes(20, 0);
    let bft = E2e::process(&["--topology", "bft"]);
    if is_bft_possible() {
        bft.assert_passes(19, 1);
    } else {
        let (output, text) = bft.output();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("bft needs Fabric 3"), "{text}");
        bft.assert_nothing_left();
    }
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_every_tls_mode_passes() {
    for mode in ["off", "tls", "mtls"] {
        E2e::process(&["--tls", mode]).assert_passes(19, 1);
    }
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_failed_case_is_exit_code_1_and_its_evidence_holds_no_key() {
    let mut e2e = E2e::process(&[]);
    let cases = "[[case]]\nname = 'wrong'\nevaluate = ['AssetExists', 'asset1']\npayload = true\n\
                 [[case]]\nname = 'right'\nevaluate = ['AssetExists', 'asset1']\npayload = false\n";
    let cases = e2e.file("cases.toml", cases);
    e2e.arguments.extend(["--cases".to_owned(), cases]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("$ is false, not true") && text.contains("1 passed, 1 failed, 0 not run"), "{text}");
    e2e.assert_nothing_left();

    let evidence = e2e.evidence();
    for name in ["report.txt", "core.yaml", "orderer.yaml", "connection.json", "peer0.org1.example.com.log"] {
        assert!(evidence.iter().any(|(path, _)| path.ends_with(name)), "no {name} in the evidence");
    }
    let keys = evidence.iter().filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("PRIVATE KEY"));
    assert_eq!(keys.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "keys in the evidence");
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_chaincode_that_registers_as_another_is_reported() {
    let mut e2e = E2e::process(&["--timeout", "5"]);
    let sample = std::env::var("CHAINCODE_SAMPLE").unwrap();
    let liar = e2e.file("liar", &format!("#!/bin/sh\nCHAINCODE_ID=liar:0 exec {sample}\n"));
    fs::set_permissions(&liar, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    e2e.chaincode = Some(liar);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("the first query failed"), "{text}");
    e2e.assert_nothing_left();
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_chaincode_that_ends_is_reported_with_its_log() {
    let mut e2e = E2e::process(&["--timeout", "5"]);
    let sample = std::env::var("CHAINCODE_SAMPLE").unwrap();
    let script = format!("#!/bin/sh\n{sample} & sleep 0.4; echo 'out of ideas' >&2; kill $!\n");
    let ends = e2e.file("ends", &script);
    fs::set_permissions(&ends, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    e2e.chaincode = Some(ends);
    let (output, text) = e2e.output();
    assert_ne!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("asset-transfer exited") && text.contains("out of ideas"), "{text}");
    e2e.assert_nothing_left();
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_slow_batch_and_a_chaincode_of_other_functions_pass() {
    let mut e2e = E2e::process(&[]);
    // Longer than the patience after which a transaction is submitted again: so it is ordered twice.
    let topology = "organizations: [{name: Org1, domain: org1.example.com, peers: [{name: peer0}]}]\n\
                    ordering: {domain: example.com, orderers: [{name: orderer}], batch: {timeout: 6s}}\n\
                    channels: [{name: mychannel}]\n";
    let topology = e2e.file("topology.yaml", topology);
    let cases = e2e.file("cases.toml", "[[case]]\nname = 'reported'\nevaluate = ['Unheard']\nerror = 'Unheard'\n");
    e2e.arguments.extend(["--topology", &topology, "--cases", &cases].map(str::to_owned));
    e2e.assert_passes(1, 0);
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_an_interrupted_run_keeps_its_logs() {
    let e2e = E2e::process(&[]);
    assert_eq!(e2e.end_after("join the peers to the channel", Signal::INT), Some(2));
    e2e.assert_nothing_left();
    let evidence = e2e.evidence();
    let text = |name: &str| {
        let found = evidence.iter().find(|(path, _)| path.ends_with(name));
        String::from_utf8_lossy(&found.unwrap_or_else(|| panic!("no {name} in the evidence")).1).into_owned()
    };
    assert!(text("report.txt").contains("ended by SIGINT"), "{}", text("report.txt"));
    assert!(text("peer0.org1.example.com.log").contains("mychannel"));
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_whenever_it_is_ended_nothing_is_left() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        for done in UNTIL_THE_CASES {
            let e2e = E2e::process(&["--keep", "never"]);
            let code = e2e.end_after(done, signal);
            let expected = if signal == Signal::KILL { None } else { Some(2) };
            assert_eq!(code, expected, "{signal:?} after {done}");
            e2e.assert_nothing_left();
        }
    }
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_both_releases_pass() {
    for fabric in ["2.5", "3.1"] {
        for (topology, passed, not_run) in [("solo", 19, 1), ("duo", 20, 0)] {
            let e2e = E2e::new(&["--runtime", "docker", "--fabric", fabric, "--topology", topology]);
            e2e.assert_passes(passed, not_run);
            assert_eq!(containers_below(&e2e.path("runs")), Vec::<String>::new());
        }
    }
    E2e::new(&["--runtime", "docker", "--topology", "bft"]).assert_passes(19, 1);
    for mode in ["off", "tls"] {
        E2e::new(&["--runtime", "docker", "--tls", mode]).assert_passes(19, 1);
    }
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_whenever_it_is_ended_nothing_is_left() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        for done in [0, 1, 2, 4, 6, 11].map(|index| UNTIL_THE_CASES[index]) {
            let e2e = E2e::new(&["--runtime", "docker", "--keep", "never"]);
            let code = e2e.end_after(done, signal);
            let expected = if signal == Signal::KILL { None } else { Some(2) };
            assert_eq!(code, expected, "{signal:?} after {done}");
            e2e.assert_nothing_left();
            soon("every container is gone", || containers_below(&e2e.path("runs")).is_empty());
        }
    }
}
