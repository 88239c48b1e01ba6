//! Docker engines that differ: one that sees none of our files, one that is slow, and Podman, whose socket is named
//! by `PODMAN_HOST`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{InspectContainerOptions, ListVolumesOptions};
use fabric_harness::runtime::docker::engine::Engine;

use crate::docker::below;
use crate::e2e::E2e;
use crate::engine_proxy::{EngineProxy, Fault};
use crate::fake::{PATIENCE, soon};

/// A run in this engine, with what it leaves there.
struct Run {
    e2e: E2e,
    uri: String,
}

impl Run {
    fn new(uri: &str, arguments: &[&str]) -> Self {
        Self { e2e: E2e::new(&[&["--runtime", "docker"], arguments].concat()), uri: uri.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = self.e2e.command();
        command.env("DOCKER_HOST", &self.uri);
        command
    }

    /// What it prints, when every case passes.
    fn passes(&self) -> String {
        let output = self.command().output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    }

    /// The run's containers.
    fn containers(&self) -> Vec<String> {
        self.ask(async |docker| below(&docker, &self.e2e.runs()).await)
    }

    /// All volumes of the engine.
    fn volumes(&self) -> BTreeSet<String> {
        self.ask(async |docker| {
            let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes;
            volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect()
        })
    }

    /// The mounts of a running container that are files of this machine: their places, and whether they are writable.
    fn mounts(&self, container: &str) -> Vec<(String, bool)> {
        self.ask(async |docker| {
            let options = None::<InspectContainerOptions>;
            let found = docker.inspect_container(container.trim_start_matches('/'), options).await.unwrap();
            let mounts = found.mounts.unwrap_or_default().into_iter();
            let binds = mounts.filter(|mount| mount.typ.as_deref() == Some("bind"));
            binds.map(|mount| (mount.destination.unwrap(), mount.rw.unwrap())).collect()
        })
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(Docker) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + PATIENCE;
            // An engine that is busy may not answer the first call.
            let docker = loop {
                match Engine::at(&self.uri).connect().await {
                    Ok(docker) => break docker,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            };
            question(docker).await
        })
    }

    /// Kills the program as soon as `is_time`, and waits until nothing is left.
    fn killed_when(&self, is_time: impl Fn() -> bool) {
        let mut program = self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !is_time() {
            assert!(program.try_wait().unwrap().is_none(), "it ended by itself");
        }
        program.kill().unwrap();
        program.wait().unwrap();
        self.e2e.assert_nothing_left();
        assert_eq!(self.containers(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_files_are_mounted_read_only_and_ports_published_on_loopback() {
    let run = Run::new(Engine::from_environment().uri(), &["--keep", "never"]);
    let mut program = run.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (peer, server) = loop {
        let containers = run.containers();
        // The idle container's name ends with the run's ID.
        let is_server = |name: &&String| !name.ends_with(".example.com") && name.matches('-').count() > 2;
        let peer = containers.iter().find(|name| name.ends_with("-peer0.org1.example.com"));
        if let (Some(peer), Some(server)) = (peer, containers.iter().find(is_server)) {
            break (run.mounts(peer), run.mounts(server));
        }
        assert!(program.try_wait().unwrap().is_none(), "it ended by itself");
    };
    for (mounts, place) in [
        (&peer, "/etc/hyperledger/node/core.yaml"),
        (&peer, "/etc/hyperledger/node/builder/bin/run"),
        (&server, "/opt/chaincode/chaincode-server"),
    ] {
        assert!(mounts.contains(&(place.to_owned(), false)), "{place} in {mounts:?}");
    }
    assert!(peer.iter().chain(&server).all(|(_, is_writable)| !is_writable), "{peer:?} {server:?}");
    assert!(program.wait().unwrap().success());
    run.e2e.assert_nothing_left();

    let text = run.passes();
    assert!(text.contains("  files mounted read-only; ports published on 127.0.0.1\n"), "{text}");
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_an_engine_that_does_not_see_our_files_gets_copies() {
    let scratch = tempfile::tempdir().unwrap();
    let proxy = EngineProxy::start(scratch.path(), Fault::SeesNoFiles);
    let run = Run::new(&proxy.uri(), &[]);
    let text = run.passes();
    assert!(text.contains("  files copied, because the containers do not see those of this machine; ports"), "{text}");
    run.e2e.assert_nothing_left();
    assert_eq!(run.containers(), Vec::<String>::new());
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_container_that_is_created_after_the_kill_is_removed() {
    for creations in [1, 2, 4] {
        let scratch = tempfile::tempdir().unwrap();
        let proxy = EngineProxy::start(scratch.path(), Fault::CreatesLate(Duration::from_secs(2)));
        let run = Run::new(&proxy.uri(), &["--keep", "never"]);
        run.killed_when(|| proxy.creations() >= creations);
    }
}

fn podman() -> String {
    std::env::var("PODMAN_HOST").expect("PODMAN_HOST is not set")
}

#[test]
#[ignore = "needs Podman with Fabric's images"]
fn needs_podman_a_pass_and_a_kill_leave_nothing() {
    let podman = podman();
    let before = Run::new(&podman, &[]).volumes();
    for fabric in ["2.5", "3.1"] {
        for topology in ["solo", "duo"] {
            let run = Run::new(&podman, &["--fabric", fabric, "--topology", topology]);
            let text = run.passes();
            assert!(text.contains("; ports published on 127.0.0.1\n"), "{text}");
            assert!(!text.contains("WARN"), "{text}");
            run.e2e.assert_nothing_left();
            assert_eq!(run.containers(), Vec::<String>::new());
            assert_eq!(run.volumes(), before);
        }
    }
    for containers in [1, 2, 4] {
        let run = Run::new(&podman, &["--keep", "never"]);
        run.killed_when(|| run.containers().len() >= containers);
        soon("every volume is gone", || run.volumes() == before);
    }
}
