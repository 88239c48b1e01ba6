//! Receives the blocks of a peer's channels.
//!
//! They come from the ordering service of this process, in order. A block is validated and committed before it
//! becomes visible.

use std::sync::Arc;

use fabric_protos::common::Block;

use super::events::concerns_lifecycle;
use super::{Peer, distribution};
use crate::block_store::Position;
use crate::channel::PeerChannel;
use crate::ledger::{Committed, LedgerError};
use crate::lifecycle::StateRules;
use crate::orderer::chain::Chain;
use crate::trace::EventKind;
use crate::validation::validate;

impl Peer {
    /// Creates the channel of a genesis block.
    pub(super) fn begin(&self, genesis: Block) -> Result<PeerChannel, String> {
        let database = self.configuration.ledger.state.database();
        let packages = Arc::clone(self.support.packages());
        let channel = PeerChannel::new(&genesis, database, self.ordering.store().clone(), &self.msp_id, packages)?;
        self.commit(&channel, genesis, None).map_err(|error| error.to_string())?;
        Ok(channel)
    }

    /// Receives and commits a channel's blocks until the peer leaves the channel.
    pub(super) async fn follow(self: Arc<Self>, channel: Arc<PeerChannel>) {
        let forgotten = channel.forgotten();
        forgotten.run_until_cancelled(self.take_all(channel)).await;
    }

    async fn take_all(self: Arc<Self>, channel: Arc<PeerChannel>) {
        let Some(chain) = self.ordering.wait_for(&channel.name, channel.genesis_hash()).await else { return };
        let (mut ordered, mut committed) = (chain.blocks().heights(), channel.ledger.heights());
        let mut stopped = self.stopped.subscribe();
        loop {
            if stopped.wait_for(|stopped| !stopped).await.is_err() {
                return;
            }
            // Both heights can also decrease, when the network restores a snapshot.
            ordered.mark_unchanged();
            committed.mark_unchanged();
            if chain.blocks().height() <= channel.ledger.height() {
                let changed = tokio::select! {
                    changed = ordered.changed() => changed,
                    changed = committed.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                continue;
            }
            let taken = {
                let (peer, channel, chain) = (Arc::clone(&self), Arc::clone(&channel), chain.clone());
                tokio::task::spawn_blocking(move || peer.take_next(&channel, &chain)).await
            };
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!("[channel: {}] cannot commit a block: {error}", channel.name);
                    return;
                }
                // The runtime shuts down, or the commit panicked.
                Err(_) => return,
            }
        }
    }

    fn take_next(self: &Arc<Self>, channel: &PeerChannel, chain: &Chain) -> Result<(), LedgerError> {
        let _committing = channel.committing().blocking_lock();
        if self.is_stopped() {
            return Ok(());
        }
        let number = channel.ledger.height();
        let Some(ordered) = chain.blocks().ordered(number) else {
            let is_there = number < chain.blocks().height();
            return if is_there { Err(LedgerError::Unreadable { block: number }) } else { Ok(()) };
        };
        if self.commit(channel, Block::clone(&ordered.block), Some(ordered.position))? {
            self.launch_runnable_on(channel);
        }
        Ok(())
    }

    /// Commits a block, and returns whether it may have made a chaincode runnable. `ordered` is where the orderer has
    /// stored it.
    fn commit(&self, channel: &PeerChannel, block: Block, ordered: Option<Position>) -> Result<bool, LedgerError> {
        let transactions = validate(&block, &channel.config(), &channel.ledger);
        distribution::gather(self, channel, channel.ledger.height(), &transactions);
        let state = channel.ledger.state();
        let rules = StateRules { state: &state, msp_id: &self.msp_id };
        let concerns_lifecycle = concerns_lifecycle(&transactions);
        // Before the block becomes visible: who sees the block must see its configuration.
        channel.configure(&block, &transactions);
        // Who sees the block may look for its event.
        let announce = |committed: &Committed| self.trace(|| committed_event(&channel.name, committed));
        channel.ledger.commit_ordered(block, ordered, transactions, &rules, &announce)?;
        Ok(concerns_lifecycle)
    }
}

fn committed_event(channel: &str, committed: &Committed) -> EventKind {
    let transactions = committed.block.transactions.iter();
    let codes: Vec<String> =
        transactions.map(|transaction| format!("{} {}", transaction.id, transaction.code.as_str_name())).collect();
    let detail = format!("committed: {}", codes.join(", "));
    EventKind::Block { channel: channel.into(), number: committed.block.number(), detail }
}
