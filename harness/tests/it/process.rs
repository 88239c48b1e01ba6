//! The process runtime: what comes up, what is reported when something does not, and that every end of
//! the library's values leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_harness::runtime::process::{self, ProcessRuntime};
use fabric_harness::runtime::registry::sweep;
use fabric_harness::runtime::{
    ChaincodeSpec, Placed, ReadinessCheck, Running, Runtime, RuntimeError, RuntimeOptions, StartError,
};
use fabric_harness::server::ServerSource;
use fabric_network::bundle::{Bundle, File};
use fabric_network::topology::Topology;
use tokio::sync::Notify;

use crate::fake::{Fake, LIVE, PATIENCE, entries, marked, place, soon};

fn assert_nothing_left(fake: &Fake) {
    assert_eq!(marked(&fake.runs()), Vec::<u32>::new(), "processes are left");
    assert_eq!(fake.left(), Vec::<PathBuf>::new(), "directories are left");
}

#[tokio::test]
async fn a_network_runs_until_it_is_stopped() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let names: Vec<&str> = running.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["orderer.example.com", "peer0.org1.example.com"]);
    assert!(running.nodes()[0].admin.is_some() && running.nodes()[1].admin.is_none());
    // A process that is just becoming another program has no environment for a moment.
    soon("two nodes and the reaper run", || marked(&fake.runs()).len() == 3);
    soon("both have written their logs", || {
        ["orderer.example.com", "peer0.org1.example.com"].iter().all(|name| {
            let log = running.directory().join("logs").join(format!("{name}.log"));
            fs::read_to_string(log).is_ok_and(|text| text == "up\n")
        })
    });
    assert_eq!(running.logs().await["orderer.example.com"], "up\n");
    assert!(running.exits().await.is_empty());
    running.stop().await.unwrap();
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn dropping_a_network_ends_it() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let grpc = placed.placement.nodes["peer0.org1.example.com"].ports.grpc;
    drop(placed.start(&bundle, &[]).await.unwrap());
    assert_nothing_left(&fake);
    // Another test may have taken it for a moment.
    soon("its port is free", || TcpListener::bind(("127.0.0.1", grpc)).is_ok());
}

