//! The ordering service of one channel, shared by the channel's orderers in this process.
//!
//! One task receives messages in order, cuts batches and writes blocks. The orderers of one process need no
//! consensus protocol, but a quorum of them must have joined.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fabric_protos::common::{Block, Envelope, Payload};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::blocks::Blocks;
use super::cutter::{Cutter, Message};
use super::resources::{Consenters, Resources};
use super::writer::{self, Signatories};
use crate::block_store::BlockStore;
use crate::clock::Clock;
use crate::signer::Signer;

/// The capacity of the message queue.
const QUEUE: usize = 10_000;

/// The ordering service of a channel. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Chain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: String,
    clock: Clock,
    blocks: Blocks,
    resources: RwLock<Resources>,
    last_config: Mutex<u64>,
    /// The signers of the joined orderers, by consenter ID.
    joined: watch::Sender<BTreeMap<u32, Signer>>,
    queue: mpsc::Sender<Command>,
}

/// A saved state of a chain.
#[derive(Clone, Debug)]
pub(crate) struct ChainState {
    height: u64,
    last_config: u64,
    resources: Resources,
    joined: BTreeMap<u32, Signer>,
}

/// A command to the task of a chain.
#[derive(Debug)]
enum Command {
    Order(Submission),
    /// Restore a saved state, and confirm it.
    Restore(Box<ChainState>, oneshot::Sender<()>),
    /// Stop: the channel no longer exists.
    Stop,
}

/// A checked message, on its way into a block.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) envelope: Envelope,
    /// The sequence of the configuration with which it was checked.
    pub(crate) sequence: u64,
    /// Whether it is a configuration message.
    pub(crate) is_config: bool,
}

impl Chain {
    /// The ordering service of a genesis block, and its task, which the caller must run.
    pub(crate) fn new(
        channel: &str,
        clock: Clock,
        genesis: Block,
        resources: Resources,
        store: BlockStore,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, commands) = mpsc::channel(QUEUE);
        let chain = Self(Arc::new(Inner {
            channel: channel.to_owned(),
            clock,
            blocks: Blocks::new(genesis, store),
            resources: RwLock::new(resources),
            last_config: Mutex::default(),
            joined: watch::Sender::default(),
            queue,
        }));
        let worker = chain.clone();
        (chain, async move { worker.work(commands).await })
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// The channel's current configuration.
    pub(crate) fn resources(&self) -> Resources {
        self.0.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the newest configuration block.
    pub(crate) fn last_config(&self) -> u64 {
        *self.0.last_config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an orderer.
    pub(crate) fn join(&self, number: u32, signer: Signer) {
        self.0.joined.send_modify(|joined| {
            joined.insert(number, signer);
        });
    }

    /// Removes an orderer.
    pub(crate) fn leave(&self, number: u32) {
        self.0.joined.send_modify(|joined| {
            joined.remove(&number);
        });
    }

    /// Whether a quorum of orderers has joined.
    pub(crate) fn has_quorum(&self) -> bool {
        let resources = self.resources();
        let joined = self.0.joined.borrow();
        has_quorum(&resources, &joined)
    }

    /// Returns once there is no quorum.
    pub(crate) async fn quorum_lost(&self) {
        let mut joined = self.0.joined.subscribe();
        let _ = joined.wait_for(|joined| !has_quorum(&self.resources(), joined)).await;
    }

    /// Queues a message for ordering.
    ///
    /// # Errors
    ///
    /// It cannot be accepted now, in Fabric's words.
    pub(crate) async fn order(&self, submission: Submission) -> Result<(), &'static str> {
        if matches!(self.resources().consenters(), Consenters::Raft(_)) && !self.has_quorum() {
            return Err("no Raft leader");
        }
        self.0.queue.send(Command::Order(submission)).await.map_err(|_| "chain is stopped")
    }

    async fn work(self, mut commands: mpsc::Receiver<Command>) {
        let mut cutter = Cutter::default();
        let mut pending = VecDeque::new();
        let mut deadline: Option<Instant> = None;
        let mut joined = self.0.joined.subscribe();
        loop {
            let due = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {
                    if let Some(batch) = cutter.cut() {
                        self.write(batch);
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Order(submission)) => pending.push_back(submission),
                    Some(Command::Restore(state, done)) => {
                        cutter.cut();
                        pending.clear();
                        self.apply(*state);
                        let _ = done.send(());
                    }
                    Some(Command::Stop) | None => return,
                },
                _ = joined.changed() => {}
            }
            // With BFT, messages wait for a quorum.
            if !pending.is_empty() && self.has_quorum() {
                while let Some(submission) = pending.pop_front() {
                    self.take(submission, &mut cutter);
                }
            }
            deadline = match (cutter.is_pending(), deadline) {
                (false, _) => None,
                // The timer starts with the first message, and is not reset by a cut (`etcdraft.Chain.run`).
                (true, Some(deadline)) => Some(deadline),
                (true, None) => Some(Instant::now() + self.resources().batch_timeout()),
            };
        }
    }

