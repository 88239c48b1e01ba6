//! What a ledger refuses, in Fabric's words: the texts reach chaincodes and clients.

use fabric_protos::prost::DecodeError;

/// Why a ledger refused a call.
///
/// Displays as Fabric's peer says it (`core/ledger`, `common/ledger/blkstorage`).
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The chaincode's definition has no collections at all.
    #[error(
        "collection config not defined for chaincode [{namespace}], pass the collection configuration upon chaincode \
         definition/instantiation"
    )]
    CollectionsNotDefined {
        /// The chaincode.
        namespace: String,
    },
    /// The chaincode's definition lacks this collection.
    #[error("collection [{collection}] not defined in the collection config for chaincode [{namespace}]")]
    CollectionNotDefined {
        /// The chaincode.
        namespace: String,
        /// The collection.
        collection: String,
    },
    /// The peer's collections could not be looked up.
    #[error("{0}")]
    Collections(String),
    /// This peer holds another version of a private value than the channel agreed on.
    #[error(
        "private data matching public hash version is not available. Public hash version = {public}, Private data \
         version = {private}"
    )]
    PrivateVersion {
        /// The version of the hash, as Fabric prints it.
        public: String,
        /// The version of the value that is here.
        private: String,
    },
    /// Private data cannot be queried after a write.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    )]
    PrivateQueryAfterWrite {
        /// The transaction's identifier.
        transaction: String,
    },
    /// Nothing can be written after a query of private data.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes \
         are not allowed"
    )]
    WriteAfterPrivateQuery {
        /// The transaction's identifier.
        transaction: String,
    },
    /// Pages cannot be read after a write.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    )]
    PageAfterWrite {
        /// The transaction's identifier.
        transaction: String,
    },
    /// Nothing can be written after a page was read.
    #[error(
        "txid [{transaction}]: unsuppored transaction. Transaction has already performed a paginated query. Writes \
         are not allowed"
    )]
    WriteAfterPage {
        /// The transaction's identifier.
        transaction: String,
    },
    /// `LevelDB` has no rich queries.
    #[error("ExecuteQuery not supported for leveldb")]
    QueryNotSupported,
    /// `LevelDB` has no rich queries, in pages neither.
    #[error("ExecuteQueryWithMetadata not supported for leveldb")]
    PagedQueryNotSupported,
    /// The results of a simulation were asked for twice.
    #[error("this function should only be called once on a transaction simulator instance")]
    AlreadyFinished,
    /// CouchDB does not take this key or value.
    #[error("{0}")]
    Unstorable(String),
    /// A rich query that is wrong.
    #[error("{0}")]
    Query(String),
    /// Bytes that are not the message they should be.
    #[error("could not decode the {what}")]
    Malformed {
        /// The message.
        what: &'static str,
        /// What the decoder said.
        #[source]
        source: DecodeError,
    },
    /// A block without a header.
    #[error("the block has no header")]
    NoHeader,
    /// A block out of turn.
    #[error("block number should have been {expected} but was {found}")]
    BlockNumber {
        /// The ledger's height.
        expected: u64,
        /// The block's number.
        found: u64,
    },
    /// A block of another chain.
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
    /// The caller validated another number of transactions than the block has.
    #[error("{checked} transactions were validated, but the block has {found}")]
    TransactionCount {
        /// As many results of validation.
        checked: usize,
        /// As many envelopes.
        found: usize,
    },
    /// History points at a transaction that does not hold the write.
    #[error(
        "no namespace or key is found for namespace {namespace} and key {key} with decoded blockNum {block} and \
         tranNum {transaction}"
    )]
    History {
        /// The chaincode.
        namespace: String,
        /// The key.
        key: String,
        /// The block's number.
        block: u64,
        /// The transaction's place in it.
        transaction: u64,
    },
}

impl LedgerError {
    pub(crate) fn malformed(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Malformed { what, source }
    }
}