#[tokio::test]
async fn a_panic_ends_the_network() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let task = tokio::spawn(async move {
        assert_eq!(running.nodes().len(), 0, "a mistake in what uses a network");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn dropping_places_gives_them_up() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, _) = fake.place(fake.options()).await;
    soon("the reaper runs", || marked(&fake.runs()).len() == 1);
    drop(placed);
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_start_that_is_dropped_half_way_ends_what_it_began() {
    let fake = Fake::new(LIVE, LIVE);
    let asked = Arc::new(Notify::new());
    let ask = Arc::clone(&asked);
    let readiness: ReadinessCheck = Arc::new(move |_| {
        ask.notify_one();
        Box::pin(std::future::pending())
    });
    let (placed, bundle) = fake.place(RuntimeOptions { readiness, ..fake.options() }).await;
    tokio::select! {
        started = placed.start(&bundle, &[]) => panic!("no node is ready, and it has started: {started:?}"),
        () = asked.notified() => {}
    }
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_node_that_ignores_sigterm_is_killed() {
    let scratch = tempfile::tempdir().unwrap();
    let asked = scratch.path().join("asked");
    let deaf = format!("trap 'echo >{}' TERM; echo up; while :; do sleep 0.05; done", asked.display());
    let fake = Fake::new(&deaf, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let log = running.directory().join("logs/peer0.org1.example.com.log");
    soon("it is deaf", || fs::read_to_string(&log).is_ok_and(|text| text == "up\n"));
    running.stop().await.unwrap();
    assert!(asked.exists(), "it had no SIGTERM before it was killed");
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_process_that_leaves_the_group_is_ended_too() {
    let fake = Fake::new("setsid sleep 1000 & exec sleep 1000", LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    soon("the runaway runs", || marked(&fake.runs()).len() == 4);
    running.stop().await.unwrap();
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_node_that_dies_while_starting_is_reported_with_status_and_log() {
    let fake = Fake::new("echo 'no MSP here' >&2; exit 7", LIVE);
    let (placed, bundle) = fake.place(fake.options_of_silence()).await;
    let error = placed.start(&bundle, &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "peer0.org1.example.com exited: exit status: 7\n  last lines of its log:\n    no MSP here"
    );
    assert!(!error.source.is_port_in_use());
    assert_eq!(error.logs["peer0.org1.example.com"], "no MSP here\n");
    assert!(error.logs.contains_key("orderer.example.com"), "{:?}", error.logs);
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_node_whose_port_is_taken_is_reported_as_such() {
    let fake = Fake::new(LIVE, "echo 'listen tcp 127.0.0.1:1: bind: address already in use'; exit 1");
    let (placed, bundle) = fake.place(fake.options_of_silence()).await;
    let error = placed.start(&bundle, &[]).await.unwrap_err();
    assert!(error.source.is_port_in_use(), "{error}");
    assert!(error.to_string().contains("likely cause: another program took one of its ports"), "{error}");
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_node_that_stays_silent_is_reported_with_what_was_seen() {
    let fake = Fake::new(LIVE, LIVE);
    let runs = fake.runs();
    let readiness: ReadinessCheck = Arc::new(move |node| {
        // It blocks, so that the time is not up before the node has written its log.
        let log = |run: PathBuf| fs::read_to_string(run.join(format!("logs/{}.log", node.name))).unwrap_or_default();
        soon("the node has started", || entries(&runs).into_iter().any(|run| log(run) == "up\n"));
        Box::pin(async { Err("silence".to_owned()) })
    });
    let options = RuntimeOptions { timeout: Duration::from_millis(300), readiness, ..fake.options() };
    let (placed, bundle) = fake.place(options).await;
    let error = placed.start(&bundle, &[]).await.unwrap_err();
    assert_eq!(error.logs["peer0.org1.example.com"], "up\n");
    assert_eq!(error.logs["orderer.example.com"], "up\n");
    let error = error.to_string();
    assert!(error.contains("timed out after 300.0ms; last seen: silence"), "{error}");
    assert!(error.ends_with("last lines of its log:\n    up"), "{error}");
    assert_nothing_left(&fake);
}

/// Starts a network with a chaincode server, and again if another test took the server's port.
async fn start(fake: &Fake, server: impl Fn(&Placed) -> ChaincodeSpec) -> Result<Running, StartError> {
    loop {
        let (placed, bundle) = fake.place(fake.options()).await;
        let server = server(&placed);
        match placed.start(&bundle, &[server]).await {
            Err(error) if error.source.is_port_in_use() => {}
            started => return started,
        }
    }
}

#[tokio::test]
async fn a_program_that_takes_the_port_of_a_chaincode_server_is_named() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let address = placed.chaincodes["basic"].listen.clone();
    let own = address.clone();
    // The port is free from the moment when the server is about to start, which never listens itself.
    let taken = std::thread::spawn(move || {
        loop {
            if let Ok(listener) = TcpListener::bind(&own) {
                return listener;
            }
        }
    });
    let server = ChaincodeSpec {
        name: "basic".to_owned(),
        source: ServerSource::Program(fake.program("server", "exec sleep 1000")),
        ..ChaincodeSpec::default()
    };
    let error = placed.start(&bundle, &[server]).await.unwrap_err();
    drop(taken.join().unwrap());
    assert!(error.source.is_port_in_use(), "{error}");
    let expected = format!("basic cannot listen on {address}: process {} (", std::process::id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_chaincode_server_that_dies_is_reported_and_has_its_files_and_environment() {
    let fake = Fake::new(LIVE, LIVE);
    let started = start(&fake, |_| ChaincodeSpec {
        name: "basic".to_owned(),
        source: ServerSource::Program(fake.program("server", "cat hello; echo \"$WHO\"; exit 3")),
        environment: [("WHO".to_owned(), "world".to_owned())].into(),
        files: [(PathBuf::from("hello"), File::public("hello"))].into(),
        ..ChaincodeSpec::default()
    });
    let error = started.await.unwrap_err().to_string();
    assert_eq!(error, "basic exited: exit status: 3\n  last lines of its log:\n    helloworld");
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn an_exit_of_a_chaincode_server_is_reported_after_a_restart() {
    let fake = Fake::new(LIVE, LIVE);
    let crash = fake.runs().with_file_name("crash");
    let started = start(&fake, |placed| {
        let (_, port) = placed.chaincodes["basic"].listen.rsplit_once(':').unwrap();
        ChaincodeSpec {
            name: "basic".to_owned(),
            source: ServerSource::Program(fake.program("server", &listener(port, &crash))),
            ..ChaincodeSpec::default()
        }
    });
    let running = started.await.unwrap();
    let server = &running.chaincodes()[0];
    server.restart().await.unwrap();
    assert!(running.exits().await.is_empty(), "its end was requested");
    for (again, restart) in [(1, true), (2, false)] {
        fs::write(&crash, "").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while running.exits().await.len() < again {
            assert!(Instant::now() < deadline, "it did not crash in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fs::remove_file(&crash).unwrap();
        if restart {
            server.restart().await.unwrap();
        } else {
            server.start().await.unwrap();
        }
        let exits = running.exits().await;
        assert_eq!(exits.len(), again, "{exits:?}");
        assert!(exits.iter().all(|exit| exit.how == "exit status: 9"), "{exits:?}");
    }
    running.stop().await.unwrap();
    assert_nothing_left(&fake);
}

/// A server that listens, and ends with status 9 when this file is there.
fn listener(port: &str, crash: &std::path::Path) -> String {
    format!(
        "exec perl -MIO::Socket::INET -e '\n\
         my $socket = IO::Socket::INET->new(Listen => 5, LocalAddr => q(127.0.0.1:{port}), ReuseAddr => 1) or die;\n\
         until (-e q({})) {{ select undef, undef, undef, 0.01 }}\n\
         exit 9'",
        crash.display()
    )
}

#[tokio::test]
async fn a_chaincode_server_without_a_place_is_refused() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let server = ChaincodeSpec { name: "other".to_owned(), ..ChaincodeSpec::default() };
    let error = placed.start(&bundle, &[server]).await.unwrap_err();
    assert!(matches!(&*error.source, RuntimeError::NotPlaced { name } if name == "other"), "{error}");
    assert_nothing_left(&fake);
}

#[tokio::test]
async fn a_sweep_spares_a_run_that_lives() {
    let fake = Fake::new(LIVE, LIVE);
    let (placed, bundle) = fake.place(fake.options()).await;
    let running = placed.start(&bundle, &[]).await.unwrap();
    let swept = sweep(&fake.runs(), Vec::new()).await;
    assert_eq!(swept.runs, 0);
    soon("two nodes and the reaper run", || marked(&fake.runs()).len() == 3);
    assert!(running.exits().await.is_empty());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_missing_program_is_named_with_where_it_was_looked_for() {
    let fake = Fake::new(LIVE, LIVE);
    fs::remove_file(fake.fabric().join("bin/orderer")).unwrap();
    let error = ProcessRuntime::find(fake.options(), Some(&fake.fabric())).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, process::Error::Program { program: "orderer", .. }), "{text}");
    assert!(text.contains(&fake.fabric().join("bin").display().to_string()), "{text}");
    assert!(text.contains("--fabric-bin"), "{text}");
}

/// Fabric's programs replace `$name` in the path of their configuration.
#[tokio::test]
async fn a_directory_with_a_dollar_sign_is_refused() {
    let fake = Fake::new(LIVE, LIVE);
    let options = RuntimeOptions { parent: fake.runs().join("do$llar"), ..fake.options() };
    let error = ProcessRuntime::find(options, Some(&fake.fabric())).await.unwrap_err().to_string();
    assert!(error.contains("do$llar, contains `$`") && error.contains("TMPDIR"), "{error}");
}

#[tokio::test]
async fn a_peer_of_an_unsupported_version_or_none_is_refused() {
    let fake = Fake::new(LIVE, LIVE);
    let peer = fake.fabric().join("bin/peer");
    fs::write(&peer, "#!/bin/sh\necho ' Version: v1.4.12'\n").unwrap();
    let error = ProcessRuntime::find(fake.options(), Some(&fake.fabric())).await.unwrap_err();
    assert!(matches!(error, process::Error::Release(_)), "{error}");
    fs::write(&peer, "#!/bin/sh\necho 'not for this machine' >&2; exit 1\n").unwrap();
    let error = ProcessRuntime::find(fake.options(), Some(&fake.fabric())).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 1: not for this machine"), "{error}");
}

/// The programs of `FABRIC_BIN`, or of PATH.
async fn fabric() -> ProcessRuntime {
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    let options = RuntimeOptions::new("/bin/true");
    ProcessRuntime::find(options, directory.as_deref()).await.unwrap()
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_every_node_of_a_network_answers() {
    for topology in [Topology::solo(), Topology::duo()] {
        let (placed, bundle) = place(&fabric().await, &topology).await;
        let running = placed.start(&bundle, &[]).await.unwrap();
        let directory = running.directory().to_owned();
        assert_eq!(running.nodes().len(), topology.nodes().count());
        assert!(running.exits().await.is_empty());
        running.stop().await.unwrap();
        assert!(!directory.exists());
    }
}

fn spoil(bundle: &mut Bundle, name: &str) {
    let path = bundle.files.keys().find(|path| path.ends_with(name)).unwrap().clone();
    bundle.files.insert(path, File::public("{"));
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_node_that_dies_reports_why() {
    let (placed, mut bundle) = place(&fabric().await, &Topology::solo()).await;
    spoil(&mut bundle, "core.yaml");
    let error = placed.start(&bundle, &[]).await.unwrap_err().to_string();
    assert!(error.starts_with("peer0.org1.example.com exited: exit status: "), "{error}");
    assert!(error.contains("yaml"), "{error}");
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_port_in_use_is_reported_as_such() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    for node in ["orderer.example.com", "peer0.org1.example.com"] {
        let runtime = fabric().await;
        let mut placed = runtime.place(&Topology::solo(), &[]).await.unwrap();
        placed.placement.nodes.get_mut(node).unwrap().ports.grpc = taken;
        let bundle = crate::fake::rendered(&runtime, &Topology::solo(), &placed);
        let error = placed.start(&bundle, &[]).await.unwrap_err();
        assert!(error.source.is_port_in_use(), "{error}");
        assert!(error.to_string().starts_with(node), "{error}");
    }
}
