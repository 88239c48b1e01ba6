//! Errors of the chaincode side. The texts are Fabric's because they reach clients.

use super::builder::BuildError;
use super::package::{PackageError, SaveError};

/// Why an installation failed. Displays Fabric's text, after `failed to invoke backing
/// implementation of 'InstallChaincode': `; see [`is_timeout`](Self::is_timeout) for the exception.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The package is invalid.
    #[error("could not parse as a chaincode install package: {0}")]
    Package(#[from] PackageError),
    /// The package cannot be stored.
    #[error("could not save cc install package: {0}")]
    Save(#[from] SaveError),
    /// The package is already installed.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    AlreadyInstalled(String),
    /// The build failed.
    #[error("could not build chaincode: {0}")]
    Build(#[from] BuildError),
    /// The build timed out. It continues in the background.
    #[error("timeout expired while executing transaction")]
    Timeout,
    /// The peer is stopping.
    #[error("the peer is being stopped")]
    Stopped,
}

impl InstallError {
    /// Whether the error is the timeout, which Fabric reports with another prefix: `error in
    /// simulation: failed to execute transaction <ID>: error sending: `.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

/// Why a launch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not launch chaincode {package_id}: {reason}")]
pub struct LaunchError {
    /// The package ID.
    pub package_id: String,
    /// Fabric's text, followed by the cause where Fabric omits it.
    pub reason: String,
}

/// Why a transaction was not executed. Displays Fabric's text, after `error in simulation: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteError {
    /// The transaction ID.
    pub transaction_id: String,
    /// The reason.
    pub reason: ExecuteReason,
}

impl std::fmt::Display for ExecuteError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, reason) = (&self.transaction_id, &self.reason);
        match reason {
            ExecuteReason::Failed(_) => write!(formatter, "{reason}"),
            ExecuteReason::Response(_) => {
                write!(formatter, "failed to unmarshal response for transaction {id}: {reason}")
            }
            _ => write!(formatter, "failed to execute transaction {id}: {reason}"),
        }
    }
}

impl std::error::Error for ExecuteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// The reason without the transaction ID. After `execute failed: ` it reports a failed
/// chaincode-to-chaincode call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteReason {
    /// The chaincode does not run and cannot be launched.
    #[error("{0}")]
    Launch(#[from] LaunchError),
    /// The chaincode is already executing this transaction: it called itself.
    #[error("error sending: txid: {transaction_id}({channel}) exists")]
    Exists {
        /// The transaction ID.
        transaction_id: String,
        /// The channel's name.
        channel: String,
    },
    /// A fault injected by a test.
    #[error("error sending: {0}")]
    Send(String),
    /// The execute timeout expired.
    #[error("error sending: timeout expired while executing transaction")]
    Timeout,
    /// The connection broke.
    #[error("error sending: chaincode stream terminated")]
    StreamTerminated,
    /// The chaincode's response cannot be decoded.
    #[error("proto: {0}")]
    Response(String),
    /// The chaincode's shim reported a failure.
    #[error("transaction returned with failure: {0}")]
    Failed(String),
}
