//! A network that is up, and what can be asked of it: how it is, its logs, restarts, snapshots.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use embedded_peer::Snapshot;
use futures::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::control::{Answer, Member, Request, Status, send};
use super::description::Description;
use crate::client::readiness::answers;
use crate::console::error_text;
use crate::network::Network;
use crate::runtime::{RunningNode, UnexpectedExit};
use crate::server::ServerSource;

/// What stands for every chaincode server.
const EVERY_SERVER: &str = "chaincode";

/// How long a node may take to answer when it is asked how it is.
const ANSWER_BOUND: Duration = Duration::from_secs(2);

/// Between two looks at logs that are followed.
const FOLLOW: Duration = Duration::from_millis(500);

/// The most snapshots that are remembered.
const MOST_SNAPSHOTS: usize = 1000;

/// The network, and what it is asked.
#[derive(Debug)]
pub(super) struct ManagedNetwork {
    pub(super) network: Network,
    pub(super) description: Description,
    /// How often each had ended by itself when it was last restarted.
    mended: Mutex<BTreeMap<String, usize>>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl ManagedNetwork {
    pub(super) fn new(network: Network, description: Description) -> Self {
        Self {
            network,
            description,
            mended: Mutex::default(),
            snapshots: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Answers one request, other than to end.
    pub(super) async fn answer(&self, request: Request, stream: &mut UnixStream) -> std::io::Result<()> {
        let answer = match request {
            Request::Status => Answer::Status(Box::new(self.status().await)),
            Request::Logs { names, follow } => return self.logs(&names, follow, stream).await,
            Request::Restart { name } => done(self.restart(&name).await),
            Request::Snapshot { name } => done(self.snapshot(&name).await),
            Request::Restore { name } => done(self.restore(&name).await),
            // Whoever owns the network ends it.
            Request::Down => return Ok(()),
        };
        send(stream, &answer).await
    }

    async fn status(&self) -> Status {
        let running = &self.network.nodes().running;
        let mut exits = self.unmended(running.exits().await);
        let asked = running.nodes().iter().map(|node| async {
            let answer = if exits.contains_key(&node.name) { Ok(()) } else { reach(node).await };
            (node.name.clone(), answer)
        });
        let mut members: BTreeMap<String, Member> = join_all(asked)
            .await
            .into_iter()
            .map(|(name, answer)| {
                let how = answer.as_ref().err().map_or_else(|| "answers".to_owned(), |seen| format!("silent: {seen}"));
                (name, Member { alive: answer.is_ok(), how })
            })
            .collect();
        for server in self.network.nodes().servers() {
            let member = match &server.source {
                ServerSource::Address { address, .. } => listens(&address.to_string()).await,
                _ => Member { alive: true, how: "runs".to_owned() },
            };
            members.insert(server.name.clone(), member);
        }
        while let Some((name, exit)) = exits.pop_first() {
            members.insert(name, Member { alive: false, how: exit.to_string() });
        }
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        Status { network: self.description.clone(), members, snapshots }
    }

    /// The last unexpected exit of each that was not restarted since.
    fn unmended(&self, exits: Vec<UnexpectedExit>) -> BTreeMap<String, UnexpectedExit> {
        let mended = self.mended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::<String, usize>::new();
        let mut last = BTreeMap::new();
        for exit in exits {
            let count = counts.entry(exit.name.clone()).or_default();
            *count += 1;
            if *count > mended.get(&exit.name).copied().unwrap_or_default() {
                last.insert(exit.name.clone(), exit);
            }
        }
        last
    }

    async fn restart(&self, name: &str) -> Result<String, String> {
        let _alone = self.changing.lock().await;
        let running = &self.network.nodes().running;
        let named = |server: &str| name == EVERY_SERVER || server == name;
        let servers: Vec<_> = running.chaincodes().iter().filter(|server| named(server.name())).collect();
        if !servers.is_empty() && !self.network.nodes().plan.server.source.is_ours() {
            let package = self.network.package_id();
            return Err(format!("the chaincode server is yours: restart it yourself, the package stays {package}"));
        }
        let mut restarted: Vec<&str> = Vec::new();
        for server in servers {
            server.restart().await.map_err(|error| error_text(&error))?;
            restarted.push(server.name());
        }
        if restarted.is_empty() {
            running.restart(name).await.map_err(|error| error_text(&error))?;
            restarted.push(name);
        }
        let exits = running.exits().await;
        let mut mended = self.mended.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &restarted {
            mended.insert((*name).to_owned(), exits.iter().filter(|exit| exit.name == *name).count());
        }
        let package = self.network.package_id();
        Ok(format!("restarted {}; the package stays {package}", restarted.join(", ")))
    }

    fn embedded(&self) -> Result<&embedded_peer::network::Network, String> {
        self.network.nodes().running.embedded().ok_or_else(|| {
            let runtime = &self.description.runtime;
            format!("only embedded nodes can go back in time, and these run on {runtime}; `up --runtime embedded`")
        })
    }

    async fn snapshot(&self, name: &str) -> Result<String, String> {
        let _alone = self.changing.lock().await;
        let snapshot = self.embedded()?.snapshot().await;
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshots.len() >= MOST_SNAPSHOTS && !snapshots.contains_key(name) {
            return Err(format!("{MOST_SNAPSHOTS} snapshots are enough; give one of their names"));
        }
        let again = snapshots.insert(name.to_owned(), snapshot).is_some();
        Ok(format!("snapshot {name}{}", if again { ", in place of the one before" } else { "" }))
    }

    async fn restore(&self, name: &str) -> Result<String, String> {
        let _alone = self.changing.lock().await;
        let network = self.embedded()?;
        let found = {
            let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            let names = snapshots.keys().cloned().collect::<Vec<_>>().join(", ");
            snapshots.get(name).cloned().ok_or(names)
        };
        match found {
            Ok(snapshot) => {
                network.restore(&snapshot).await;
                Ok(format!("restored {name}"))
            }
            Err(names) if names.is_empty() => Err("there is no snapshot; make one by `snapshot`".to_owned()),
            Err(names) => Err(format!("there is no snapshot {name}; there are {names}")),
        }
    }

    async fn logs(&self, names: &[String], follow: bool, stream: &mut UnixStream) -> std::io::Result<()> {
        let running = &self.network.nodes().running;
        let servers: Vec<&str> = running.chaincodes().iter().map(|server| server.name()).collect();
        let wanted = |name: &str| {
            let stands_for = |given: &String| given == name || (given == EVERY_SERVER && servers.contains(&name));
            names.is_empty() || names.iter().any(stands_for)
        };
        let mut seen = running.logs().await;
        seen.retain(|name, _| wanted(name));
        if let Some(name) = names.iter().find(|name| *name != EVERY_SERVER && !seen.contains_key(*name)) {
            let known = running.logs().await.into_keys().collect::<Vec<_>>().join(", ");
            let refused = format!("there is no log of {name}; there are those of {known}");
            return send(stream, &Answer::Refused(refused)).await;
        }
        for (name, text) in &seen {
            send(stream, &Answer::Log { name: name.clone(), text: text.clone() }).await?;
        }
        if !follow {
            return Ok(());
        }
        loop {
            tokio::select! {
                // It has nothing more to say: it has gone.
                _ = stream.read_u8() => return Ok(()),
                () = tokio::time::sleep(FOLLOW) => {}
            }
            for (name, now) in running.logs().await {
                let Some(before) = seen.get_mut(&name) else { continue };
                let new = added(before, &now);
                if !new.is_empty() {
                    send(stream, &Answer::Log { name, text: new.to_owned() }).await?;
                    *before = now;
                }
            }
        }
    }
}

fn done(result: Result<String, String>) -> Answer {
    match result {
        Ok(text) => Answer::Done(text),
        Err(reason) => Answer::Refused(reason),
    }
}

/// How a server is that somebody else started.
async fn listens(address: &str) -> Member {
    let connected = tokio::time::timeout(ANSWER_BOUND, tokio::net::TcpStream::connect(address)).await;
    let seen = match connected {
        Ok(Ok(_)) => return Member { alive: true, how: format!("yours, listens at {address}") },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER_BOUND.as_secs()),
    };
    Member { alive: false, how: format!("yours, does not listen at {address}: {seen}") }
}

async fn reach(node: &RunningNode) -> Result<(), String> {
    let ask = async {
        let client = crate::client::Node::connect(&node.name, &node.grpc, None).await?;
        answers(&client, Instant::now() + ANSWER_BOUND).await
    };
    let asked = tokio::time::timeout(ANSWER_BOUND, ask).await;
    asked.map_err(|_| format!("no answer within {} s", ANSWER_BOUND.as_secs()))?.map_err(|error| error_text(&error))
}

/// What a log has beyond what was seen of it. One that forgets its beginning is taken up after the last
/// line that was seen.
fn added<'a>(before: &str, now: &'a str) -> &'a str {
    if let Some(new) = now.strip_prefix(before) {
        return new;
    }
    let last = before.lines().next_back().filter(|last| !last.is_empty());
    match last.and_then(|last| now.rfind(&format!("{last}\n")).map(|at| at + last.len() + 1)) {
        Some(at) => &now[at..],
        None => now,
    }
}

#[cfg(test)]
mod tests {
    use super::added;

    #[test]
    fn only_what_is_new_is_told() {
        assert_eq!(added("", "a\n"), "a\n");
        assert_eq!(added("a\n", "a\nb\n"), "b\n");
        assert_eq!(added("a\nb\n", "(left out)\nb\nc\n"), "c\n", "the beginning was forgotten");
        assert_eq!(added("a\n", "x\ny\n"), "x\ny\n", "another log");
        assert_eq!(added("a\n", "a\n"), "");
    }
}
