//! A channel as one peer has it: its ledger, its configuration, and what is derived from them.
//!
//! The peer takes blocks from the ordering service and commits them to the ledger; see `peer::blocks`.

mod collections;
mod definitions;
mod groups;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::{Block, ConfigEnvelope, Envelope, Payload};
use fabric_protos::protos::TxValidationCode;
use prost::Message as _;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::chaincode::PackageStore;
use crate::config::ChannelConfig;
use crate::ledger::{CheckedTransaction, Ledger, LedgerSnapshot, StateDatabase, TransactionKind, header_hash};
use crate::lifecycle::ChannelCollections;
pub(crate) use collections::CollectionMembers;
pub(crate) use definitions::{Info, Runnable, SYSTEM_VERSION, is_system};

/// A channel that a peer has joined.
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
    definitions: definitions::Remembered,
    groups: groups::Remembered,
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
    /// The channel of a genesis block, which is yet to be committed, on a peer of this organization.
    pub(crate) fn new(
        genesis: &Block,
        database: StateDatabase,
        msp_id: &str,
        packages: Arc<PackageStore>,
    ) -> Result<Self, String> {
        let config = ChannelConfig::from_block(genesis).map_err(|error| error.to_string())?;
        let name = config.channel().to_owned();
        let config = Arc::new(RwLock::new(config));
        let ledger = Ledger::with_database(&*name, database);
        let present = Arc::clone(&config);
        ledger.set_collections(Arc::new(ChannelCollections::new(move || read(&present))));
        Ok(Self {
            name,
            ledger,
            msp_id: msp_id.to_owned(),
            packages,
            config,
            definitions: definitions::Remembered::default(),
            groups: groups::Remembered::default(),
            genesis_hash: genesis.header.as_ref().map(|header| header_hash(header).to_vec()).unwrap_or_default(),
            committing: Mutex::default(),
            forgotten: CancellationToken::new(),
        })
    }

    /// The channel's present configuration, as of the newest committed block.
    pub fn config(&self) -> ChannelConfig {
        read(&self.config)
    }

    /// The hash of the genesis block's header.
    pub(crate) fn genesis_hash(&self) -> &[u8] {
        &self.genesis_hash
    }

    /// Held while a block is committed. While somebody else holds it, no block is.
    pub(crate) fn committing(&self) -> &Mutex<()> {
        &self.committing
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

    /// Cancelled when the channel takes no more blocks.
    pub(crate) fn forgotten(&self) -> CancellationToken {
        self.forgotten.clone()
    }

    /// Obeys a configuration block from now on.
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
            .ok_or_else(|| "there is no envelope".to_owned())
            .and_then(|envelope| self.config().next(&config_envelope(envelope)?).map_err(|error| error.to_string()));
        match next {
            Ok(next) => *self.config.write().unwrap_or_else(PoisonError::into_inner) = next,
            Err(reason) => tracing::error!("[channel: {}] the configuration stays: {reason}", self.name),
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

fn config_envelope(envelope: &[u8]) -> Result<ConfigEnvelope, String> {
    let malformed = |error: prost::DecodeError| error.to_string();
    let envelope = Envelope::decode(envelope).map_err(malformed)?;
    let payload = Payload::decode(&*envelope.payload).map_err(malformed)?;
    ConfigEnvelope::decode(&*payload.data).map_err(malformed)
}