    fn take(&self, submission: Submission, cutter: &mut Cutter) {
        let resources = self.resources();
        let Submission { mut envelope, sequence, is_config } = submission;
        if sequence < resources.sequence() {
            // The configuration has changed since the check.
            match self.check_again(envelope, is_config, &resources) {
                Ok(checked) => envelope = checked,
                Err(reason) => {
                    tracing::warn!("[channel: {}] dropped a message: {reason}", self.0.channel);
                    return;
                }
            }
        }
        if is_config {
            if let Some(batch) = cutter.cut() {
                self.write(batch);
            }
            self.write_config(&envelope);
            return;
        }
        let size = envelope.payload.len() + envelope.signature.len();
        let message = Message { envelope: envelope.encode_to_vec(), size };
        for batch in cutter.ordered(message, resources.batch_size()) {
            self.write(batch);
        }
    }

    fn check_again(&self, envelope: Envelope, is_config: bool, resources: &Resources) -> Result<Envelope, String> {
        if !is_config {
            resources.check(&envelope, self.0.clock.now()).map_err(|error| error.to_string())?;
            return Ok(envelope);
        }
        let payload = Payload::decode(&*envelope.payload).map_err(|error| error.to_string())?;
        let config =
            fabric_protos::common::ConfigEnvelope::decode(&*payload.data).map_err(|error| error.to_string())?;
        let update = config.last_update.ok_or("a configuration without its update")?;
        let leader = self.leader().ok_or("no orderer has joined")?;
        resources.configure(&update, &leader, self.0.clock.now()).map_err(|error| error.to_string())
    }

    fn leader(&self) -> Option<Signer> {
        self.0.joined.borrow().values().next().cloned()
    }

    fn write_config(&self, envelope: &Envelope) {
        match self.resources().configured(envelope) {
            Ok(resources) => {
                let number = self.0.blocks.height();
                *self.0.last_config.lock().unwrap_or_else(PoisonError::into_inner) = number;
                *self.0.resources.write().unwrap_or_else(PoisonError::into_inner) = resources;
                self.write(vec![envelope.encode_to_vec()]);
            }
            Err(reason) => tracing::warn!("[channel: {}] dropped a configuration: {reason}", self.0.channel),
        }
    }

    fn write(&self, envelopes: Vec<Vec<u8>>) {
        let Some(header) = self.0.blocks.newest().and_then(|block| block.header.clone()) else { return };
        let mut block = writer::next(&header, envelopes);
        let joined = self.0.joined.borrow().clone();
        let signatories = match self.resources().consenters() {
            Consenters::Raft(consenters) => {
                joined.values().next().map(|leader| Signatories::Raft { leader, consenters: consenters.len() as u64 })
            }
            Consenters::Bft(consenters) => {
                let quorum = quorum_of_bft(consenters.len());
                Some(Signatories::Bft(joined.iter().take(quorum).map(|(number, signer)| (*number, signer)).collect()))
            }
        };
        let Some(signatories) = signatories else { return };
        match writer::sign(&mut block, self.last_config(), &signatories) {
            Ok(()) => self.0.blocks.append(block),
            Err(error) => tracing::error!("[channel: {}] cannot sign a block: {error}", self.0.channel),
        }
    }

    /// Saves the chain's state.
    pub(crate) fn state(&self) -> ChainState {
        ChainState {
            height: self.0.blocks.height(),
            last_config: self.last_config(),
            resources: self.resources(),
            joined: self.0.joined.borrow().clone(),
        }
    }

    /// Restores a saved state, and drops pending messages.
    pub(crate) async fn restore(&self, state: &ChainState) {
        let (done, is_done) = oneshot::channel();
        if self.0.queue.send(Command::Restore(Box::new(state.clone()), done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Stops the task.
    pub(crate) async fn end(&self) {
        let _ = self.0.queue.send(Command::Stop).await;
    }

    fn apply(&self, state: ChainState) {
        *self.0.last_config.lock().unwrap_or_else(PoisonError::into_inner) = state.last_config;
        *self.0.resources.write().unwrap_or_else(PoisonError::into_inner) = state.resources;
        self.0.blocks.truncate(state.height);
        self.0.joined.send_replace(state.joined);
    }
}

fn has_quorum(resources: &Resources, joined: &BTreeMap<u32, Signer>) -> bool {
    match resources.consenters() {
        Consenters::Raft(consenters) => joined.len() > consenters.len() / 2,
        Consenters::Bft(consenters) => joined.len() >= quorum_of_bft(consenters.len()),
    }
}

/// The size of a BFT quorum of `total` consenters (`common/policies/bft.go`).
fn quorum_of_bft(total: usize) -> usize {
    let faulty = total.saturating_sub(1) / 3;
    (total + faulty + 1).div_ceil(2)
}
