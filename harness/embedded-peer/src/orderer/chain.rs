//! The ordering service of one channel, shared by the channel's orderers in this process.
//!
//! One task takes messages in order, cuts batches and writes blocks. There is no consensus to reach
//! among the orderers of one process, but there is none either before enough of them have joined.

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
use crate::clock::Clock;
use crate::signer::Signer;

/// How many messages may wait for the task.
const QUEUE: usize = 10_000;

/// The ordering service of a channel. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Chain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: String,
    clock: Clock,
    blocks: Blocks,
    resources: RwLock<Resources>,
    last_config: Mutex<u64>,
    /// The signers of the orderers that have joined, by their number among the consenters.
    joined: watch::Sender<BTreeMap<u32, Signer>>,
    queue: mpsc::Sender<Order>,
}

/// A chain as it was at some time.
#[derive(Clone, Debug)]
pub(crate) struct ChainState {
    height: u64,
    last_config: u64,
    resources: Resources,
    joined: BTreeMap<u32, Signer>,
}

/// What the task of a chain is told, in order.
#[derive(Debug)]
enum Order {
    Take(Submission),
    /// Go back to how it was, and tell when that is done.
    Return(Box<ChainState>, oneshot::Sender<()>),
    /// There is no such channel any more.
    End,
}

/// A message that was checked, on its way into a block.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) envelope: Envelope,
    /// The sequence of the configuration that it was checked against.
    pub(crate) sequence: u64,
    /// Whether it configures the channel.
    pub(crate) is_config: bool,
}

impl Chain {
    /// An ordering service that begins with a genesis block, and the task that must be run.
    pub(crate) fn new(
        channel: &str,
        clock: Clock,
        genesis: Block,
        resources: Resources,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, orders) = mpsc::channel(QUEUE);
        let chain = Self(Arc::new(Inner {
            channel: channel.to_owned(),
            clock,
            blocks: Blocks::beginning(genesis),
            resources: RwLock::new(resources),
            last_config: Mutex::default(),
            joined: watch::Sender::default(),
            queue,
        }));
        let worker = chain.clone();
        (chain, async move { worker.work(orders).await })
    }

    /// The blocks so far.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// The channel's present configuration.
    pub(crate) fn resources(&self) -> Resources {
        self.0.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the newest configuration block.
    pub(crate) fn last_config(&self) -> u64 {
        *self.0.last_config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An orderer takes part from now on.
    pub(crate) fn join(&self, number: u32, signer: Signer) {
        self.0.joined.send_modify(|joined| {
            joined.insert(number, signer);
        });
    }

    /// An orderer takes part no longer.
    pub(crate) fn leave(&self, number: u32) {
        self.0.joined.send_modify(|joined| {
            joined.remove(&number);
        });
    }

    /// Whether enough orderers have joined to agree on anything.
    pub(crate) fn has_quorum(&self) -> bool {
        let resources = self.resources();
        let joined = self.0.joined.borrow();
        has_quorum(&resources, &joined)
    }

    /// Returns when there are too few orderers.
    pub(crate) async fn quorum_lost(&self) {
        let mut joined = self.0.joined.subscribe();
        let _ = joined.wait_for(|joined| !has_quorum(&self.resources(), joined)).await;
    }

    /// Takes a message for ordering.
    ///
    /// # Errors
    ///
    /// Why it can't be taken now.
    pub(crate) async fn order(&self, submission: Submission) -> Result<(), &'static str> {
        if matches!(self.resources().consenters(), Consenters::Raft(_)) && !self.has_quorum() {
            return Err("no Raft leader");
        }
        self.0.queue.send(Order::Take(submission)).await.map_err(|_| "chain is stopped")
    }

    async fn work(self, mut orders: mpsc::Receiver<Order>) {
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
                order = orders.recv() => match order {
                    Some(Order::Take(submission)) => pending.push_back(submission),
                    Some(Order::Return(state, done)) => {
                        cutter.cut();
                        pending.clear();
                        self.return_to(*state);
                        let _ = done.send(());
                    }
                    Some(Order::End) | None => return,
                },
                _ = joined.changed() => {}
            }
            // With BFT, what comes before there is a quorum waits for it.
            if !pending.is_empty() && self.has_quorum() {
                while let Some(submission) = pending.pop_front() {
                    self.take(submission, &mut cutter);
                }
            }
            deadline = match (cutter.is_pending(), deadline) {
                (false, _) => None,
                // The time runs from the first message, whatever was cut since (`etcdraft.Chain.run`).
                (true, Some(deadline)) => Some(deadline),
                (true, None) => Some(Instant::now() + self.resources().batch_timeout()),
            };
        }
    }

    fn take(&self, submission: Submission, cutter: &mut Cutter) {
        let resources = self.resources();
        let Submission { mut envelope, sequence, is_config } = submission;
        if sequence < resources.sequence() {
            // The configuration has changed since it was checked.
            match self.check_again(envelope, is_config, &resources) {
                Ok(checked) => envelope = checked,
                Err(reason) => {
                    tracing::warn!("[channel: {}] a message is dropped: {reason}", self.0.channel);
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
            Err(reason) => tracing::warn!("[channel: {}] a configuration is dropped: {reason}", self.0.channel),
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
            Err(error) => tracing::error!("[channel: {}] a block is lost: {error}", self.0.channel),
        }
    }

    /// The chain as it is now.
    pub(crate) fn state(&self) -> ChainState {
        ChainState {
            height: self.0.blocks.height(),
            last_config: self.last_config(),
            resources: self.resources(),
            joined: self.0.joined.borrow().clone(),
        }
    }

    /// Goes back to an earlier state; messages that wait are forgotten.
    pub(crate) async fn restore(&self, state: &ChainState) {
        let (done, is_done) = oneshot::channel();
        if self.0.queue.send(Order::Return(Box::new(state.clone()), done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Ends the task.
    pub(crate) async fn end(&self) {
        let _ = self.0.queue.send(Order::End).await;
    }

    fn return_to(&self, state: ChainState) {
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

/// How many of `total` must sign, of which a third may be malicious (`common/policies/bft.go`).
fn quorum_of_bft(total: usize) -> usize {
    let faulty = total.saturating_sub(1) / 3;
    (total + faulty + 1).div_ceil(2)
}
