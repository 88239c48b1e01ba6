//! The docker runtime, in an engine that has Fabric's images: what comes up, and that nothing stays.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptions};
use fabric_harness::cleanup::labels::RUN_LABEL;
use fabric_harness::cleanup::{Reaper, Resources, RunGuard};
use fabric_harness::runtime::docker::DockerRuntime;
use fabric_harness::runtime::docker::engine::Engine;
use fabric_harness::runtime::registry::sweep;
use fabric_harness::runtime::{ChaincodeSpec, RuntimeOptions};
use fabric_harness::server::ServerSource;
use fabric_network::bundle::File;
use fabric_network::topology::Topology;

use crate::fake::{PATIENCE, place, soon};

const TAG: &str = "3.1";

/// A directory for runs, and what is found in the engine of them.
struct Runs {
    scratch: tempfile::TempDir,
    docker: Docker,
}

impl Runs {
    async fn new() -> Self {
        let docker = Engine::from_environment().connect().await.unwrap();
        Self { scratch: tempfile::tempdir().unwrap(), docker }
    }

    fn parent(&self) -> PathBuf {
        self.scratch.path().canonicalize().unwrap()
    }

    async fn runtime(&self, tag: &str) -> DockerRuntime {
        DockerRuntime::find(self.options(), tag).await.unwrap()
    }

    fn options(&self) -> RuntimeOptions {
        RuntimeOptions { parent: self.parent(), ..RuntimeOptions::new("/bin/true") }
    }

    /// A program that runs in any image with a shell.
    fn program(&self, body: &str) -> PathBuf {
        let path = self.scratch.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A server that listens on its port after so many seconds, in any image with Perl.
    fn listener(&self, seconds: f32) -> PathBuf {
        self.program(&format!(
            "cat hello; echo $WHO\nexec perl -MIO::Socket::INET -e '\n\
             $SIG{{TERM}} = sub {{ syswrite STDOUT, qq(bye\\n); exit }};\n\
             select undef, undef, undef, {seconds};\n\
             my $socket = IO::Socket::INET->new(Listen => 5, LocalPort => 20000, ReuseAddr => 1) or die;\n\
             select undef, undef, undef, 0.1 while 1'"
        ))
    }

    fn directories(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.parent()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }

    async fn containers(&self) -> Vec<String> {
        below(&self.docker, &self.parent()).await
    }

    /// The volumes of these containers.
    async fn volumes(&self) -> Vec<String> {
        let mut volumes = Vec::new();
        for name in self.containers().await {
            let options = None::<InspectContainerOptions>;
            let found = self.docker.inspect_container(name.trim_start_matches('/'), options).await.unwrap();
            volumes.extend(found.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name));
        }
        volumes
    }

    /// The addresses of this machine on which these containers publish ports.
    async fn published_on(&self) -> BTreeSet<String> {
        let mut addresses = BTreeSet::new();
        for name in self.containers().await {
            let options = None::<InspectContainerOptions>;
            let found = self.docker.inspect_container(name.trim_start_matches('/'), options).await.unwrap();
            let ports = found.network_settings.unwrap().ports.unwrap_or_default();
            let bindings = ports.into_values().flatten().flatten();
            addresses.extend(bindings.filter_map(|binding| binding.host_ip));
        }
        addresses
    }

    async fn assert_nothing_left(&self) {
        assert_eq!(self.containers().await, Vec::<String>::new(), "containers are left");
        assert_eq!(self.directories(), Vec::<PathBuf>::new(), "directories are left");
        let networks = self.docker.list_networks(None::<ListNetworksOptions>).await.unwrap();
        let names = networks.into_iter().filter_map(|network| network.name);
        // An engine has room for some thirty networks, so a run makes none.
        let made: Vec<String> = names.filter(|name| name.contains(':') || name.contains("fabric")).collect();
        assert_eq!(made, Vec::<String>::new(), "networks are left");
    }
}

