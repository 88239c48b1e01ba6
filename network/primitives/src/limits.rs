//! Limits that peers, orderers and their clients share.

/// The most bytes of one gRPC message, in either direction: 100 MiB. Also the most bytes of a chaincode
/// package, which a peer receives in one message. Source: `DefaultMaxRecvMsgSize` and
/// `DefaultMaxSendMsgSize` in Fabric's `internal/pkg/comm/config.go`.
pub const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// Bytes of a nonce. Source: `NonceSize` in Fabric's `common/crypto/random.go`.
pub const NONCE_BYTES: usize = 24;
