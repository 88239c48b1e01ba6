//! The image of the Dockerfile, its last stage with a program that is built already: compiling it
//! again takes minutes.
//!
//! `CHAINCODE_SAMPLE` is the static program; `cargo xtask test` builds it.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const DOCKERFILE: &str = include_str!("../../Dockerfile");

fn docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    // The builder that every engine has.
    command.args(arguments).env("DOCKER_BUILDKIT", "0").stdin(Stdio::null());
    command.output().expect("docker can't be run")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).trim().to_owned()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", text(&output));
    text(&output)
}

/// Removed with its containers when dropped.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        let filter = format!("ancestor={}", self.0);
        for container in text(&docker(&["ps", "--all", "--quiet", "--filter", &filter])).lines() {
            docker(&["rm", "--force", container]);
        }
        docker(&["rmi", "--force", &self.0]);
    }
}

#[test]
#[ignore = "needs a Docker engine"]
fn needs_docker_the_image_serves_as_nobody_and_stops_with_code_0() {
    let program = std::env::var("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set");
    let context = tempfile::tempdir().unwrap();
    let stage = &DOCKERFILE[DOCKERFILE.find("FROM scratch").unwrap()..];
    let stage = stage.replace("--from=build /chaincode", "chaincode");
    std::fs::write(context.path().join("Dockerfile"), stage).unwrap();
    std::fs::copy(program, context.path().join("chaincode")).unwrap();
    let image = Image(format!("chaincode-sample-test:{}", std::process::id()));
    succeeds(&["build", "--quiet", "--tag", &image.0, context.path().to_str().unwrap()]);

    let nothing_given = docker(&["run", "--rm", &image.0]);
    assert_eq!(nothing_given.status.code(), Some(2), "{}", text(&nothing_given));
    assert!(text(&nothing_given).contains("CHAINCODE_ID is not set"), "{}", text(&nothing_given));

    let variables = ["--env", "CHAINCODE_ID=basic_1.0:abc", "--env", "CHAINCODE_SERVER_ADDRESS=0.0.0.0:9999"];
    let container = succeeds(&[&["run", "--detach"], &variables[..], &[&image.0]].concat());
    let started = Instant::now();
    while !succeeds(&["logs", &container]).contains("listening on 0.0.0.0:9999") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", succeeds(&["logs", &container]));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(succeeds(&["inspect", "--format", "{{.Config.User}}", &container]), "65534:65534");
    succeeds(&["stop", &container]);
    assert_eq!(succeeds(&["inspect", "--format", "{{.State.ExitCode}}", &container]), "0");
}
