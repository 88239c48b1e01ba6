//! An orderer's own signatures of raft blocks.
//!
//! Each raft orderer signs the blocks of its ledger, so it delivers them with its own signature and not the
//! leader's (`orderer/common/multichannel/blockwriter.go`). Blocks from before it joined keep their signature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fabric_protos::common::Block;

use super::writer;
use crate::block_store::{BlockStore, Position};
use crate::ledger::header_hash;
use crate::signer::Signer;

/// The signatures of one orderer in one channel, created on demand.
#[derive(Clone, Debug)]
pub(crate) struct Signatures {
    /// The number of the first block that it signs.
    since: u64,
    store: BlockStore,
    /// Where signature metadata is in the store, by the hash of the block's header.
    made: Arc<Mutex<HashMap<[u8; 32], Position>>>,
}

impl Signatures {
    pub(crate) fn new(since: u64, store: BlockStore) -> Self {
        Self { since, store, made: Arc::default() }
    }

    /// The block with this orderer's signature.
    pub(crate) fn on(&self, mut block: Block, signer: &Signer) -> Block {
        let Some(header) = block.header.as_ref().filter(|header| header.number >= self.since) else { return block };
        let key = header_hash(header);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match made.get(&key).and_then(|position| self.store.bytes(*position)) {
            Some(own) => Some(own),
            None => match writer::sign_as(&block, signer) {
                Ok(own) => own.inspect(|own| {
                    made.insert(key, self.store.append_bytes(own.clone()));
                }),
                Err(error) => {
                    tracing::error!("cannot sign a block again, which keeps another orderer's signature: {error}");
                    None
                }
            },
        };
        drop(made);
        if let Some(own) = own {
            writer::set_signatures(&mut block, own);
        }
        block
    }
}
