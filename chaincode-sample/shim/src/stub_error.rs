//! Errors of ledger calls.

/// Why a ledger call failed.
///
/// With `?` it becomes the transaction's [`Error`](crate::Error), with the same message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The peer answered with ERROR; this is its message.
    #[error("{0}")]
    Peer(String),
    /// `invoke` has returned, so the response is already sent.
    #[error("the transaction has ended: call the ledger before invoke returns")]
    Ended,
    /// The peer or the network closed the stream.
    #[error("the stream to the peer has ended")]
    Disconnected,
    /// The request exceeds the maximum message size.
    #[error("the request has {size} bytes, the maximum is {limit}")]
    TooLarge {
        /// Size of the encoded message in bytes.
        size: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// An argument that every peer would reject.
    #[error("{0}")]
    Invalid(String),
    /// The peer's answer cannot be decoded.
    #[error("invalid answer to {request}")]
    Malformed {
        /// The message that was answered.
        request: &'static str,
        /// What is wrong with it.
        #[source]
        source: prost::DecodeError,
    },
}
