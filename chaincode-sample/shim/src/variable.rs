//! Names of the environment variables that configure a chaincode server.
//!
//! They are those of `asset-transfer-basic/chaincode-external` in fabric-samples.

/// The package ID.
pub const CHAINCODE_ID: &str = "CHAINCODE_ID";
/// The address to listen on, `host:port`.
pub const SERVER_ADDRESS: &str = "CHAINCODE_SERVER_ADDRESS";
/// Whether TLS is disabled: `true` (the default) or `false`.
pub const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
/// The private key, a PEM file.
pub const TLS_KEY: &str = "CHAINCODE_TLS_KEY";
/// The certificate and its chain, a PEM file.
pub const TLS_CERT: &str = "CHAINCODE_TLS_CERT";
/// The CA certificates of the peers, a PEM file.
pub const CLIENT_CA_CERT: &str = "CHAINCODE_CLIENT_CA_CERT";
