//! A peer's state of a channel: ledger, configuration, and what is derived from them.
//!
//! `peer::blocks` receives the blocks and commits them.

mod collections;
mod definitions;
mod groups;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::Block;
use fabric_protos::protos::TxValidationCode;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::block_store::BlockStore;
use crate::chaincode::PackageStore;
use crate::config::{ChannelConfig, ConfigError, config_envelope};
use crate::ledger::{CheckedTransaction, Ledger, LedgerSnapshot, StateDatabase, TransactionKind, header_hash};
use crate::lifecycle::ChannelCollections;
pub(crate) use collections::CollectionMembers;
pub(crate) use definitions::{ChaincodeInfo, Runnable, SYSTEM_VERSION, is_system};

/// A peer's state of a channel that it has joined.
pub struct PeerChannel {
    /// The channel's name.
    pub name: String,
    /// This peer's ledger of it.
    pub ledger: Ledger,
    /// The MSP ID of the peer's organization.
    msp_id: String,
    /// The packages that are installed on the peer.
    packages: Arc<PackageStore>,
    config: Arc<RwLock<ChannelConfig>>,
    definitions: definitions::Cache,
    groups: groups::Cache,
    genesis_hash: Vec<u8>,
    /// Held during a commit.
    committing: Mutex<()>,
    /// Cancelled when the peer leaves the channel.
    forgotten: CancellationToken,
}

/// A saved state of a channel.
#[derive(Clone)]
pub(crate) struct ChannelState {
    ledger: LedgerSnapshot,
    config: ChannelConfig,
}

impl PeerChannel {
    /// The channel of a genesis block, which the caller must commit, on a peer of this organization.
    pub(crate) fn new(
        genesis: &Block,
        database: StateDatabase,
        store: BlockStore,
        msp_id: &str,
        packages: Arc<PackageStore>,
    ) -> Result<Self, String> {
        let config = ChannelConfig::from_block(genesis).map_err(|error| error.to_string())?;
        let name = config.channel().to_owned();
        let config = Arc::new(RwLock::new(config));
        let ledger = Ledger::with_store(&*name, database, store);
        let present = Arc::clone(&config);
        ledger.set_collections(Arc::new(ChannelCollections::new(move || read(&present))));
        Ok(Self {
            name,
            ledger,
            msp_id: msp_id.to_owned(),
            packages,
            config,
            definitions: definitions::Cache::default(),
            groups: groups::Cache::default(),
            genesis_hash: genesis.header.as_ref().map(|header| header_hash(header).to_vec()).unwrap_or_default(),
            committing: Mutex::default(),
            forgotten: CancellationToken::new(),
        })
    }

    /// The channel's configuration as of the newest committed block.
    pub fn config(&self) -> ChannelConfig {
        read(&self.config)
    }

    /// The hash of the genesis block's header.
    pub(crate) fn genesis_hash(&self) -> &[u8] {
        &self.genesis_hash
    }

    /// The lock that is held during a commit.
    pub(crate) fn committing(&self) -> &Mutex<()> {
        &self.committing
    }

    /// Waits for a running commit, and prevents further ones until the guard is dropped.
    pub(crate) async fn pause(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().await
    }

    /// Saves the state. Call it while the channel is paused.
    pub(crate) fn state(&self) -> ChannelState {
        ChannelState { ledger: self.ledger.snapshot(), config: self.config() }
    }

    /// Restores a saved state. Call it while the channel is paused.
    pub(crate) fn restore(&self, state: &ChannelState) {
        self.ledger.restore(&state.ledger);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = state.config.clone();
    }

    /// Stops receiving blocks.
    pub(crate) fn forget(&self) {
        self.forgotten.cancel();
    }

    /// Cancelled when the channel stops receiving blocks.
    pub(crate) fn forgotten(&self) -> CancellationToken {
        self.forgotten.clone()
    }

    /// Applies a configuration block; ignores other blocks.
    pub(crate) fn configure(&self, block: &Block, transactions: &[CheckedTransaction]) {
        let number = block.header.as_ref().map_or(0, |header| header.number);
        let configures = transactions.first().is_some_and(|transaction| {
            transaction.kind == TransactionKind::Config && transaction.code == TxValidationCode::Valid
        });
        if number == 0 || !configures {
            return;
        }
        let envelope = block.data.as_ref().and_then(|data| data.data.first());
        let next = envelope
            .ok_or(ConfigError::EmptyBlock)
            .and_then(|envelope| config_envelope(envelope))
            .and_then(|(_, envelope)| self.config().next(&envelope));
        match next {
            Ok(next) => *self.config.write().unwrap_or_else(PoisonError::into_inner) = next,
            Err(error) => tracing::error!("[channel: {}] cannot apply a configuration block: {error}", self.name),
        }
    }
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
