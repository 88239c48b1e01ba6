//! A network that runs, whichever runtime runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::placed::OwnedRun;
use super::{ChaincodeServer, RunningNetwork, RunningNode, RuntimeError, UnexpectedExit};
use crate::cleanup::{Leftover, Swept};
use crate::console::error_text;
use crate::journal::{Journal, Message, Role, short};
use crate::tap::Tap;

/// Maximum number of lines of builders that are shown with a failure.
const BUILDER_LINES: usize = 20;

/// A network that runs. Dropping it stops it as [`Running::stop`] does, but blocks meanwhile.
#[derive(Debug)]
pub struct Running {
    pub(super) network: Box<dyn RunningNetwork>,
    pub(super) taps: Vec<Tap>,
    /// How the messages between peers and chaincode are seen.
    pub(super) message_source: String,
    /// The nodes and chaincode servers that were stopped by request and not started since.
    pub(super) stopped: Mutex<BTreeSet<String>>,
    // Dropped after everything else.
    pub(super) run: OwnedRun,
}

/// What is done to a node or chaincode server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Stop it, and start it again.
    Restart,
    /// Stop it: SIGTERM, and SIGKILL if it does not exit in time.
    Stop,
    /// Stop it by SIGKILL, as a crash would.
    Kill,
    /// Start it.
    Start,
}

impl Action {
    /// Every action and its name.
    pub const ALL: [(&'static str, Self); 4] =
        [("restart", Self::Restart), ("stop", Self::Stop), ("kill", Self::Kill), ("start", Self::Start)];

    /// The name, such as `stop`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }

    /// The past participle of its name.
    pub fn done(self) -> &'static str {
        match self {
            Self::Restart => "restarted",
            Self::Stop => "stopped",
            Self::Kill => "killed",
            Self::Start => "started",
        }
    }

    fn stops(self) -> bool {
        matches!(self, Self::Stop | Self::Kill)
    }

    /// Whether it runs afterwards.
    pub(crate) fn starts(self) -> bool {
        !self.stops()
    }
}

impl Running {
    /// The name that stands for all chaincode servers.
    pub const EVERY_SERVER: &str = "chaincode";

    /// How the files reached the nodes and where their ports are, if that depends on the machine: a line for the user.
    pub fn description(&self) -> Option<String> {
        self.network.description()
    }

    /// Every node, orderers first.
    pub fn nodes(&self) -> &[RunningNode] {
        self.network.nodes()
    }

    /// The chaincode servers, in the order in which they were given.
    pub fn chaincodes(&self) -> &[Box<dyn ChaincodeServer>] {
        self.network.chaincodes()
    }

    /// The run's directory, which is removed with the run.
    pub fn directory(&self) -> &Path {
        self.run.guard().workspace().directory()
    }

    /// Restarts one node, as with [`RunningNetwork::restart`]. That is no unexpected exit. Connections to
    /// the node come back by themselves.
    ///
    /// # Errors
    ///
    /// As [`RunningNetwork::restart`].
    pub async fn restart(&self, name: &str) -> Result<(), RuntimeError> {
        self.control(Action::Restart, name).await.map(drop)
    }

    /// Stops, kills, starts or restarts a node, a chaincode server, or with [`Running::EVERY_SERVER`] all servers.
    /// A node's name may end at one of its dots, if only one node's name begins so: `peer0.org1`. A stop by request
    /// is no unexpected exit. Returns the full names.
    ///
    /// # Errors
    ///
    /// As the methods of [`RunningNetwork`] and [`ChaincodeServer`].
    pub async fn control(&self, action: Action, name: &str) -> Result<Vec<String>, RuntimeError> {
        let mut names = Vec::new();
        for server in self.servers_named(name) {
            match action {
                Action::Restart => server.restart().await,
                Action::Stop => server.stop().await,
                Action::Kill => server.kill().await,
                Action::Start => server.start().await,
            }?;
            self.note(action, server.name());
            names.push(server.name().to_owned());
        }
        if names.is_empty() {
            let node = self.full_name(name);
            match action {
                Action::Restart => self.network.restart(node).await,
                Action::Stop => self.network.stop(node).await,
                Action::Kill => self.network.kill(node).await,
                Action::Start => self.network.start(node).await,
            }?;
            self.note(action, node);
            names.push(node.to_owned());
        }
        Ok(names)
    }

