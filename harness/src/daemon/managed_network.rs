//! A running network and the requests that it answers: status, logs, restarts and stops, snapshots.

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
use crate::runtime::{Action, Running, RunningNode, UnexpectedExit};
use crate::server::ServerSource;

/// Timeout of a node's answer to a status request.
const ANSWER_BOUND: Duration = Duration::from_secs(2);

/// Interval of reading followed logs.
const FOLLOW: Duration = Duration::from_millis(500);

/// Maximum number of snapshots.
const MOST_SNAPSHOTS: usize = 1000;

/// A running network of a daemon.
#[derive(Debug)]
pub(super) struct ManagedNetwork {
    pub(super) network: Network,
    pub(super) description: Description,
    /// For each node and server, the number of its unexpected exits before its last restart or stop.
    handled_exits: Mutex<BTreeMap<String, usize>>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
    /// Held during a change: one at a time.
    changing: tokio::sync::Mutex<()>,
}

impl ManagedNetwork {
    pub(super) fn new(network: Network, description: Description) -> Self {
        Self {
            network,
            description,
            handled_exits: Mutex::default(),
            snapshots: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Answers a request, except for `down`.
    pub(super) async fn answer(&self, request: Request, stream: &mut UnixStream) -> std::io::Result<()> {
        let answer = match request {
            Request::Status => Answer::Status(Box::new(self.status().await)),
            Request::Logs { names, follow } => return self.logs(&names, follow, stream).await,
            Request::Control { action, name } => done(self.control(action, &name).await),
            Request::Snapshot { name } => done(self.snapshot(&name).await),
            Request::Restore { name } => done(self.restore(&name).await),
            // The owner of the network stops it.
            Request::Down => return Ok(()),
        };
        send(stream, &answer).await
    }

    async fn status(&self) -> Status {
        let running = &self.network.nodes().running;
        let mut exits = self.current_exits(running.exits().await);
        let stopped = running.stopped();
        let asked = running.nodes().iter().map(|node| async {
            let is_known = exits.contains_key(&node.name) || stopped.contains(&node.name);
            let answer = if is_known { Ok(()) } else { reach(node).await };
            (node.name.clone(), answer)
        });
        let mut members: BTreeMap<String, Member> = join_all(asked)
            .await
            .into_iter()
            .map(|(name, answer)| {
                let how =
                    answer.as_ref().err().map_or_else(|| "answers".to_owned(), |seen| format!("no answer: {seen}"));
                (name, Member { alive: answer.is_ok(), stopped: false, how })
            })
            .collect();
        for server in self.network.nodes().servers() {
            let member = match &server.source {
                ServerSource::Address { address, .. } => listens(&address.to_string()).await,
                _ => Member { alive: true, stopped: false, how: "runs".to_owned() },
            };
            members.insert(server.name.clone(), member);
        }
        while let Some((name, exit)) = exits.pop_first() {
            members.insert(name, Member { alive: false, stopped: false, how: exit.to_string() });
        }
        for name in stopped {
            members.insert(name, Member { alive: false, stopped: true, how: "stopped by request".to_owned() });
        }
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        Status { network: self.description.clone(), members, snapshots }
    }

    /// The last unexpected exit of each that was not restarted since.
    fn current_exits(&self, exits: Vec<UnexpectedExit>) -> BTreeMap<String, UnexpectedExit> {
        let handled = self.handled_exits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::<String, usize>::new();
        let mut last = BTreeMap::new();
        for exit in exits {
            let count = counts.entry(exit.name.clone()).or_default();
            *count += 1;
            if *count > handled.get(&exit.name).copied().unwrap_or_default() {
                last.insert(exit.name.clone(), exit);
            }
        }
        last
    }

    async fn control(&self, action: Action, name: &str) -> Result<String, String> {
        let _alone = self.changing.lock().await;
        let running = &self.network.nodes().running;
        let package = self.network.package_id();
        let is_of_servers = running.servers_named(name).next().is_some();
        if is_of_servers && !self.network.nodes().plan.server.source.is_ours() {
            let action = action.name();
            return Err(format!("the chaincode server is yours; {action} it yourself, the package remains {package}"));
        }
        let changed = running.control(action, name).await.map_err(|error| error_text(&error))?;
        let target = self.network.target();
        target.set_stopped(running.stopped());
        if !is_of_servers && action.starts() {
            let exits = self.current_exits(running.exits().await);
            // A peer that has exited would be waited for in vain.
            if exits.keys().all(|exited| changed.contains(exited)) {
                target.serves_again().await.map_err(|error| error_text(&error))?;
            }
        }
        let exits = running.exits().await;
        let mut handled = self.handled_exits.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &changed {
            handled.insert(name.clone(), exits.iter().filter(|exit| exit.name == *name).count());
        }
        Ok(format!("{} {}; the package remains {package}", action.done(), changed.join(", ")))
    }

    fn embedded(&self) -> Result<&embedded_peer::network::Network, String> {
        self.network.nodes().running.embedded().ok_or_else(|| {
            let runtime = &self.description.runtime;
            format!("snapshots need embedded nodes, but these run on {runtime}; use `up --runtime embedded`")
        })
    }

    async fn snapshot(&self, name: &str) -> Result<String, String> {
        let _alone = self.changing.lock().await;
        let snapshot = self.embedded()?.snapshot().await;
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshots.len() >= MOST_SNAPSHOTS && !snapshots.contains_key(name) {
            return Err(format!("too many snapshots: {MOST_SNAPSHOTS}; give the name of one to replace"));
        }
        let again = snapshots.insert(name.to_owned(), snapshot).is_some();
        Ok(format!("snapshot {name}{}", if again { ", replaced the previous one" } else { "" }))
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
            Err(names) if names.is_empty() => Err("no snapshots; make one with `snapshot`".to_owned()),
            Err(names) => Err(format!("unknown snapshot {name}; the snapshots are {names}")),
        }
    }

    async fn logs(&self, names: &[String], follow: bool, stream: &mut UnixStream) -> std::io::Result<()> {
        let running = &self.network.nodes().running;
        let servers: Vec<&str> = running.chaincodes().iter().map(|server| server.name()).collect();
        let wanted = |name: &str| {
            let stands_for =
                |given: &String| given == name || (given == Running::EVERY_SERVER && servers.contains(&name));
            names.is_empty() || names.iter().any(stands_for)
        };
        let mut seen = running.logs().await;
        seen.retain(|name, _| wanted(name));
        if let Some(name) = names.iter().find(|name| *name != Running::EVERY_SERVER && !seen.contains_key(*name)) {
            let known = running.logs().await.into_keys().collect::<Vec<_>>().join(", ");
            let refused = format!("unknown name {name}; there are logs of {known}");
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
                // The client sends nothing else, so it has disconnected.
                _ = stream.read_u8() => return Ok(()),
                () = tokio::time::sleep(FOLLOW) => {}
            }
            for (name, now) in running.logs().await {
                let Some(before) = seen.get_mut(&name) else { continue };
                let new = appended(before, &now);
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

/// The status of a server that the user started.
async fn listens(address: &str) -> Member {
    let connected = tokio::time::timeout(ANSWER_BOUND, tokio::net::TcpStream::connect(address)).await;
    let seen = match connected {
        Ok(Ok(_)) => return Member { alive: true, stopped: false, how: format!("yours, listens at {address}") },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("timed out after {} s", ANSWER_BOUND.as_secs()),
    };
    Member { alive: false, stopped: false, how: format!("yours, does not listen at {address}: {seen}") }
}

async fn reach(node: &RunningNode) -> Result<(), String> {
    let ask = async {
        let client = crate::client::Node::connect(&node.name, &node.grpc, None).await?;
        answers(&client, Instant::now() + ANSWER_BOUND).await
    };
    let asked = tokio::time::timeout(ANSWER_BOUND, ask).await;
    asked.map_err(|_| format!("timed out after {} s", ANSWER_BOUND.as_secs()))?.map_err(|error| error_text(&error))
}

/// The part of a log after `before`. If the log has dropped its first lines, the part after the last line
/// of `before`.
fn appended<'a>(before: &str, now: &'a str) -> &'a str {
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
    use super::appended;

    #[test]
    fn only_new_lines_are_returned() {
        assert_eq!(appended("", "a\n"), "a\n");
        assert_eq!(appended("a\n", "a\nb\n"), "b\n");
        assert_eq!(appended("a\nb\n", "(left out)\nb\nc\n"), "c\n", "the first line was dropped");
        assert_eq!(appended("a\n", "x\ny\n"), "x\ny\n", "another log");
        assert_eq!(appended("a\n", "a\n"), "");
    }
}
