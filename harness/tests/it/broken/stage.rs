//! A network to break things on, and its output since the last check.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ccaas_builder::package::package_id;
use fabric_harness::client::{Definition, Invocation, PeerClient};
use fabric_harness::console::timeline::Timeline;
use fabric_harness::deploy::{Administration, DeployError, Package};
use fabric_harness::explain::find;
use fabric_harness::runtime::embedded::EmbeddedRuntime;
use fabric_harness::runtime::process::ProcessRuntime;
use fabric_harness::runtime::{Running, Runtime, RuntimeOptions, StartError};
use fabric_network::bundle::Bundle;
use fabric_network::release::Release;
use fabric_network::topology::{Channel, NodeKind, Topology};

use super::On;
use crate::builder::ByHand;
use crate::fake::rendered;

const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a node may take to write what it has message already.
const LOGGED: Duration = Duration::from_secs(3);

pub(super) const PEER: &str = "peer0.org1.example.com";

pub(super) fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + TIMEOUT
}

fn options() -> RuntimeOptions {
    RuntimeOptions::new(std::env::var_os("CCAAS_BUILDER").expect("CCAAS_BUILDER is not set"))
}

pub(super) fn embedded() -> EmbeddedRuntime {
    EmbeddedRuntime::new(options(), Release::default())
}

pub(super) async fn fabric() -> ProcessRuntime {
    let directory = std::env::var_os("FABRIC_BIN").map(PathBuf::from);
    ProcessRuntime::find(options(), directory.as_deref()).await.unwrap()
}

/// Whether a failure can be seen on this runtime.
pub(super) fn shows(runtime: &dyn Runtime, on: On) -> bool {
    on == On::Both || runtime.capabilities().not_covered.is_none()
}

/// Everything on one line that an error says.
pub(super) fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut link = error.source();
    while let Some(error) = link {
        text = format!("{text}: {error}");
        link = error.source();
    }
    text
}

/// Sets variables of every peer.
pub(super) fn set(bundle: &mut Bundle, variables: &[(&str, &str)]) {
    for node in bundle.nodes.iter_mut().filter(|node| node.kind == NodeKind::Peer) {
        node.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }
}

/// Changes the text of every peer's core.yaml.
pub(super) fn rewrite(bundle: &mut Bundle, from: &str, to: &str) {
    for node in bundle.nodes.iter().filter(|node| node.kind == NodeKind::Peer) {
        let file = bundle.files.get_mut(&node.directory.join("core.yaml")).unwrap();
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        file.bytes = text.replace(from, to).into_bytes();
    }
}

/// The causes that were found, and what is wrong with them, one failure each.
#[derive(Default)]
pub(super) struct Verdict {
    wrong: Vec<String>,
    tried: usize,
    /// Causes that were named after the first one.
    further: usize,
}

