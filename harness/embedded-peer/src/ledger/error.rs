//! Errors of the ledger. The texts are Fabric's because they reach chaincodes and clients.

use fabric_protos::prost::DecodeError;

/// Why a ledger call failed.
///
/// Displays Fabric's text (`core/ledger`, `common/ledger/blkstorage`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The chaincode's definition has no collections.
    #[error(
        "collection config not defined for chaincode [{namespace}], pass the collection configuration upon chaincode \
         definition/instantiation"
    )]
    CollectionsNotDefined {
        /// The chaincode's name.
        namespace: String,
    },
    /// The chaincode's definition has no such collection.
    #[error("collection [{collection}] not defined in the collection config for chaincode [{namespace}]")]
    CollectionNotDefined {
        /// The chaincode's name.
        namespace: String,
        /// The collection's name.
        collection: String,
    },
    /// The lookup of the peer's collections failed.
    #[error("{0}")]
    Collections(String),
    /// The version of a private value on this peer differs from the public hash.
    #[error(
        "private data matching public hash version is not available. Public hash version = {public}, Private data \
         version = {private}"
    )]
    PrivateVersion {
        /// The version of the hash, as printed by Fabric.
        public: String,
        /// The version of the private value.
        private: String,
    },
    /// A query of private data after a write.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    )]
    PrivateQueryAfterWrite {
        /// The transaction ID.
        transaction: String,
    },
    /// A write after a query of private data.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes \
         are not allowed"
    )]
    WriteAfterPrivateQuery {
        /// The transaction ID.
        transaction: String,
    },
    /// A paginated query after a write.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    )]
    PageAfterWrite {
        /// The transaction ID.
        transaction: String,
    },
    /// A write after a paginated query.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Transaction has already performed a paginated query. Writes \
         are not allowed"
    )]
    WriteAfterPage {
        /// The transaction ID.
        transaction: String,
    },
    /// `LevelDB` has no rich queries.
    #[error("ExecuteQuery not supported for leveldb")]
    QueryNotSupported,
    /// `LevelDB` has no paginated rich queries.
    #[error("ExecuteQueryWithMetadata not supported for leveldb")]
    PagedQueryNotSupported,
    /// The results of a simulation were requested twice.
    #[error("this function should only be called once on a transaction simulator instance")]
    AlreadyFinished,
    /// CouchDB does not accept this key or value.
    #[error("{0}")]
    Unstorable(String),
    /// A rich query is invalid.
    #[error("{0}")]
    Query(String),
    /// A message cannot be decoded.
    #[error("could not decode the {what}")]
    Malformed {
        /// The message's name.
        what: &'static str,
        /// The decoder's error.
        #[source]
        source: DecodeError,
    },
    /// A block without a header.
    #[error("the block has no header")]
    NoHeader,
    /// A block with the wrong number.
    #[error("block number should have been {expected} but was {found}")]
    BlockNumber {
        /// The ledger's height.
        expected: u64,
        /// The block's number.
        found: u64,
    },
    /// A block with the wrong previous hash.
    #[error(
        "unexpected Previous block hash. Expected PreviousHash = [{expected}], PreviousHash referred in the latest \
         block= [{found}]"
    )]
    PreviousHash {
        /// The hash of the newest block, in hex.
        expected: String,
        /// The hash in the block's header, in hex.
        found: String,
    },
    /// The number of validated transactions differs from the block's.
    #[error("{checked} transactions were validated, but the block has {found}")]
    TransactionCount {
        /// The number of validation results.
        checked: usize,
        /// The number of envelopes.
        found: usize,
    },
    /// The history index names a transaction without the write.
    #[error(
        "no namespace or key is found for namespace {namespace} and key {key} with decoded blockNum {block} and \
         tranNum {transaction}"
    )]
    History {
        /// The chaincode's name.
        namespace: String,
        /// The key.
        key: String,
        /// The block's number.
        block: u64,
        /// The transaction's index in the block.
        transaction: u64,
    },
    /// A stored block cannot be read.
    #[error("cannot read block {block} from the file of blocks")]
    Unreadable {
        /// The block's number.
        block: u64,
    },
}

impl LedgerError {
    pub(crate) fn malformed(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Malformed { what, source }
    }
}
