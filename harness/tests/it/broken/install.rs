//! Builders and packages that are broken: the error of an install.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fabric_harness::client::Invocation;
use fabric_harness::runtime::Runtime;
use fabric_network::bundle::Bundle;
use fabric_network::topology::Topology;
use fabric_protos::lifecycle::InstallChaincodeArgs;
use fabric_protos::prost::Message as _;

use super::servers;
use super::stage::{self, Builder, PEER, Stage, Verdict, deadline, rewrite, set, text, texts_of};
use crate::builder::ByHand;

const PLAIN: &str = r#"{"address":"127.0.0.1:9","tls_required":false}"#;

/// A package that is not installed.
struct Install {
    entry: &'static str,
    /// What takes the place of one of the builder's programs: its name, the script, the mode.
    program: Option<(&'static str, &'static str, u32)>,
    kind: &'static str,
    connection: &'static str,
}

const OF_PROGRAM: Install = Install { entry: "", program: None, kind: "ccaas", connection: PLAIN };

const INSTALLS: &[Install] = &[
    Install { entry: "detect-not-runnable", program: Some(("detect", "exit 0", 0o644)), ..OF_PROGRAM },
    Install { entry: "detect-refused", program: Some(("detect", "exit 1", 0o755)), ..OF_PROGRAM },
    Install { entry: "type-refused", kind: "golang", ..OF_PROGRAM },
    Install { entry: "build-refused", connection: r#"{"address":"mycc"}"#, ..OF_PROGRAM },
    Install { entry: "build-failed", program: Some(("build", "exit 3", 0o755)), ..OF_PROGRAM },
    Install { entry: "release-failed", program: Some(("release", "echo no >&2; exit 4", 0o755)), ..OF_PROGRAM },
    Install {
        entry: "half-written-build",
        program: Some(("build", "cp \"$1\"/connection.json \"$3\"; ln -s /etc/hosts \"$3\"/link", 0o755)),
        ..OF_PROGRAM
    },
    Install {
        // Far more than a pipe holds: the builder never ends.
        entry: "stderr-line-too-long",
        program: Some(("build", "head -c 300000 /dev/zero | tr '\\0' x >&2", 0o755)),
        ..OF_PROGRAM
    },
    Install { entry: "execute-timeout", program: Some(("build", "exec sleep 9", 0o755)), ..OF_PROGRAM },
];

/// A peer that has no builder at all, logs nothing of detect, or has lost the builder of a package.
const OTHERS: &[&str] =
    &["docker-missing", "no-builder-and-no-docker", "already-installed", "builder-gone", "type-not-taken"];

pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    INSTALLS.iter().map(|install| install.entry).chain(OTHERS.iter().copied())
}

const DEBUG: (&str, &str) = ("FABRIC_LOGGING_SPEC", "info:grpc=error:chaincode.externalbuilder=debug");

async fn installs(runtime: &dyn Runtime) {
    let timeouts = [("CORE_CHAINCODE_INSTALLTIMEOUT", "1s"), ("CORE_CHAINCODE_EXECUTETIMEOUT", "1s"), DEBUG];
    let stage = Stage::start(runtime, &Topology::solo(), |bundle| set(bundle, &timeouts)).await.unwrap();
    let builder = Builder::of(&stage);
    let mut verdict = Verdict::default();
    stage.turn_over().await;
    for Install { entry, program, kind, connection, .. } in INSTALLS {
        if let Some((name, script, mode)) = program {
            builder.replace(name, script, *mode);
        }
        let package = ByHand { kind, ..ByHand::new(entry, connection) }.bytes();
        let reported = stage.install(&package).await.err().unwrap_or_else(|| panic!("{entry}: it is installed"));
        stage.judge(&mut verdict, entry, &reported, "").await;
        if let Some((name, ..)) = program {
            builder.restore(name);
        }
    }
    stage.stop().await;
    verdict.assert();
}

/// What is seen at the default level of logs. Fabric's logs nothing of detect then.
async fn installs_without_a_word(runtime: &dyn Runtime) {
    let stage = Stage::start(runtime, &Topology::solo(), |_| {}).await.unwrap();
    let builder = Builder::of(&stage);
    let mut verdict = Verdict::default();
    stage.turn_over().await;
    builder.remove("detect");
    let package = ByHand::new("label", PLAIN).bytes();
    let reported = stage.install(&package).await.unwrap_err();
    let is_embedded = stage.running.embedded().is_some();
    let entry = if is_embedded { "detect-not-runnable" } else { "docker-missing" };
    stage.judge(&mut verdict, entry, &reported, "").await;
    builder.restore("detect");
    stage.install(&package).await.unwrap();

    let arguments = InstallChaincodeArgs { chaincode_install_package: package }.encode_to_vec();
    let peer = &stage.peers()[0];
    let proposal = Invocation::new("", "_lifecycle", "InstallChaincode").argument(arguments).propose(peer.signer());
    let reported = peer.process_proposal("install", &proposal.unwrap(), deadline()).await.unwrap_err();
    stage.judge(&mut verdict, "already-installed", &text(&reported), "").await;

    if is_embedded {
        // It has read its core.yaml once and for all.
        stage.stop().await;
        return verdict.assert();
    }
    stage.deploy("left", &stage::package("left", PLAIN)).await.unwrap();
    let settings = stage.directory(PEER).join("core.yaml");
    let renamed = fs::read_to_string(&settings).unwrap().replace("name: ccaas_builder", "name: renamed");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&settings, renamed).unwrap();
    stage.running.restart(PEER).await.unwrap();
    stage.turn_over().await;
    let reported = stage.ask("left", &["any"]).await;
    stage.judge(&mut verdict, "builder-gone", &reported, "").await;
    stage.stop().await;
    verdict.assert();
}

async fn no_builder(runtime: &dyn Runtime) {
    let without = |bundle: &mut Bundle| rewrite(bundle, "externalBuilders:", "formerBuilders:");
    let error = Stage::start(runtime, &Topology::solo(), without).await.err().expect("the peer starts");
    let mut verdict = Verdict::default();
    verdict.of("no-builder-and-no-docker", &texts_of(error));
    verdict.assert();
}

/// A peer with Docker and without a builder. An engine that knows no image is enough.
async fn no_builder_but_docker(runtime: &dyn Runtime) {
    let engine = servers::Engine::begin().await;
    let endpoint = format!("tcp://{}", engine.address);
    let change = |bundle: &mut Bundle| {
        rewrite(bundle, "externalBuilders:", "formerBuilders:");
        set(bundle, &[("CORE_VM_ENDPOINT", &endpoint)]);
    };
    let stage = Stage::start(runtime, &Topology::solo(), change).await.unwrap();
    let reported = stage.install(&ByHand::new("label", PLAIN).bytes()).await.unwrap_err();
    let mut verdict = Verdict::default();
    stage.judge(&mut verdict, "type-not-taken", &reported, "").await;
    stage.stop().await;
    verdict.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_peer_shows_what_is_wrong_with_a_builder_or_package() {
    let runtime = stage::embedded();
    installs(&runtime).await;
    installs_without_a_word(&runtime).await;
    no_builder(&runtime).await;
}

#[tokio::test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
async fn needs_fabric_a_peer_shows_what_is_wrong_with_a_builder_or_package() {
    let runtime = stage::fabric().await;
    installs(&runtime).await;
    installs_without_a_word(&runtime).await;
    no_builder(&runtime).await;
    no_builder_but_docker(&runtime).await;
}
