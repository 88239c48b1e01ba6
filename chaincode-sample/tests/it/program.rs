//! Starts the programs, waits until they listen, and stops them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// The time limit of every wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running program, killed when dropped.
pub struct Program {
    pub address: SocketAddr,
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

/// The program's command, with an empty environment.
pub fn command() -> Command {
    command_of(env!("CARGO_BIN_EXE_chaincode-sample"))
}

fn command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A command that serves `basic:1` on a free loopback port.
pub fn serving() -> Command {
    let mut command = command();
    command.env("CHAINCODE_ID", "basic:1").env("CHAINCODE_SERVER_ADDRESS", "127.0.0.1:0");
    command
}

/// The same for the conformance chaincode.
pub fn serving_conformance() -> Command {
    let mut command = command_of(env!("CARGO_BIN_EXE_chaincode-conformance"));
    command.env("CHAINCODE_ID", "basic:1").env("CHAINCODE_SERVER_ADDRESS", "127.0.0.1:0");
    command
}

/// The same with TLS, from `server.key`, `server.crt` and, if it exists, `ca.crt` in a directory.
pub fn serving_tls(files: &Path) -> Command {
    let mut command = serving();
    command
        .env("CHAINCODE_TLS_DISABLED", "false")
        .env("CHAINCODE_TLS_KEY", files.join("server.key"))
        .env("CHAINCODE_TLS_CERT", files.join("server.crt"));
    if files.join("ca.crt").exists() {
        command.env("CHAINCODE_CLIENT_CA_CERT", files.join("ca.crt"));
    }
    command
}

impl Program {
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let mut stderr = BufReader::new(stderr).lines();
        let listens = async {
            let mut seen = Vec::new();
            while let Some(line) = stderr.next_line().await.unwrap() {
                if let Some(address) = line.strip_prefix("listening on ") {
                    return address.parse().unwrap();
                }
                seen.push(line);
            }
            panic!("the program exited: {seen:?}");
        };
        let address = tokio::time::timeout(TIMEOUT, listens).await;
        Self { address: address.expect("timed out waiting for the program to listen"), child, stderr }
    }

    /// Waits for the next log line that contains `text`.
    pub async fn log_line(&mut self, text: &str) -> String {
        let line = async {
            loop {
                let line = self.stderr.next_line().await.unwrap();
                let line = line.expect("the log ended");
                if line.contains(text) {
                    return line;
                }
            }
        };
        tokio::time::timeout(TIMEOUT, line).await.expect("timed out waiting for a log line")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub async fn end(self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended().await
    }

    pub async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(TIMEOUT, self.child.wait()).await;
        ended.expect("timed out waiting for the program to exit").unwrap()
    }
}
