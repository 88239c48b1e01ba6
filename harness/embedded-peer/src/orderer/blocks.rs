//! The blocks of a chain, and notifications of new ones.

use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::Block;
use tokio::sync::watch;

/// The blocks of a chain, from the first one. Clones share the blocks.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    blocks: Arc<RwLock<Vec<Arc<Block>>>>,
    height: Arc<watch::Sender<u64>>,
}

impl Blocks {
    /// A chain with only a genesis block.
    pub(crate) fn new(genesis: Block) -> Self {
        Self { blocks: Arc::new(RwLock::new(vec![Arc::new(genesis)])), height: Arc::new(watch::Sender::new(1)) }
    }

    /// Appends a block and notifies the waiting tasks.
    pub(crate) fn append(&self, block: Block) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.push(Arc::new(block));
        let height = blocks.len() as u64;
        drop(blocks);
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
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(usize::try_from(number).ok()?).cloned()
    }

    /// The newest block.
    pub(crate) fn newest(&self) -> Option<Arc<Block>> {
        self.block(self.height().checked_sub(1)?)
    }

    /// Removes the blocks from number `height` on.
    pub(crate) fn truncate(&self, height: u64) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.truncate(usize::try_from(height).unwrap_or(usize::MAX));
        let height = blocks.len() as u64;
        drop(blocks);
        self.height.send_replace(height);
    }
}
