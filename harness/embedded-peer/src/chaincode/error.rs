//! What goes wrong with chaincode, in Fabric's words: the texts reach clients.

use super::builder::BuildError;
use super::package::{PackageError, SaveError};

/// Why a chaincode was not installed. Displays as Fabric does, from after `failed to invoke backing
/// implementation of 'InstallChaincode': `; see [`is_timeout`](Self::is_timeout) for the exception.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The bytes are no package.
    #[error("could not parse as a chaincode install package: {0}")]
    Package(#[from] PackageError),
    /// It cannot be stored.
    #[error("could not save cc install package: {0}")]
    Save(#[from] SaveError),
    /// It is there and was built.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    AlreadyInstalled(String),
    /// It was not built.
    #[error("could not build chaincode: {0}")]
    Build(#[from] BuildError),
    /// Building takes too long. It goes on.
    #[error("timeout expired while executing transaction")]
    Timeout,
    /// The peer is being stopped.
    #[error("the peer is being stopped")]
    Stopped,
}

impl InstallError {
    /// Whether it is the time-out, about which Fabric does not speak as of other failures: `error in
    /// simulation: failed to execute transaction <ID>: error sending: ` comes before it then.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

/// Why a chaincode does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not launch chaincode {package_id}: {reason}")]
pub struct LaunchError {
    /// The package ID.
    pub package_id: String,
    /// Why, in Fabric's words, and the cause where those do not tell it.
    pub reason: String,
}

/// Why a transaction was not executed. Displays as Fabric does, from after `error in simulation: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteError {
    /// The transaction.
    pub transaction_id: String,
    /// Why.
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

/// Why a transaction was not executed. Displays without the transaction: so it follows `execute
/// failed: ` when one chaincode called another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteReason {
    /// The chaincode does not run and cannot be made to.
    #[error("{0}")]
    Launch(#[from] LaunchError),
    /// The chaincode is executing this transaction already: it called itself.
    #[error("error sending: txid: {transaction_id}({channel}) exists")]
    Exists {
        /// The transaction.
        transaction_id: String,
        /// The channel.
        channel: String,
    },
    /// A fault that a test asked for.
    #[error("error sending: {0}")]
    Send(String),
    /// It took longer than the execute time-out.
    #[error("error sending: timeout expired while executing transaction")]
    Timeout,
    /// The connection broke meanwhile.
    #[error("error sending: chaincode stream terminated")]
    StreamTerminated,
    /// What the chaincode answered is no response.
    #[error("proto: {0}")]
    Response(String),
    /// The chaincode's library says that the transaction failed.
    #[error("transaction returned with failure: {0}")]
    Failed(String),
}
