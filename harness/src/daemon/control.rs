//! The protocol between the commands and the daemon: a Unix socket in the state directory, with one line
//! of JSON for the request and one for the answer. `logs` gets one line for each piece of text.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::description::Description;
use crate::runtime::Action;

const SOCKET: &str = "control.sock";

/// Longest path of a socket on all systems.
const LONGEST: usize = 100;

/// Maximum size of a request, in bytes.
const REQUEST_LIMIT: u64 = 64 * 1024;

/// Maximum size of an answer, in bytes: the complete log of one node.
const ANSWER_LIMIT: u64 = 1024 * 1024 * 1024;

/// Timeout for the other side to send its request.
const REQUEST_BOUND: Duration = Duration::from_secs(5);

/// A request to the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    Status,
    /// The logs of these nodes and servers, or of all; with `follow` also what is appended later.
    Logs {
        names: Vec<String>,
        follow: bool,
    },
    /// Restarts, stops, kills or starts a node or chaincode server.
    Control {
        action: Action,
        name: String,
    },
    Snapshot {
        name: String,
    },
    Restore {
        name: String,
    },
    Down,
}

/// An answer of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// Success, with a message.
    Done(String),
    /// Failure, with the reason.
    Refused(String),
    Status(Box<Status>),
    /// A piece of a log.
    Log {
        name: String,
        text: String,
    },
    /// The network has stopped. `left` lists what could not be removed.
    Ended {
        left: Vec<String>,
    },
}

/// The status of the network.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    #[serde(flatten)]
    pub(super) network: Description,
    /// The status of each node and chaincode server, by name.
    pub(super) members: BTreeMap<String, Member>,
    /// The names of the snapshots.
    pub(super) snapshots: Vec<String>,
}

/// The status of a node or chaincode server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Whether it runs and answers.
    pub(super) alive: bool,
    /// Whether it was stopped by request.
    #[serde(default)]
    pub(super) stopped: bool,
    /// As text: `answers`, `stopped`, or how it exited.
    pub(super) how: String,
}

impl Status {
    pub(super) fn is_well(&self) -> bool {
        self.members.values().all(|member| member.alive || member.stopped)
    }
}

/// Opens the socket in a state directory.
pub(super) fn listen(state: &Path) -> io::Result<UnixListener> {
    let (path, _directory) = socket(state)?;
    UnixListener::bind(path)
}

/// Sends a request to the daemon.
pub(super) async fn ask(state: &Path, request: &Request) -> io::Result<Answers> {
    let (path, _directory) = socket(state)?;
    let mut stream = UnixStream::connect(path).await?;
    send(&mut stream, request).await?;
    Ok(Answers(BufReader::new(stream)))
}

/// The daemon's answers to a request.
#[derive(Debug)]
pub(super) struct Answers(BufReader<UnixStream>);

impl Answers {
    /// The next answer, if there is one.
    pub(super) async fn next(&mut self) -> io::Result<Option<Answer>> {
        read(&mut self.0, ANSWER_LIMIT).await
    }
}

/// Reads the request of a client.
pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<Option<Request>> {
    let request = async { read(&mut BufReader::new(stream), REQUEST_LIMIT).await };
    tokio::time::timeout(REQUEST_BOUND, request).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends one line of JSON.
pub(super) async fn send(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read<T: DeserializeOwned>(
    stream: &mut BufReader<impl tokio::io::AsyncRead + Unpin>,
    limit: u64,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if stream.take(limit).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// The path of the socket. If it is too long, a shorter one through `/proc`, which is valid while the
/// returned directory is open.
fn socket(state: &Path) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    let path = state.join(SOCKET);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let directory = std::fs::File::open(state)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())), Some(directory)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_also_with_a_long_path() {
        let scratch = tempfile::tempdir().unwrap();
        let long = scratch.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        for state in [scratch.path(), &long] {
            let listener = listen(state).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = receive(&mut stream).await.unwrap();
                assert!(matches!(request, Some(Request::Control { action: Action::Stop, name }) if name == "peer0"));
                send(&mut stream, &Answer::Done("yes".to_owned())).await.unwrap();
            };
            let request = Request::Control { action: Action::Stop, name: "peer0".to_owned() };
            let client = async {
                let mut answers = ask(state, &request).await.unwrap();
                assert!(matches!(answers.next().await.unwrap(), Some(Answer::Done(text)) if text == "yes"));
                assert!(answers.next().await.unwrap().is_none());
            };
            tokio::join!(serve, client);
        }
    }

    #[tokio::test]
    async fn an_invalid_request_is_rejected() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"{\"explode\":{}}\n").await.unwrap();
        assert_eq!(receive(&mut other).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
