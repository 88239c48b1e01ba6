//! The library as a test author uses it: a network started, called, and gone.

use fabric_harness::runtime::embedded::EMBEDDED;
use fabric_harness::runtime::process::PROCESS;
use fabric_harness::{CallError, Network, NetworkBuilder, NetworkError, Topology};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use tokio::io::AsyncReadExt as _;

use crate::fake::PATIENCE;

fn builder() -> NetworkBuilder {
    let sample = env::var_os("CHAINCODE_SAMPLE").expect("`cargo xtask test` sets CHAINCODE_SAMPLE");
    Network::builder(sample).runtime(&EMBEDDED)
}

#[tokio::test]
async fn networks_side_by_side_are_each_their_own() {
    let (one, other) = tokio::join!(builder().start(), builder().topology("duo").start());
    let (one, other) = (one.unwrap(), other.unwrap());
    let committed = one.call(["CreateAsset", "a1", "blue", "5", "Tom", "300"]).identity("Admin@Org1").submit().await;
    assert!(committed.unwrap().committed.block_number > 0);
    assert_eq!(one.call(["AssetExists", "a1"]).evaluate().await.unwrap(), b"true");
    let of_other = other.call(["AssetExists", "a1"]).identity("User1@Org2").endorsed_by("Org2").evaluate();
    assert_eq!(of_other.await.unwrap(), b"false");
    assert_ne!(one.package_id(), other.package_id());
    one.stop().await.unwrap();
    assert_eq!(other.call(["AssetExists", "a1"]).evaluate().await.unwrap(), b"false");
}

#[tokio::test]
async fn a_dropped_network_leaves_nothing() {
    let network = builder().start().await.unwrap();
    let directory = network.nodes().running.directory().to_owned();
    let address = network.nodes().running.nodes()[0].grpc.uri.replace("https://", "");
    assert!(directory.is_dir());
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(network);
    assert!(!directory.exists());
    // Its tasks are asked to end, and end when this one lets them.
    let closed = async { while tokio::net::TcpStream::connect(&address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

/// Connections that send nothing: a peer gives up the oldest one for a further one, not only after five seconds.
#[tokio::test]
async fn a_stalled_handshake_gives_way_to_another_one() {
    let network = builder().start().await.unwrap();
    let address = network.nodes().running.nodes()[0].grpc.uri.replace("https://", "");
    let begin = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..=256 {
        stalled.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    assert_eq!(stalled[0].read(&mut [0; 100]).await.unwrap_or(0), 0);
    assert!(begin.elapsed() < Duration::from_secs(5), "it timed out");
    assert_eq!(network.call(["AssetExists", "a1"]).evaluate().await.unwrap(), b"false");
    network.stop().await.unwrap();
}

#[tokio::test]
async fn an_impossible_call_is_refused_with_what_exists() {
    let network = builder().start().await.unwrap();
    let call = || network.call(["ReadAsset", "a9"]);
    for (call, expected) in [
        (call().channel("other"), "expected a channel other, seen the channels mychannel"),
        (call().identity("User9@Org1"), "expected an identity User9@Org1, seen the identities User1@Org1, Admin@Org1"),
        (call().identity("Tom"), "invalid identity \"Tom\"; give Admin@ORGANIZATION, User1@ORGANIZATION, …"),
        (call().endorsed_by("Org7"), "expected an organization Org7 in the channel mychannel, seen the organizations"),
    ] {
        let error = call.evaluate().await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)) && error.to_string().contains(expected), "{error}");
    }
    let CallError::Client(refused) = call().evaluate().await.unwrap_err() else { panic!("not of the chaincode") };
    assert!(refused.chaincode_error().is_some(), "{refused}");
}

#[tokio::test]
async fn an_impossible_network_is_refused_with_the_reason() {
    let error = Network::builder("no-program").topology("trio").external_builder("/").start().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, NetworkError::Options(_)), "{text}");
    for mistake in ["--chaincode no-program", "--topology trio", "--builder /"] {
        assert!(text.contains(mistake), "{text}");
    }
    let ends = Network::builder("/bin/false").runtime(&EMBEDDED).start().await.unwrap_err();
    assert!(matches!(&ends, NetworkError::Run { .. }), "{ends}");
    let cause = std::error::Error::source(&ends).unwrap().to_string();
    assert!(cause.contains("asset-transfer exited"), "{cause}");
}

