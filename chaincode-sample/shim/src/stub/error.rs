//! Why a call of the ledger failed.

/// Why a call of the ledger failed.
///
/// By `?` it becomes the transaction's own error, with the same text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StubError {
    /// The peer answered with ERROR; this is its text.
    #[error("{0}")]
    Peer(String),
    /// `invoke` has returned, so the transaction's answer is given.
    #[error("the transaction has ended: call the ledger before invoke returns")]
    Ended,
    /// The peer, or the network, ended the stream.
    #[error("the stream to the peer has ended")]
    Disconnected,
    /// More than a message can hold.
    #[error("the request has {size} bytes, and a message at most {limit}")]
    TooLarge {
        /// Bytes of the encoded message.
        size: usize,
        /// Bytes that are possible.
        limit: usize,
    },
    /// An argument that no peer would take.
    #[error("{0}")]
    Invalid(String),
    /// The peer's answer is not what the protocol says.
    #[error("the peer's answer to {request} cannot be read")]
    Malformed {
        /// The message that was answered.
        request: &'static str,
        /// What is wrong with it.
        #[source]
        source: prost::DecodeError,
    },
}
