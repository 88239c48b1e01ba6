//! Whether a chaincode server listens: looked for inside, in the kernel's table of sockets.
//!
//! From outside it can't be told. The engine opens a published port before anything listens behind
//! it, and a server that listens need not say anything; what it says is for the peers to find out.

use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use super::DockerRuntime;
use crate::cleanup::containers::EngineError;

/// `$1` is what a line of the table has that says so. It looks every 20 ms, and ends by itself long
/// after whoever asked has stopped waiting.
const SCRIPT: &str = r#"
rounds=6000
until grep -qs "$1" /proc/net/tcp /proc/net/tcp6; do
    [ "$rounds" -gt 0 ] || exit 1
    rounds=$((rounds - 1))
    sleep 0.02
done
echo listens
"#;

/// A look that is under way. Dropping it ends it here; there, it ends with the pod or by itself.
#[derive(Debug)]
pub(super) struct Listening(JoinHandle<Result<(), String>>);

impl Listening {
    /// Begins to look, in the network of the container `pod`. To begin takes the engine some 50 ms, so
    /// it is done while the server is being started.
    pub(super) fn begin(runtime: &DockerRuntime, pod: &str, port: u16) -> Self {
        Self(tokio::spawn(look(runtime.clone(), pod.to_owned(), port)))
    }

    /// Returns as soon as something listens. `Err` says why that can't be found out.
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
    let command = ["sh", "-c", SCRIPT, "look", &sign(port)].map(str::to_owned).to_vec();
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        ..CreateExecOptions::default()
    };
    let text = |error: EngineError| crate::console::error_text(&error);
    let engine = &runtime.engine;
    let create = runtime.docker.create_exec(&pod, options);
    let id = engine.ask("prepare a look into a container", create).await.map_err(text)?.id;
    let start = runtime.docker.start_exec(&id, None::<StartExecOptions>);
    let StartExecResults::Attached { mut output, .. } =
        engine.ask("look into a container", start).await.map_err(text)?
    else {
        return Err("the engine does not show what it sees".to_owned());
    };
    let mut said = String::new();
    while let Some(Ok(part)) = output.next().await {
        said.push_str(&part.to_string());
        if said.trim_end() == "listens" {
            return Ok(());
        }
    }
    Err(format!("the look for its port ended: {}", said.trim()))
}

/// A line of /proc/net/tcp: the local address ends in the port, nobody is at the other end, and the
/// state is 0A, which is `TCP_LISTEN`.
fn sign(port: u16) -> String {
    format!(":{port:04X} [0-9A-F]*:0000 0A ")
}