/// The names of the containers whose run's directory is below this one.
pub(crate) async fn below(docker: &Docker, parent: &Path) -> Vec<String> {
    let filters = HashMap::from([("label", vec![RUN_LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let found = docker.list_containers(Some(options)).await.unwrap().into_iter();
    let ours = found.filter(|container| {
        let labels = container.labels.clone().unwrap_or_default();
        labels.get("fabric-harness.directory").is_some_and(|path| Path::new(path).starts_with(parent))
    });
    ours.flat_map(|container| container.names.unwrap_or_default()).collect()
}

/// As [`below`], for tests that are not asynchronous.
pub(crate) fn containers_below(parent: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { below(&Engine::from_environment().connect().await.unwrap(), parent).await })
}

fn server(program: PathBuf) -> ChaincodeSpec {
    ChaincodeSpec {
        name: "basic".to_owned(),
        source: ServerSource::Program(program),
        environment: [("WHO".to_owned(), "world".to_owned())].into(),
        files: [(PathBuf::from("hello"), File::public("hello"))].into(),
        ..ChaincodeSpec::default()
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_every_node_answers_and_nothing_is_left() {
    let runs = Runs::new().await;
    for tag in ["2.5", TAG] {
        let (placed, bundle) = place(&runs.runtime(tag).await, &Topology::solo()).await;
        let server = server(runs.listener(0.0));
        let running = placed.start(&bundle, &[server]).await.unwrap();
        assert_eq!(running.nodes().len(), 2);
        let (uri, description) = (&running.nodes()[1].grpc.uri, running.description().unwrap());
        let (_, host) = description.split_once("; ports published on ").unwrap();
        assert!(uri.starts_with(&format!("https://{host}:")), "{uri}, {description}");
        let may_be_in_a_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
        assert!(host == "127.0.0.1" || may_be_in_a_container && host != "0.0.0.0", "{host}");
        assert_eq!(runs.published_on().await, BTreeSet::from([host.to_owned()]), "on no other interface");
        assert!(running.exits().await.is_empty());
        assert_eq!(runs.containers().await.len(), 4, "two nodes, a server, and the shared network");
        let volumes = runs.volumes().await;
        assert_ne!(volumes, Vec::<String>::new(), "the images declare volumes");
        assert_eq!(running.log_tail("basic").await, "helloworld");
        running.stop().await.unwrap();
        runs.assert_nothing_left().await;
        for volume in volumes {
            runs.docker.inspect_volume(&volume).await.expect_err("the volume is left");
        }
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_larger_network_answers() {
    let runs = Runs::new().await;
    let (placed, bundle) = place(&runs.runtime(TAG).await, &Topology::duo()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    assert_eq!(running.nodes().len(), Topology::duo().nodes().count());
    running.stop().await.unwrap();
    runs.assert_nothing_left().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_chaincode_server_is_stopped_killed_and_started_again() {
    let runs = Runs::new().await;
    let (placed, bundle) = place(&runs.runtime(TAG).await, &Topology::solo()).await;
    let running = placed.start(&bundle, &[server(runs.listener(0.0))]).await.unwrap();
    let server = &running.chaincodes()[0];
    server.restart().await.unwrap();
    server.kill().await.unwrap();
    assert!(running.exits().await.is_empty(), "what was killed on purpose did not die by itself");
    server.start().await.unwrap();
    assert!(running.exits().await.is_empty());
    server.stop().await.unwrap();
    let up = "helloworld";
    assert_eq!(server.log_tail().await, format!("{up}\nbye\n{up}\n{up}\nbye"));
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_chaincode_server_is_waited_for_until_it_listens() {
    let runs = Runs::new().await;
    let (placed, bundle) = place(&runs.runtime(TAG).await, &Topology::solo()).await;
    let late = Duration::from_secs(4);
    let begin = Instant::now();
    let running = placed.start(&bundle, &[server(runs.listener(late.as_secs_f32()))]).await.unwrap();
    assert!(begin.elapsed() >= late, "started after {:?}", begin.elapsed());
    let server = &running.chaincodes()[0];
    server.kill().await.unwrap();
    let begin = Instant::now();
    server.start().await.unwrap();
    assert!(begin.elapsed() >= late, "started again after {:?}", begin.elapsed());
    assert!(begin.elapsed() < late + Duration::from_secs(3), "started again after {:?}", begin.elapsed());
    running.stop().await.unwrap();
    runs.assert_nothing_left().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_an_exit_of_a_chaincode_server_is_reported_after_a_restart() {
    let runs = Runs::new().await;
    let (placed, bundle) = place(&runs.runtime(TAG).await, &Topology::solo()).await;
    let running = placed.start(&bundle, &[server(runs.listener(0.0))]).await.unwrap();
    let server = &running.chaincodes()[0];
    server.restart().await.unwrap();
    assert!(running.exits().await.is_empty(), "its end was requested");
    let name = runs.containers().await.into_iter().find(|name| name.ends_with("-basic")).unwrap();
    let options = bollard::query_parameters::KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    runs.docker.kill_container(name.trim_start_matches('/'), Some(options)).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while running.exits().await.is_empty() {
        assert!(Instant::now() < deadline, "it did not end in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.restart().await.unwrap();
    let exits = running.exits().await;
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!(exits[0].how, "exit status: 137");
    running.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_chaincode_server_that_never_listens_is_reported() {
    let runs = Runs::new().await;
    let options = RuntimeOptions { timeout: Duration::from_secs(5), ..runs.options() };
    let runtime = DockerRuntime::find(options, TAG).await.unwrap();
    let (placed, bundle) = place(&runtime, &Topology::solo()).await;
    let error = placed.start(&bundle, &[server(runs.program("echo up; exec sleep 1000"))]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("basic listens on port 20000: timed out after 5.0s; last seen: nothing"), "{text}");
    assert!(text.ends_with("last lines of its log:\n    up"), "{text}");
    runs.assert_nothing_left().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_what_dies_while_starting_is_reported_with_its_log() {
    let runs = Runs::new().await;
    let (placed, mut bundle) = place(&runs.runtime(TAG).await, &Topology::solo()).await;
    let path = bundle.files.keys().find(|path| path.ends_with("core.yaml")).unwrap().clone();
    bundle.files.insert(path, File::public("{"));
    let error = placed.start(&bundle, &[]).await.unwrap_err().to_string();
    assert!(error.starts_with("peer0.org1.example.com exited: exit status: "), "{error}");
    assert!(error.contains("yaml"), "{error}");
    runs.assert_nothing_left().await;

    let (placed, bundle) = place(&runs.runtime(TAG).await, &Topology::solo()).await;
    let dead = server(runs.program("echo 'no such luck' >&2; exit 3"));
    let error = placed.start(&bundle, &[dead]).await.unwrap_err();
    assert_eq!(error.logs["basic"], "no such luck\n");
    let others = ["orderer.example.com", "peer0.org1.example.com"];
    assert!(error.logs.keys().all(|name| name == "basic" || others.contains(&name.as_str())), "{:?}", error.logs);
    assert_eq!(error.to_string(), "basic exited: exit status: 3\n  last lines of its log:\n    no such luck");
    runs.assert_nothing_left().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_start_that_is_dropped_at_any_time_leaves_nothing() {
    let runs = Runs::new().await;
    let runtime = runs.runtime(TAG).await;
    for milliseconds in [0, 100, 300, 400, 500, 700, 1000] {
        let (placed, bundle) = place(&runtime, &Topology::solo()).await;
        let start = placed.start(&bundle, &[]);
        let started = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
        drop(started);
        runs.assert_nothing_left().await;
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_the_reaper_removes_everything_when_the_program_is_killed() {
    let runs = Runs::new().await;
    for containers in [1, 2, 4] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_fabric-harness"))
            .args(["e2e", "--runtime", "docker", "--keep", "never", "--builder", "/bin/true", "--chaincode"])
            .arg(runs.program("exec sleep 1000"))
            .env("TMPDIR", runs.parent())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while runs.containers().await.len() < containers {
            assert!(program.try_wait().unwrap().is_none(), "it ended by itself");
        }
        program.kill().unwrap();
        program.wait().unwrap();
        soon("the directory is gone", || runs.directories().is_empty());
        runs.assert_nothing_left().await;
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_the_next_sweep_removes_what_the_reaper_could_not() {
    let runs = Runs::new().await;
    let engine: Arc<dyn Resources> = Arc::new(Engine::from_environment());
    let living = RunGuard::begin_with(&runs.parent(), &Reaper::Shell, |_| Arc::clone(&engine)).unwrap();
    let mut labels: HashMap<String, String> = living.labels().into_iter().collect();
    let of_living = create(&runs, &labels).await;
    // As of a process that has ended since, and whose directory is gone.
    labels.insert("fabric-harness.directory".into(), runs.parent().join("gone").display().to_string());
    labels.insert("fabric-harness.started".into(), "1".into());
    create(&runs, &labels).await;
    let swept = sweep(&runs.parent(), vec![engine]).await;
    assert!(swept.containers >= 1, "{swept:?}");
    assert_eq!(runs.containers().await, [format!("/{of_living}")]);
    living.end().unwrap();
    runs.assert_nothing_left().await;
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_a_sweep_asks_the_engine_that_the_dead_run_used() {
    let runs = Runs::new().await;
    let dead = RunGuard::begin_with(&runs.parent(), &Reaper::Shell, |_| Arc::new(Engine::from_environment())).unwrap();
    create(&runs, &dead.labels().into_iter().collect()).await;
    // What a harness and a reaper leave that are both killed: a free lock, and no destructor.
    let directory = dead.workspace().directory().to_owned();
    std::mem::forget(dead);
    std::fs::remove_file(directory.join("lock")).unwrap();
    std::fs::write(directory.join("lock"), "").unwrap();
    let swept = sweep(&runs.parent(), Vec::new()).await;
    assert_eq!(swept.runs, 1, "{swept:?}");
    runs.assert_nothing_left().await;
}

async fn create(runs: &Runs, labels: &HashMap<String, String>) -> String {
    let name = format!("fabric-harness-test-{}-{}", std::process::id(), runs.containers().await.len());
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::new().name(&name).build();
    let body = bollard::models::ContainerCreateBody {
        image: Some(format!("hyperledger/fabric-peer:{TAG}")),
        labels: Some(labels.clone()),
        ..Default::default()
    };
    runs.docker.create_container(Some(options), body).await.unwrap();
    name
}

#[tokio::test]
#[ignore = "needs a Docker engine with Fabric's images"]
async fn needs_docker_an_image_that_cannot_be_had_is_named() {
    let error = DockerRuntime::find(RuntimeOptions::new("/bin/true"), "3.1.99999").await.unwrap_err();
    let text = error.to_string();
    // Both are asked for together; the first refusal is reported.
    let reported =
        |name| text.starts_with(&format!("the image hyperledger/{name}:3.1.99999 is not in the Docker engine"));
    assert!(reported("fabric-peer") || reported("fabric-orderer"), "{text}");
    assert!(text.contains("--fabric"), "{text}");
}
