//! Fabric's programs: their paths, their release, and nodes started with them. A node is killed when its handle is
//! dropped.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use fabric_network::bundle::Bundle;
use fabric_network::node::NodeSpec;
use fabric_network::release::Release;
use fabric_primitives::program::{directories, find};

/// The limit of one step. It takes milliseconds; the rest is for a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A program of Fabric.
pub(crate) fn program(name: &str) -> PathBuf {
    let variable = if std::env::var_os("FABRIC_BIN").is_some() { "FABRIC_BIN" } else { "PATH" };
    find(name, &directories(variable), Path::is_file)
        .unwrap_or_else(|| panic!("{name} is not in FABRIC_BIN or on PATH"))
}

/// The release line of the programs.
pub(crate) fn release() -> Release {
    let output = Command::new(program("peer")).arg("version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Version:"));
    version
        .and_then(|version| version.trim().parse().ok())
        .unwrap_or_else(|| panic!("`peer version` names no release that is supported: {text}"))
}

/// A port that nothing listens on at the moment. It is below the range that the kernel gives to
/// clients, one of which could have taken it before the node does; every test process begins elsewhere.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 20_000 + u16::try_from(std::process::id() % 120).unwrap() * 100;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A network of local processes.
pub(crate) struct Network {
    pub(crate) bundle: Bundle,
    directory: PathBuf,
    processes: RefCell<Vec<(String, Child)>>,
}

impl Network {
    /// Starts every node of a bundle that was written to `directory`.
    pub(crate) fn start(bundle: Bundle, directory: &Path) -> Self {
        let network = Self { bundle, directory: directory.to_owned(), processes: RefCell::default() };
        for node in &network.bundle.nodes {
            let log = File::create(network.log_path(&node.name)).unwrap();
            let child = Command::new(program(&node.program))
                .args(&node.arguments)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .envs(node.full_environment())
                .current_dir(&node.placement.config_dir)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            network.processes.borrow_mut().push((node.name.clone(), child));
        }
        network
    }

    fn log_path(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.log"))
    }

    /// What a node has logged so far.
    pub(crate) fn log(&self, node: &str) -> String {
        fs::read_to_string(self.log_path(node)).unwrap_or_default()
    }

    /// A path in the bundle.
    pub(crate) fn path(&self, path: &str) -> String {
        self.directory.join(path).to_str().unwrap().to_owned()
    }

    /// Runs a command line tool until it succeeds; shows its last words, and those of the node it
    /// talks to, if it never does.
    pub(crate) fn until_done(
        &self,
        node: &NodeSpec,
        tool: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> String {
        let environment = || environment.iter().map(|(name, value)| (*name, value));
        let mut last = String::new();
        self.until(node, &mut || {
            let output = Command::new(program(tool))
                .args(arguments)
                .env("FABRIC_CFG_PATH", &node.placement.config_dir)
                .envs(environment())
                .current_dir(&self.directory)
                .output()
                .unwrap();
            last = all_of(&output);
            output.status.success().then_some(()).ok_or_else(|| last.clone())
        });
        last
    }

    /// Repeats until it succeeds, the node exits, or the time is over.
    pub(crate) fn until(&self, node: &NodeSpec, attempt: &mut dyn FnMut() -> Result<(), String>) {
        let start = Instant::now();
        while let Err(last) = attempt() {
            let dead = self.dead();
            assert!(
                start.elapsed() < TIMEOUT && dead.is_empty(),
                "{}: {last}\nits log: {}\nnodes that exited: {dead:?}",
                node.name,
                tail(&self.log(&node.name))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The names of nodes that are no longer running.
    pub(crate) fn dead(&self) -> Vec<String> {
        let ended = |(name, child): &mut (String, Child)| match child.try_wait() {
            Ok(None) => None,
            _ => Some(name.clone()),
        };
        self.processes.borrow_mut().iter_mut().filter_map(ended).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (_, child) in self.processes.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn all_of(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{stdout}{stderr}")
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