    /// The chaincode servers that a name stands for.
    pub fn servers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a dyn ChaincodeServer> {
        let is_named = move |server: &&dyn ChaincodeServer| name == Self::EVERY_SERVER || server.name() == name;
        self.chaincodes().iter().map(|server| &**server).filter(is_named)
    }

    /// The full name of the only node whose name begins so; otherwise the same text.
    fn full_name<'a>(&'a self, name: &'a str) -> &'a str {
        let begins = |node: &&RunningNode| node.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let mut found = self.nodes().iter().filter(begins);
        match (found.next(), found.next()) {
            (Some(node), None) => &node.name,
            _ => name,
        }
    }

    fn note(&self, action: Action, name: &str) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if action.stops() {
            stopped.insert(name.to_owned());
        } else {
            stopped.remove(name);
        }
    }

    /// The nodes and chaincode servers that were stopped by request and not started since.
    pub fn stopped(&self) -> BTreeSet<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every exit of a node or chaincode server that was not requested; see [`RunningNetwork::exits`].
    pub async fn exits(&self) -> Vec<UnexpectedExit> {
        self.network.exits().await
    }

    /// The whole logs by node and chaincode server, and the events of a cluster. A log that cannot be read
    /// holds the reason.
    pub async fn logs(&self) -> BTreeMap<String, String> {
        self.network.logs().await
    }

    /// The last lines of the log of one node or chaincode server; empty if there is none.
    pub async fn log_tail(&self, name: &str) -> String {
        self.network.log_tail(name).await
    }

    /// Adds the messages that nodes report and taps have seen to a journal. `logs` are those of this
    /// network.
    pub async fn record_messages(&self, logs: &BTreeMap<String, String>, journal: &Journal) {
        journal.extend(self.network.messages(logs, journal).await);
        self.taps.iter().for_each(|tap| journal.append(tap.journal()));
        journal.chaincode_is(&self.message_source);
    }

    /// The last lines that the peers' external builders wrote to stderr in these commands, such as `detect`; each with
    /// the peer and the command.
    pub async fn printed_by_builders(&self, commands: &[&str]) -> Vec<String> {
        let logs = self.network.logs().await;
        let messages = self.network.messages(&logs, &Journal::begin()).await;
        let is_printed = |message: &&Message| {
            // An embedded peer also reports the end of each program.
            message.from.role == Role::Builder
                && commands.contains(&message.kind.as_str())
                && !message.text.starts_with("succeeded after ")
        };
        let lines = messages.iter().filter(is_printed);
        let lines = lines.map(|message| format!("  {} {}: {}", short(&message.to), message.kind, message.text));
        let lines: Vec<String> = lines.collect();
        lines.into_iter().rev().take(BUILDER_LINES).rev().collect()
    }

    /// The controls of embedded nodes: snapshots, the clock, faults. `None` on every other runtime.
    pub fn embedded(&self) -> Option<&embedded_peer::network::Network> {
        self.network.embedded()
    }

    /// Stops everything and removes all of it. Returns what the sweep removed of dead runs, if it is done
    /// within a second; what it could not remove is a warning.
    ///
    /// # Errors
    ///
    /// What could not be removed.
    pub async fn stop(mut self) -> Result<Swept, Vec<Leftover>> {
        self.run.guard().settle();
        let left = self.run.end().await;
        let swept = self.run.swept().await;
        for left in &swept.left {
            tracing::warn!("of a dead run, {}", error_text(left));
        }
        for left in &swept.elsewhere {
            tracing::debug!("of a dead run of another runtime, {}", error_text(left));
        }
        if left.is_empty() { Ok(swept) } else { Err(left) }
    }
}
