//! The blocks of a network's nodes, in a file: memory does not grow with the number of blocks.
//!
//! Blocks are appended to one temporary file without a name, so the system removes it with the process. The newest
//! ones are cached. Transactions are stored once: a peer's block refers to those that the orderer has stored. What
//! cannot be written stays in memory.

mod cache;
mod file;

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fabric_protos::common::{Block, BlockData, BlockHeader, BlockMetadata};
use prost::Message;

use cache::Cache;
use file::Chunks;

/// How many bytes of blocks are cached. Unit tests read every block but the newest from the file.
const CACHE_BYTES: usize = if cfg!(test) { 0 } else { 16 * 1024 * 1024 };

/// A store of blocks. Clones share it.
#[derive(Clone)]
pub(crate) struct BlockStore(Arc<Inner>);

struct Inner {
    chunks: Chunks,
    cache: Mutex<Cache<Cached>>,
}

/// A block with what a node keeps with it.
pub(crate) trait Stored: Any + Send + Sync + Sized {
    /// The block.
    fn block(&self) -> &Block;
    /// The rest, encoded.
    fn rest(&self) -> Vec<u8>;
    /// The inverse; `None` if `rest` is not of this type.
    fn from_parts(block: Block, rest: &[u8]) -> Option<Self>;
}

/// Where a value is in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    offset: u64,
    length: u32,
}

/// A stored value that is still in memory.
#[derive(Clone)]
struct Cached {
    value: Arc<dyn Any + Send + Sync>,
    transactions: Option<Arc<Transactions>>,
}

/// Where the envelopes of a block are: one after another.
#[derive(Clone, PartialEq, Message)]
struct Transactions {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint32, repeated, tag = "2")]
    lengths: Vec<u32>,
}

/// A stored block without its envelopes.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "1")]
    header: Option<BlockHeader>,
    #[prost(message, optional, tag = "2")]
    metadata: Option<BlockMetadata>,
    /// `None` if the block has no data.
    #[prost(message, optional, tag = "3")]
    transactions: Option<Transactions>,
    #[prost(bytes = "vec", tag = "4")]
    rest: Vec<u8>,
}

impl BlockStore {
    /// A store with its file in this directory, or in the system's one for temporary files.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self::with_cache(directory, CACHE_BYTES)
    }

    fn with_cache(directory: Option<PathBuf>, bytes: usize) -> Self {
        Self(Arc::new(Inner { chunks: Chunks::new(directory), cache: Mutex::new(Cache::new(bytes)) }))
    }

    /// Appends a block. `same` is a block of this store with the same transactions, which are not stored again.
    pub(crate) fn append<T: Stored>(&self, value: Arc<T>, same: Option<Position>) -> Position {
        let block = value.block();
        let transactions = block.data.as_ref().map(|data| self.transactions(data, same));
        let record = Record {
            header: block.header.clone(),
            metadata: block.metadata.clone(),
            transactions: transactions.as_deref().cloned(),
            rest: value.rest(),
        };
        let position = self.append_bytes(record.encode_to_vec());
        let envelopes = block.data.iter().flat_map(|data| &data.data);
        let size = position.length as usize + envelopes.map(Vec::len).sum::<usize>();
        let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let evicted = cache.insert(position.offset, Cached { value, transactions }, size);
        drop(cache);
        drop(evicted);
        position
    }

    /// Appends anything else.
    pub(crate) fn append_bytes(&self, bytes: Vec<u8>) -> Position {
        // A block is at most as long as a gRPC message.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Position { offset: self.0.chunks.append(bytes), length }
    }

    /// What [`Self::append_bytes`] has stored. `None` if it cannot be read, which is logged.
    pub(crate) fn bytes(&self, position: Position) -> Option<Vec<u8>> {
        self.0.chunks.read(position.offset, position.length as usize)
    }

    /// A block of this type. `None` if it cannot be read, which is logged.
    pub(crate) fn get<T: Stored>(&self, position: Position) -> Option<Arc<T>> {
        if let Some(cached) = self.cached(position) {
            return cached.value.downcast().ok();
        }
        let Record { header, metadata, transactions, rest } = self.record(position)?;
        let data = match transactions {
            Some(transactions) => Some(BlockData { data: self.envelopes(&transactions)? }),
            None => None,
        };
        T::from_parts(Block { header, data, metadata }, &rest).map(Arc::new)
    }

    /// An envelope of a block. `None` if there is none, or if it cannot be read, which is logged.
    pub(crate) fn envelope(&self, position: Position, index: usize) -> Option<Vec<u8>> {
        let transactions = self.transactions_of(position)?;
        let length = *transactions.lengths.get(index)?;
        let before: u64 = transactions.lengths[..index].iter().copied().map(u64::from).sum();
        self.0.chunks.read(transactions.offset + before, length as usize)
    }

    /// Stores transactions, unless they are those of `same`.
    fn transactions(&self, data: &BlockData, same: Option<Position>) -> Arc<Transactions> {
        let lengths: Vec<u32> =
            data.data.iter().map(|envelope| u32::try_from(envelope.len()).unwrap_or(u32::MAX)).collect();
        let shared = same.and_then(|same| self.transactions_of(same));
        if let Some(shared) = shared.filter(|shared| shared.lengths == lengths) {
            return shared;
        }
        Arc::new(Transactions { offset: self.0.chunks.append(data.data.concat()), lengths })
    }

    fn transactions_of(&self, position: Position) -> Option<Arc<Transactions>> {
        match self.cached(position) {
            Some(cached) => cached.transactions,
            None => self.record(position)?.transactions.map(Arc::new),
        }
    }

    fn envelopes(&self, transactions: &Transactions) -> Option<Vec<Vec<u8>>> {
        let total = transactions.lengths.iter().map(|length| *length as usize).sum();
        let bytes = self.0.chunks.read(transactions.offset, total)?;
        let mut rest = &*bytes;
        let split = transactions.lengths.iter().map(|length| {
            let (envelope, after) = rest.split_at(*length as usize);
            rest = after;
            envelope.to_vec()
        });
        Some(split.collect())
    }

    fn record(&self, position: Position) -> Option<Record> {
        let decoded = Record::decode(&*self.bytes(position)?);
        decoded.inspect_err(|error| tracing::error!("cannot read a stored block: {error}")).ok()
    }

    fn cached(&self, position: Position) -> Option<Cached> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner).get(position.offset).cloned()
    }
}

/// With the file in the system's directory for temporary files.
impl Default for BlockStore {
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for BlockStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BlockStore").finish_non_exhaustive()
    }
}

/// A block as an orderer keeps it.
impl Stored for Block {
    fn block(&self) -> &Block {
        self
    }

    fn rest(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_parts(block: Block, _: &[u8]) -> Option<Self> {
        Some(block)
    }
}

#[cfg(test)]
mod tests;