#[tokio::test]
async fn a_topology_can_be_a_value_and_embedded_nodes_go_back_to_a_snapshot() {
    let mut topology = Topology::preset("solo").unwrap();
    topology.channels[0].name = "trade".to_owned();
    let network = builder().topology(topology).start().await.unwrap();
    let snapshot = network.embedded().unwrap().snapshot().await;
    network.call(["CreateAsset", "a1", "blue", "5", "Tom", "300"]).channel("trade").submit().await.unwrap();
    network.embedded().unwrap().restore(&snapshot).await;
    assert_eq!(network.call(["AssetExists", "a1"]).evaluate().await.unwrap(), b"false");
    network.stop().await.unwrap();

    let mut invalid = Topology::preset("solo").unwrap();
    invalid.channels[0].name = "Trade".to_owned();
    let error = builder().topology(invalid).start().await.unwrap_err().to_string();
    assert!(error.contains("channels[0].name"), "{error}");
}

/// A chaincode file whose server reports that its port is in use at the first starts, and appends to `starts`.
fn unlucky(directory: &Path, failures: usize) -> PathBuf {
    let sample = env::var("CHAINCODE_SAMPLE").expect("`cargo xtask test` sets CHAINCODE_SAMPLE");
    let starts = directory.join("starts").display().to_string();
    let script = format!(
        "echo >>'{starts}'; if [ $$(wc -l <'{starts}') -le {failures} ]; then \
         echo 'listen tcp: bind: address already in use' >&2; exit 1; fi; exec '{sample}'"
    );
    let file = directory.join("own.toml");
    fs::write(&file, format!("[server]\ncommand = ['sh', '-c', \"\"\"{script}\"\"\"]\n")).unwrap();
    file
}

#[tokio::test]
async fn a_start_takes_other_ports_if_one_is_taken_but_not_for_ever() {
    for (failures, starts) in [(2, 3), (9, 3)] {
        let scratch = tempfile::tempdir().unwrap();
        let started = Network::builder(unlucky(scratch.path(), failures)).runtime(&EMBEDDED).start().await;
        match started {
            Ok(network) => {
                assert_eq!(failures, 2);
                assert_eq!(network.call(["AssetExists", "a1"]).evaluate().await.unwrap(), b"false");
                network.stop().await.unwrap();
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).unwrap().to_string();
                assert!(failures == 9 && cause.contains("another program took one of its ports"), "{cause}");
            }
        }
        assert_eq!(fs::read_to_string(scratch.path().join("starts")).unwrap().lines().count(), starts);
    }
}

#[tokio::test]
async fn a_couchdb_is_claimed_before_the_start_and_its_password_is_not_shown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = builder().couchdb(format!("http://admin:secret@{closed}")).start().await.unwrap_err();
    let text = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(text.contains("CouchDB") && text.contains(&closed.to_string()) && !text.contains("secret"), "{text}");
}

/// A script as the builder, of which one program prints something and fails.
async fn prints_what_builders_print(programs: &[&str], builder: impl Fn() -> NetworkBuilder) {
    let scratch = tempfile::tempdir().unwrap();
    for command in programs {
        let script = scratch.path().join(command);
        let text = format!(
            "#!/bin/sh\nif [ \"${{0##*/}}\" = {command} ]; then echo \"set: Illegal option -o pipefail\" >&2; exit 3; fi\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let timeout = Duration::from_secs(20);
        let failed = builder().external_builder(&script).timeout(timeout).start().await.unwrap_err();
        let text = std::error::Error::source(&failed).unwrap().to_string();
        let (_, printed) = text.split_once("\nthe builder printed:\n").unwrap_or_else(|| panic!("{command}: {text}"));
        let expected = format!("  peer0.org1 {command}: set: Illegal option -o pipefail");
        assert!(printed.lines().any(|line| line == expected), "{command}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_external_builder_prints_is_part_of_the_error() {
    prints_what_builders_print(&["detect", "build", "release"], builder).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_what_an_external_builder_prints_is_part_of_the_error() {
    prints_what_builders_print(&["detect", "build", "release", "run"], || {
        let builder = builder().runtime(&PROCESS);
        match env::var_os("FABRIC_BIN") {
            Some(directory) => builder.fabric_bin(directory),
            None => builder,
        }
    })
    .await;
}
