//! A channel on a peer: its ledger, its configuration, and the blocks that come in.
//!
//! Blocks come from the ordering service of this process, in order. Each is validated, committed, and
//! only then known to anybody.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::{Block, ConfigEnvelope, Envelope, Payload};
use fabric_protos::protos::TxValidationCode;
use prost::Message as _;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::Peer;
use super::events::concerns_lifecycle;
use crate::config::ChannelConfig;
use crate::deliver::Signed;
use crate::endorser::{Endorsing, collections, distribution};
use crate::ledger::{CheckedTransaction, Committed, Ledger, LedgerError, LedgerSnapshot, TransactionKind, header_hash};
use crate::lifecycle::{ChannelCollections, StateRules};
use crate::orderer::chain::Chain;
use crate::orderer::registrar::Ordering;
use crate::trace::What;
use crate::validation::validate;

/// A channel that a peer has joined.
pub struct PeerChannel {
    /// The channel's name.
    pub name: String,
    /// This peer's ledger of it.
    pub ledger: Ledger,
    config: Arc<RwLock<ChannelConfig>>,
    /// What endorsing remembers of it.
    pub(crate) endorsing: Endorsing,
    genesis_hash: Vec<u8>,
    /// Held while a block is committed, so that whoever holds it knows that none is.
    committing: Mutex<()>,
    /// Cancelled when the peer forgets the channel.
    forgotten: CancellationToken,
}

/// A channel of a peer as it was at some time.
#[derive(Clone)]
pub(crate) struct ChannelState {
    ledger: LedgerSnapshot,
    config: ChannelConfig,
}

impl PeerChannel {
    /// The channel's present configuration, as of the newest committed block.
    pub fn config(&self) -> ChannelConfig {
        read(&self.config)
    }

    /// A channel that begins with this block.
    pub(super) fn begin(peer: &Peer, genesis: Block) -> Result<Self, String> {
        let config = ChannelConfig::from_block(&genesis).map_err(|error| error.to_string())?;
        let name = config.channel().to_owned();
        let config = Arc::new(RwLock::new(config));
        let ledger = Ledger::with_database(&*name, peer.configuration.ledger.state.database());
        let present = Arc::clone(&config);
        ledger.set_collections(Arc::new(ChannelCollections::new(move || read(&present))));
        let channel = Self {
            name,
            ledger,
            config,
            endorsing: Endorsing::default(),
            genesis_hash: genesis.header.as_ref().map(|header| header_hash(header).to_vec()).unwrap_or_default(),
            committing: Mutex::default(),
            forgotten: CancellationToken::new(),
        };
        channel.commit(peer, genesis).map_err(|error| error.to_string())?;
        Ok(channel)
    }

    /// Takes blocks from the ordering service as they come.
    pub(super) async fn follow(self: Arc<Self>, peer: Arc<Peer>, ordering: Ordering) {
        let forgotten = self.forgotten.clone();
        forgotten.run_until_cancelled(self.take_all(peer, ordering)).await;
    }

