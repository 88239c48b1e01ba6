//! How the commands talk to the daemon of a network: over a Unix socket in the state directory, one
//! line of JSON each way; `logs` gets a line for each piece of text.

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

const SOCKET: &str = "control.sock";

/// The longest path that a socket can have, on every system.
const LONGEST: usize = 100;

/// The most bytes of a request.
const REQUEST_LIMIT: u64 = 64 * 1024;

/// The most bytes of an answer: the whole log of one node.
const ANSWER_LIMIT: u64 = 1024 * 1024 * 1024;

/// How long the other side may take for a request.
const REQUEST_BOUND: Duration = Duration::from_secs(5);

/// What the daemon is asked to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    Status,
    /// The logs of these, or of all; then what is added to them, if so.
    Logs {
        names: Vec<String>,
        follow: bool,
    },
    Restart {
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

/// What the daemon says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// It is done; a line on what was done.
    Done(String),
    /// It can't be done.
    Refused(String),
    Status(Box<Status>),
    /// A piece of a log.
    Log {
        name: String,
        text: String,
    },
    /// The network has ended; what could not be removed.
    Ended {
        left: Vec<String>,
    },
}

/// How the network is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    #[serde(flatten)]
    pub(super) network: Description,
    /// By name, how each node and chaincode server is.
    pub(super) members: BTreeMap<String, Member>,
    /// Snapshots, by name.
    pub(super) snapshots: Vec<String>,
}

/// How a node or chaincode server is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Whether it runs, and answers.
    pub(super) alive: bool,
    /// In words: `answers`, or how it ended.
    pub(super) how: String,
}

impl Status {
    pub(super) fn is_well(&self) -> bool {
        self.members.values().all(|member| member.alive)
    }
}

/// Listens in this state directory.
pub(super) fn listen(state: &Path) -> io::Result<UnixListener> {
    let (path, _directory) = socket(state)?;
    UnixListener::bind(path)
}

/// Asks the daemon; the answers are read from what is returned.
pub(super) async fn ask(state: &Path, request: &Request) -> io::Result<Answers> {
    let (path, _directory) = socket(state)?;
    let mut stream = UnixStream::connect(path).await?;
    send(&mut stream, request).await?;
    Ok(Answers(BufReader::new(stream)))
}

/// Answers of the daemon.
#[derive(Debug)]
pub(super) struct Answers(BufReader<UnixStream>);

impl Answers {
    /// The next one; nothing when there is no further one.
    pub(super) async fn next(&mut self) -> io::Result<Option<Answer>> {
        read(&mut self.0, ANSWER_LIMIT).await
    }
}

/// The request of one who has connected.
pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<Option<Request>> {
    let request = async { read(&mut BufReader::new(stream), REQUEST_LIMIT).await };
    tokio::time::timeout(REQUEST_BOUND, request).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends a line.
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

/// The socket's path: where the directory's is too long for one, a shorter way to it, which holds for as
/// long as the directory is held open.
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
    async fn a_request_is_answered_however_long_the_path_is() {
        let scratch = tempfile::tempdir().unwrap();
        let long = scratch.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        for state in [scratch.path(), &long] {
            let listener = listen(state).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = receive(&mut stream).await.unwrap();
                assert!(matches!(request, Some(Request::Restart { name }) if name == "peer0"));
                send(&mut stream, &Answer::Done("yes".to_owned())).await.unwrap();
            };
            let request = Request::Restart { name: "peer0".to_owned() };
            let client = async {
                let mut answers = ask(state, &request).await.unwrap();
                assert!(matches!(answers.next().await.unwrap(), Some(Answer::Done(text)) if text == "yes"));
                assert!(answers.next().await.unwrap().is_none());
            };
            tokio::join!(serve, client);
        }
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"{\"explode\":{}}\n").await.unwrap();
        assert_eq!(receive(&mut other).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
