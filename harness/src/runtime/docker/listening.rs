//! Whether a chaincode server listens, by the kernel's table of sockets inside of the container.
//!
//! A connection from outside does not show it: the engine opens a published port before the container listens, and
//! a server that listens need not send anything.

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use super::DockerRuntime;
use super::engine::EngineError;

/// `$1` is a regular expression of the line in the table. It looks every 20 ms, and exits by itself long after
/// the harness has stopped waiting.
const SCRIPT: &str = r#"
rounds=6000
until grep -qs "$1" /proc/net/tcp /proc/net/tcp6; do
    [ "$rounds" -gt 0 ] || exit 1
    rounds=$((rounds - 1))
    sleep 0.02
done
echo listens
"#;

/// A wait that is under way. Dropping it stops it here; in the container it exits with the pod or by itself.
#[derive(Debug)]
pub(super) struct Listening(JoinHandle<Result<(), String>>);

impl Listening {
    /// Starts to look, in the network of the container `pod`. The engine needs some 50 ms for it, so this is done
    /// while the server starts.
    pub(super) fn begin(runtime: &DockerRuntime, pod: &str, port: u16) -> Self {
        Self(tokio::spawn(look(runtime.clone(), pod.to_owned(), port)))
    }

    /// Returns as soon as something listens. The error is why that cannot be found out.
    pub(super) async fn seen(&mut self) -> Result<(), String> {
        (&mut self.0).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(runtime: DockerRuntime, pod: String, port: u16) -> Result<(), String> {
    let command = ["sh", "-c", SCRIPT, "look", &pattern(port)].map(str::to_owned).to_vec();
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        ..CreateExecOptions::default()
    };
    let text = |error: EngineError| crate::console::error_text(&error);
    let engine = &runtime.engine;
    let create = runtime.docker.create_exec(&pod, options);
    let id = engine.ask("prepare a command in a container", create).await.map_err(text)?.id;
    let start = runtime.docker.start_exec(&id, None::<StartExecOptions>);
    let StartExecResults::Attached { mut output, .. } =
        engine.ask("run a command in a container", start).await.map_err(text)?
    else {
        return Err("the engine does not return the output of a command".to_owned());
    };
    let mut printed = String::new();
    while let Some(Ok(part)) = output.next().await {
        printed.push_str(&part.to_string());
        if printed.trim_end() == "listens" {
            return Ok(());
        }
    }
    Err(format!("the command that looks for its port exited: {}", printed.trim()))
}

/// A line of /proc/net/tcp: the local address ends in the port, there is no remote address, and the state is
/// 0A, which is `TCP_LISTEN`.
fn pattern(port: u16) -> String {
    format!(":{port:04X} [0-9A-F]*:0000 0A ")
}
