//! The last stage of the Dockerfile, with a prebuilt program instead of the first stage, which takes
//! minutes.
//!
//! `CHAINCODE_SAMPLE` is a program that `cargo xtask test` builds.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const DOCKERFILE: &str = include_str!("../../Dockerfile");

fn docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    // Every engine has the legacy builder.
    command.args(arguments).env("DOCKER_BUILDKIT", "0").stdin(Stdio::null());
    command.output().expect("cannot run docker")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).trim().to_owned()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", text(&output));
    text(&output)
}

/// An image that is removed with its containers when dropped.
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
fn needs_docker_the_image_runs_unprivileged_and_stops_with_code_0() {
    let program = std::env::var("CHAINCODE_SAMPLE").expect("CHAINCODE_SAMPLE is not set");
    let context = tempfile::tempdir().unwrap();
    let stage = &DOCKERFILE[DOCKERFILE.find("FROM scratch").unwrap()..];
    let stage = stage.replace("--from=build /chaincode", "chaincode");
    std::fs::write(context.path().join("Dockerfile"), stage).unwrap();
    std::fs::copy(program, context.path().join("chaincode")).unwrap();
    let image = Image(format!("chaincode-sample-test:{}", std::process::id()));
    succeeds(&["build", "--quiet", "--tag", &image.0, context.path().to_str().unwrap()]);

    let without_options = docker(&["run", "--rm", &image.0]);
    assert_eq!(without_options.status.code(), Some(2), "{}", text(&without_options));
    assert!(text(&without_options).contains("CHAINCODE_ID is not set"), "{}", text(&without_options));

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
