//! The chain of blocks that an ordering service keeps, and who waits for the next.

use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::common::Block;
use tokio::sync::watch;

/// Blocks from the first one on. Clones are the same chain.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    blocks: Arc<RwLock<Vec<Arc<Block>>>>,
    height: Arc<watch::Sender<u64>>,
}

impl Blocks {
    /// A chain that begins with this block, whose number is 0.
    pub(crate) fn beginning(genesis: Block) -> Self {
        Self { blocks: Arc::new(RwLock::new(vec![Arc::new(genesis)])), height: Arc::new(watch::Sender::new(1)) }
    }

    /// Adds a block and wakes whoever waits.
    pub(crate) fn append(&self, block: Block) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.push(Arc::new(block));
        let height = blocks.len() as u64;
        drop(blocks);
        self.height.send_replace(height);
    }

    /// How many blocks there are.
    pub(crate) fn height(&self) -> u64 {
        *self.height.borrow()
    }

    /// Tells each new height.
    pub(crate) fn heights(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// A block by its number.
    pub(crate) fn block(&self, number: u64) -> Option<Arc<Block>> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(usize::try_from(number).ok()?).cloned()
    }

    /// The newest block. There always is one.
    pub(crate) fn newest(&self) -> Option<Arc<Block>> {
        self.block(self.height().checked_sub(1)?)
    }

    /// Forgets every block from `height` on.
    pub(crate) fn truncate(&self, height: u64) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        blocks.truncate(usize::try_from(height).unwrap_or(usize::MAX));
        let height = blocks.len() as u64;
        drop(blocks);
        self.height.send_replace(height);
    }
}