impl Verdict {
    /// Notes it, unless the first cause in these texts is this one. Whether it is.
    pub(super) fn of(&mut self, entry: &str, texts: &BTreeMap<String, String>) -> bool {
        let found = find(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        let seen: Vec<String> = found.iter().map(|finding| format!("{} ({})", finding.name, finding.excerpt)).collect();
        let right = found.first().is_some_and(|finding| finding.name == entry);
        if !right {
            let lines: Vec<String> = texts.iter().map(|(name, text)| format!("--- {name}\n{text}")).collect();
            self.wrong.push(format!("\n=== {entry}: found {seen:#?} in\n{}", lines.join("\n")));
        }
        self.tried += 1;
        self.further += found.len().saturating_sub(1);
        right
    }

    fn add(&mut self, mut other: Self) {
        self.wrong.append(&mut other.wrong);
        self.tried += other.tried;
        self.further += other.further;
    }

    pub(super) fn assert(self) {
        let Self { wrong, tried, further } = self;
        println!("{tried} set-ups, {} with another first cause, {further} further causes", wrong.len());
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// What was logged until a network did not start, and why it did not.
pub(super) fn texts_of(error: StartError) -> BTreeMap<String, String> {
    let mut texts = error.logs;
    texts.insert(" client".to_owned(), text(&*error.source));
    texts
}

/// A network that runs, and is in its channel.
pub(super) struct Stage {
    pub(super) running: Running,
    pub(super) bundle: Bundle,
    pub(super) administration: Administration,
    pub(super) channel: Channel,
    /// How much of each log was read.
    read: Mutex<BTreeMap<String, usize>>,
}

impl Stage {
    /// Of a bundle that is changed before it is started.
    pub(super) async fn start(
        runtime: &dyn Runtime,
        topology: &Topology,
        change: impl FnOnce(&mut Bundle),
    ) -> Result<Self, StartError> {
        let placed = runtime.place(topology, &[]).await?;
        let mut bundle = rendered(runtime, topology, &placed);
        change(&mut bundle);
        let running = placed.start(&bundle, &[]).await?;
        let administration = Administration::connect(topology, &bundle, running.nodes(), TIMEOUT).await.unwrap();
        administration.join_and_install_all(topology, &bundle, &[], &Timeline::begin(true)).await.unwrap();
        let channel = topology.channels[0].clone();
        Ok(Self { running, bundle, administration, channel, read: Mutex::default() })
    }

    pub(super) fn peers(&self) -> Vec<PeerClient> {
        self.administration.channel_peers(&self.channel).cloned().collect()
    }

    pub(super) fn gateway(&self) -> PeerClient {
        self.administration.gateway(&self.channel, &self.bundle).unwrap()
    }

    /// A peer's own directory.
    pub(super) fn directory(&self, peer: &str) -> PathBuf {
        self.running.directory().join("nodes").join(peer)
    }

    /// What the logs say that was not read before.
    pub(super) async fn unread(&self) -> BTreeMap<String, String> {
        let read = self.read.lock().unwrap().clone();
        let logs = self.running.logs().await.into_iter();
        logs.map(|(name, log)| {
            let from = read.get(&name).copied().unwrap_or_default();
            (name, log.get(from..).unwrap_or_default().to_owned())
        })
        .collect()
    }

    /// Takes everything that was logged until now as read: also what peers log that commit a block later than others.
    pub(super) async fn turn_over(&self) {
        let begin = Instant::now();
        while !self.is_settled().await && begin.elapsed() < LOGGED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lengths = self.running.logs().await.into_iter().map(|(name, log)| (name, log.len())).collect();
        *self.read.lock().unwrap() = lengths;
    }

    /// Whether every peer's log has the last block that one of them has.
    async fn is_settled(&self) -> bool {
        let peers = self.peers();
        let heights = peers.iter().map(|peer| peer.chain_info(&self.channel.name, deadline()));
        let heights = futures::future::join_all(heights).await;
        let height = heights.iter().flatten().map(|info| info.height).max().unwrap_or_default();
        let Some(last @ 1..) = height.checked_sub(1) else { return true };
        let logs = self.running.logs().await;
        // As Fabric and as embedded peers log it.
        let has_it = |log: &String| {
            ["Committed block [", " block "].iter().any(|start| {
                let mut found = log.match_indices(start).map(|(at, _)| &log[at + start.len()..]);
                found.any(|rest| rest.strip_prefix(&last.to_string()).is_some_and(|rest| rest.starts_with([']', ' '])))
            })
        };
        peers.iter().all(|peer| logs.get(peer.name()).is_some_and(has_it))
    }

    /// Looks for the first cause in the message of a client and in the logs since.
    pub(super) async fn judge(&self, verdict: &mut Verdict, entry: &str, message: &str, server: &str) {
        let begin = Instant::now();
        loop {
            let mut texts = self.unread().await;
            texts.insert(" client".to_owned(), message.to_owned());
            texts.insert("server".to_owned(), server.to_owned());
            let mut attempt = Verdict::default();
            if attempt.of(entry, &texts) || begin.elapsed() > LOGGED {
                verdict.add(attempt);
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.turn_over().await;
    }

    /// The package ID, or why a peer does not take it.
    pub(super) async fn install(&self, bytes: &[u8]) -> Result<String, String> {
        let peer = &self.peers()[0];
        peer.install(bytes, deadline()).await.map(|done| done.package_id().to_owned()).map_err(|error| text(&error))
    }

    /// Installs a package on every peer and commits a definition of this name.
    pub(super) async fn deploy(&self, name: &str, package: &Package) -> Result<(), String> {
        for peer in self.peers() {
            peer.install(&package.bytes, deadline()).await.map_err(|error| text(&error))?;
        }
        self.define(&Definition::new(name, "1.0"), package).await.map_err(|error| text(&error))
    }

    async fn define(&self, definition: &Definition, package: &Package) -> Result<(), DeployError> {
        self.administration.approve(&self.channel, definition, package).await?;
        self.administration.commit(&self.channel, definition).await
    }

    /// The error of a client that calls something.
    pub(super) async fn ask(&self, chaincode: &str, arguments: &[&str]) -> String {
        let invocation = invocation(chaincode, arguments);
        match self.gateway().evaluate(&invocation, &[], deadline()).await {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => text(&error),
        }
    }

    pub(super) async fn stop(self) {
        self.running.stop().await.unwrap();
    }
}

pub(super) fn invocation(chaincode: &str, arguments: &[&str]) -> Invocation {
    Invocation::new("mychannel", chaincode, arguments[0]).arguments(arguments[1..].iter().copied())
}

/// A package with exactly this connection.json.
pub(super) fn package(label: &str, connection: &str) -> Package {
    let bytes = ByHand::new(label, connection).bytes();
    Package { id: package_id(label, &bytes), bytes, connection: connection.to_owned(), organization: None }
}

/// The programs of the peers' external builder, each of which can be another for a while.
pub(super) struct Builder(PathBuf);

impl Builder {
    pub(super) fn of(stage: &Stage) -> Self {
        Self(stage.running.directory().join("builder/bin"))
    }

    /// Puts a shell script, of this mode, into the place of one of the programs.
    pub(super) fn replace(&self, name: &str, body: &str, mode: u32) {
        let path = self.0.join(name);
        fs::rename(&path, self.0.join(format!("{name}.kept"))).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::rename(self.0.join(name), self.0.join(format!("{name}.kept"))).unwrap();
    }

    /// Puts the program itself back.
    pub(super) fn restore(&self, name: &str) {
        fs::rename(self.0.join(format!("{name}.kept")), self.0.join(name)).unwrap();
    }
}
