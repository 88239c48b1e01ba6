//! The blocks of a chain, and notifications of new ones.

use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::Block;
use tokio::sync::watch;

use crate::block_store::{BlockStore, Position};

/// The blocks of a chain, from the first one. Clones share the blocks.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    store: BlockStore,
    positions: Arc<RwLock<Vec<Position>>>,
    height: Arc<watch::Sender<u64>>,
}

/// A block in the store of its chain.
#[derive(Debug)]
pub(crate) struct OrderedBlock {
    pub(crate) block: Arc<Block>,
    pub(crate) position: Position,
}

impl Blocks {
    /// A chain with only a genesis block.
    pub(crate) fn new(genesis: Block, store: BlockStore) -> Self {
        let positions = vec![store.append(Arc::new(genesis), None)];
        Self { store, positions: Arc::new(RwLock::new(positions)), height: Arc::new(watch::Sender::new(1)) }
    }

    /// The store of the blocks.
    pub(crate) fn store(&self) -> &BlockStore {
        &self.store
    }

    /// Appends a block and notifies the waiting tasks.
    pub(crate) fn append(&self, block: Block) {
        let position = self.store.append(Arc::new(block), None);
        let mut positions = self.positions.write().unwrap_or_else(PoisonError::into_inner);
        positions.push(position);
        let height = positions.len() as u64;
        drop(positions);
        self.height.send_replace(height);
    }

    /// The number of blocks.
    pub(crate) fn height(&self) -> u64 {
        *self.height.borrow()
    }

    /// Watches the height.
    pub(crate) fn heights(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// The block with this number.
    pub(crate) fn block(&self, number: u64) -> Option<Arc<Block>> {
        Some(self.ordered(number)?.block)
    }

    /// The block with this number, and its position in the store.
    pub(crate) fn ordered(&self, number: u64) -> Option<OrderedBlock> {
        let positions = self.positions.read().unwrap_or_else(PoisonError::into_inner);
        let position = *positions.get(usize::try_from(number).ok()?)?;
        drop(positions);
        Some(OrderedBlock { block: self.store.get(position)?, position })
    }

    /// The newest block.
    pub(crate) fn newest(&self) -> Option<Arc<Block>> {
        self.block(self.height().checked_sub(1)?)
    }

    /// Removes the blocks from number `height` on.
    pub(crate) fn truncate(&self, height: u64) {
        let mut positions = self.positions.write().unwrap_or_else(PoisonError::into_inner);
        positions.truncate(usize::try_from(height).unwrap_or(usize::MAX));
        let height = positions.len() as u64;
        drop(positions);
        self.height.send_replace(height);
    }
}
