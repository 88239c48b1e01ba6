//! Stand-ins for Fabric's programs: shell scripts that live, die or fall silent as a test needs it.
//! They never answer a call; a test decides itself what counts as an answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{Placed, Runtime, RuntimeOptions, ServerRequest};
use fabric_harness::server::ServerSource;
use fabric_network::bundle::Bundle;
use fabric_network::identity::Validity;
use fabric_network::render::{RenderOptions, render};
use fabric_network::topology::Topology;

/// What a node does that runs until it is asked to end.
pub(crate) const LIVE: &str = "echo up; exec sleep 1000";

/// A directory with Fabric's fake programs, and one for runs. Both go with it.
pub(crate) struct Fake {
    scratch: tempfile::TempDir,
}

impl Fake {
    /// `peer` and `orderer` are what these programs do when they are started as a node.
    pub(crate) fn new(peer: &str, orderer: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let version = "if [ \"$1\" = version ]; then echo ' Version: v3.1.5'; exit; fi";
        for (name, body) in [("peer", peer), ("orderer", orderer), ("builder", "true")] {
            write_script(&scratch.path().join("bin").join(name), &format!("{version}\n{body}\n"));
        }
        fs::create_dir(scratch.path().join("runs")).unwrap();
        Self { scratch }
    }

    /// The directory of Fabric's programs, as given to `--fabric-bin`.
    pub(crate) fn fabric(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// Where the runs' directories are made.
    pub(crate) fn runs(&self) -> PathBuf {
        self.scratch.path().join("runs").canonicalize().unwrap()
    }

    /// Something that can be executed.
    pub(crate) fn builder(&self) -> PathBuf {
        self.scratch.path().join("bin/builder")
    }

    /// A program that does this.
    pub(crate) fn program(&self, name: &str, body: &str) -> PathBuf {
        let path = self.scratch.path().join("programs").join(name);
        write_script(&path, body);
        path
    }

    /// Options of a runtime for which every node that lives is ready.
    pub(crate) fn options(&self) -> RuntimeOptions {
        RuntimeOptions {
            parent: self.runs(),
            readiness: Arc::new(|_| Box::pin(async { Ok(()) })),
            ..RuntimeOptions::new(self.builder())
        }
    }

    /// Options of a runtime for which no node is ever ready.
    pub(crate) fn options_of_silence(&self) -> RuntimeOptions {
        RuntimeOptions { readiness: Arc::new(|_| Box::pin(async { Err("silence".to_owned()) })), ..self.options() }
    }

    /// Places of a solo network and a chaincode server `basic`, with the rendered network.
    pub(crate) async fn place(&self, options: RuntimeOptions) -> (Placed, Bundle) {
        let runtime = ProcessRuntime::find(options, Some(&self.fabric())).await.unwrap();
        place(&runtime, &Topology::solo()).await
    }

    /// The directories of runs that are there.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        entries(&self.runs())
    }
}

/// What is in a directory.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn write_script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Places of a network and a chaincode server `basic`, with the rendered network.
pub(crate) async fn place(runtime: &dyn Runtime, topology: &Topology) -> (Placed, Bundle) {
    let placed = runtime.place(topology, &[ServerRequest::new("basic", &ServerSource::default())]).await.unwrap();
    let bundle = rendered(runtime, topology, &placed);
    (placed, bundle)
}

/// The network for its places.
pub(crate) fn rendered(runtime: &dyn Runtime, topology: &Topology, placed: &Placed) -> Bundle {
    let validity = Validity::starting(SystemTime::now(), Duration::from_hours(24));
    let options = RenderOptions::new(runtime.release(), validity);
    render(topology, &placed.placement, &options).unwrap()
}

/// The processes, by number, that carry the mark of a run below `runs`. Zombies have no marks.
pub(crate) fn marked(runs: &Path) -> Vec<u32> {
    let mark = format!("FABRIC_HARNESS_RUN={}/", runs.display());
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|number| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        })
        .collect()
}

/// How long a test waits for something that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until it is so; panics with `what` after [`PATIENCE`].
pub(crate) fn soon(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
