//! How a committed block is stored: what a peer keeps with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric_protos::common::Block;
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::chain::{StoredBlock, StoredTransaction, TransactionKind};
use super::hash::header_hash;
use crate::block_store::Stored;

/// What a peer keeps with a block.
#[derive(Clone, PartialEq, Message)]
struct Rest {
    #[prost(message, repeated, tag = "1")]
    transactions: Vec<Transaction>,
    #[prost(btree_map = "uint64, message", tag = "2")]
    private: BTreeMap<u64, TxPvtReadWriteSet>,
    #[prost(message, repeated, tag = "3")]
    expiry: Vec<Expiry>,
}

#[derive(Clone, PartialEq, Message)]
struct Transaction {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int32, tag = "2")]
    code: i32,
    #[prost(enumeration = "Kind", tag = "3")]
    kind: i32,
    #[prost(message, optional, tag = "4")]
    event: Option<ChaincodeEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Kind {
    Endorser = 0,
    Config = 1,
    Other = 2,
}

#[derive(Clone, PartialEq, Message)]
struct Expiry {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    collection: String,
    #[prost(uint64, tag = "3")]
    block: u64,
}

impl Stored for StoredBlock {
    fn block(&self) -> &Block {
        &self.block
    }

    fn rest(&self) -> Vec<u8> {
        let expiry = self.expiry.iter().map(|((namespace, collection), block)| Expiry {
            namespace: namespace.clone(),
            collection: collection.clone(),
            block: *block,
        });
        let rest = Rest {
            transactions: self.transactions.iter().map(Transaction::from).collect(),
            private: self.private.iter().map(|(number, set)| (*number, TxPvtReadWriteSet::clone(set))).collect(),
            expiry: expiry.collect(),
        };
        rest.encode_to_vec()
    }

    fn from_parts(block: Block, rest: &[u8]) -> Option<Self> {
        let Rest { transactions, private, expiry } = Rest::decode(rest).ok()?;
        let expiry = expiry.into_iter().map(|one| ((one.namespace, one.collection), one.block));
        Some(Self {
            hash: header_hash(block.header.as_ref()?),
            block: Arc::new(block),
            transactions: transactions.into_iter().map(StoredTransaction::from).collect(),
            private: private.into_iter().map(|(number, set)| (number, Arc::new(set))).collect(),
            expiry: expiry.collect(),
        })
    }
}

impl From<&StoredTransaction> for Transaction {
    fn from(StoredTransaction { id, code, kind, event }: &StoredTransaction) -> Self {
        let kind = match kind {
            TransactionKind::Endorser => Kind::Endorser,
            TransactionKind::Config => Kind::Config,
            TransactionKind::Other => Kind::Other,
        };
        Self { id: id.clone(), code: (*code).into(), kind: kind.into(), event: event.clone() }
    }
}

impl From<Transaction> for StoredTransaction {
    fn from(stored: Transaction) -> Self {
        let kind = match stored.kind() {
            Kind::Endorser => TransactionKind::Endorser,
            Kind::Config => TransactionKind::Config,
            Kind::Other => TransactionKind::Other,
        };
        let code = TxValidationCode::try_from(stored.code).unwrap_or(TxValidationCode::NotValidated);
        Self { id: stored.id, code, kind, event: stored.event }
    }
}
