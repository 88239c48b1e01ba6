//! What passed between client, peer, builder, chaincode and orderer, as `-vvv` shows it and the report
//! keeps it, on every runtime.

use crate::e2e::E2e;

/// A submit that is not what was expected, with transient data, and one that is.
const CASES: &str = "\
[[case]]
name = 'wrong'
submit = ['CreateAsset', 'asset1', 'blue', '5', 'Tom', '300']
transient = { secret = 'hush-hush' }
payload_text = 'something else'
[[case]]
name = 'right'
submit = ['CreateAsset', 'asset2', 'blue', '5', 'Tom', '300']
";

fn assert_shows_messages(mut e2e: E2e, seen_by: &str) {
    let cases = e2e.file("cases.toml", CASES);
    e2e.arguments.extend(["-vvv", "--cases", &cases].map(str::to_owned));
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(1), "{text}");
    e2e.assert_nothing_left();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let has = |parts: &[&str]| stdout.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    for line in [
        &["client > peer0.org1", "Endorse", "CreateAsset(\"asset1\"", "transient {secret: 9 bytes}"][..],
        &["peer0.org1 > asset-transfer", "TRANSACTION", "\"asset1\""],
        &["asset-transfer", "> peer0.org1", "PUT_STATE", "key=\"asset1\""],
        &["asset-transfer", "> peer0.org1", "COMPLETED"],
        &["peer0.org1 > client", "Endorse", "status 200"],
        &["messages between peers and chaincode: ", seen_by],
    ] {
        assert!(has(line), "no line with {line:?}:\n{stdout}");
    }
    assert!(!has(&["TRANSACTION", "\"asset2\""]), "messages of a case that passed:\n{stdout}");
    assert!(!text.contains("hush-hush"), "a transient value:\n{text}");

    let evidence = e2e.evidence();
    let leaks = evidence.iter().filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("hush-hush"));
    assert_eq!(leaks.count(), 0, "a transient value in the evidence");
    let (_, report) = evidence.iter().find(|(path, _)| path.ends_with("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(report).unwrap();
    let kinds = |messages: &serde_json::Value| {
        let kinds = messages.as_array().unwrap().iter().map(|message| message["kind"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    let kinds_of_right = kinds(&report["cases"][1]["messages"]);
    for kind in ["Endorse", "TRANSACTION", "PUT_STATE", "COMPLETED", "Submit", "block", "CommitStatus"] {
        assert!(kinds_of_right.iter().any(|known| known == kind), "no {kind} in {kinds_of_right:?}");
    }
    let before = kinds(&report["before"]);
    for kind in ["ProcessProposal", "detect", "build", "release", "REGISTER", "READY"] {
        assert!(before.iter().any(|known| known == kind), "no {kind} in {before:?}");
    }
}

#[test]
fn embedded_peers_show_their_messages() {
    assert_shows_messages(E2e::new(&["--runtime", "embedded"]), "reported by the embedded peers");
}

#[test]
fn every_message_is_shown_when_asked_for() {
    let e2e = E2e::new(&["--runtime", "embedded", "-vvvv"]);
    let (output, text) = e2e.output();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("TRANSACTION") && stdout.contains("detect"), "{stdout}");
    // As it passes, as well.
    let stderr = String::from_utf8_lossy(&output.stderr);
    let has = |parts: [&str; 2]| stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(["client > peer0.org1", "Endorse"]) && has(["P>C", "TRANSACTION"]), "{stderr}");
}

#[test]
#[ignore = "needs Fabric's peer and orderer: FABRIC_BIN or PATH"]
fn needs_fabric_a_tap_shows_the_messages_of_processes() {
    assert_shows_messages(E2e::process(&[]), "recorded by a tap");
    assert_shows_messages(E2e::process(&["--tls", "off"]), "recorded by a tap");
    E2e::process(&["--topology", "duo", "-vvv"]).assert_passes(20, 0);
}

#[test]
#[ignore = "needs a Docker engine with Fabric's images"]
fn needs_docker_a_tap_shows_the_messages_of_containers() {
    assert_shows_messages(E2e::new(&["--runtime", "docker"]), "recorded by a tap");
    E2e::new(&["--runtime", "docker", "--fabric", "2.5", "--topology", "duo", "-vvv"]).assert_passes(20, 0);
}