    async fn take_all(self: Arc<Self>, peer: Arc<Peer>, ordering: Ordering) {
        let Some(chain) = ordering.wait_for(&self.name, &self.genesis_hash).await else { return };
        let (mut ordered, mut committed) = (chain.blocks().heights(), self.ledger.heights());
        loop {
            // Either may also become less, when the network goes back to an earlier state.
            ordered.mark_unchanged();
            committed.mark_unchanged();
            if chain.blocks().height() <= self.ledger.height() {
                let changed = tokio::select! {
                    changed = ordered.changed() => changed,
                    changed = committed.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                continue;
            }
            let (channel, peer, chain) = (Arc::clone(&self), Arc::clone(&peer), chain.clone());
            let taken = tokio::task::spawn_blocking(move || channel.take_next(&peer, &chain)).await;
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!("[channel: {}] a block can't be committed: {error}", self.name);
                    return;
                }
                // The runtime is ending, or a bug: either way nothing more comes.
                Err(_) => return,
            }
        }
    }

    /// Waits until no block is being committed, and lets none be until the answer is dropped.
    pub(crate) async fn pause(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().await
    }

    /// The channel as it is now. To be asked while it is paused.
    pub(crate) fn state(&self) -> ChannelState {
        ChannelState { ledger: self.ledger.snapshot(), config: self.config() }
    }

    /// Goes back to an earlier state, while it is paused.
    pub(crate) fn restore(&self, state: &ChannelState) {
        self.ledger.restore(&state.ledger);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = state.config.clone();
    }

    /// Takes no more blocks.
    pub(crate) fn forget(&self) {
        self.forgotten.cancel();
    }

    fn take_next(&self, peer: &Arc<Peer>, chain: &Chain) -> Result<(), LedgerError> {
        let _committing = self.committing.blocking_lock();
        let Some(block) = chain.blocks().block(self.ledger.height()) else { return Ok(()) };
        if self.commit(peer, Block::clone(&block))? {
            peer.launch_runnable_on(self);
        }
        Ok(())
    }

    /// Commits a block; whether it may have made a chaincode runnable.
    fn commit(&self, peer: &Peer, block: Block) -> Result<bool, LedgerError> {
        let config = self.config();
        let transactions = validate(&block, &config, &self.ledger);
        distribution::gather(peer, self, self.ledger.height(), &transactions);
        let state = self.ledger.state();
        let rules = StateRules { state: &state, msp_id: &peer.msp_id };
        let concerns_lifecycle = concerns_lifecycle(&transactions);
        // Before anybody knows the block: whoever does sees the configuration that it brings.
        self.configure(&block, &transactions);
        let committed = self.ledger.commit(block, transactions, &rules)?;
        peer.tell(|| committed_event(&self.name, &committed));
        Ok(concerns_lifecycle)
    }

    /// Whether a client may see what a collection holds: anyone, unless only members may.
    pub(crate) fn may_read_collection(&self, chaincode: &str, name: &str, signed: &Signed) -> Result<bool, String> {
        collections::may_see(self, chaincode, name, &signed.identity)
    }

    /// Obeys a configuration block from now on.
    fn configure(&self, block: &Block, transactions: &[CheckedTransaction]) {
        let number = block.header.as_ref().map_or(0, |header| header.number);
        let configures = transactions.first().is_some_and(|transaction| {
            transaction.kind == TransactionKind::Config && transaction.code == TxValidationCode::Valid
        });
        if number == 0 || !configures {
            return;
        }
        let envelope = block.data.as_ref().and_then(|data| data.data.first());
        let next = envelope
            .ok_or_else(|| "there is no envelope".to_owned())
            .and_then(|envelope| self.config().next(&config_envelope(envelope)?).map_err(|error| error.to_string()));
        match next {
            Ok(next) => *self.config.write().unwrap_or_else(PoisonError::into_inner) = next,
            Err(reason) => tracing::error!("[channel: {}] the configuration stays: {reason}", self.name),
        }
    }
}

fn committed_event(channel: &str, committed: &Committed) -> What {
    let transactions = committed.block.transactions.iter();
    let codes: Vec<String> =
        transactions.map(|transaction| format!("{} {}", transaction.id, transaction.code.as_str_name())).collect();
    let detail = format!("committed: {}", codes.join(", "));
    What::Block { channel: channel.into(), number: committed.block.number(), detail }
}

fn read(config: &RwLock<ChannelConfig>) -> ChannelConfig {
    config.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl fmt::Debug for PeerChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = self.ledger.height();
        formatter.debug_struct("PeerChannel").field("name", &self.name).field("height", &height).finish_non_exhaustive()
    }
}

fn config_envelope(envelope: &[u8]) -> Result<ConfigEnvelope, String> {
    let malformed = |error: prost::DecodeError| error.to_string();
    let envelope = Envelope::decode(envelope).map_err(malformed)?;
    let payload = Payload::decode(&*envelope.payload).map_err(malformed)?;
    ConfigEnvelope::decode(&*payload.data).map_err(malformed)
}
