//! A transaction that a chaincode executes: its input, its access to the peer, and its result.

use std::sync::Arc;

use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeEvent, ChaincodeInput, ChaincodeMessage, Proposal, Response, SignedProposal};
use futures::future::BoxFuture;

use super::error::{ExecuteError, ExecuteReason};
use crate::ledger::SharedSimulation;

/// The access of a transaction's creator to a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionAccess {
    /// May read keys.
    pub read: bool,
    /// May write keys.
    pub write: bool,
}

/// The peer's services for a running chaincode beyond its own ledger.
///
/// Errors are Fabric's texts, after `<message type> failed: transaction ID: <ID>: `.
pub trait Host: Send + Sync {
    /// The access of the transaction's creator to a collection on this peer.
    ///
    /// # Errors
    ///
    /// The collection does not exist, or the creator is unknown.
    fn collection(&self, namespace: &str, collection: &str) -> Result<CollectionAccess, String>;

    /// Calls another chaincode in the same transaction. `name` is on the same channel and shares
    /// the simulation; `name/channel` is on another channel. Returns the final message of the
    /// called chaincode, COMPLETED or ERROR: the caller's shim turns both into a response.
    ///
    /// # Errors
    ///
    /// The call is not allowed (plain text), or failed (`execute failed: ` and an
    /// [`ExecuteReason`]).
    fn invoke(
        &self,
        target: &str,
        input: ChaincodeInput,
        simulation: SharedSimulation,
    ) -> BoxFuture<'_, Result<ChaincodeMessage, String>>;

    /// Checks that the channel supports key-level endorsement, which key metadata requires.
    ///
    /// # Errors
    ///
    /// The channel does not support it.
    fn key_level_endorsement(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks that the channel supports purging private data.
    ///
    /// # Errors
    ///
    /// The channel does not support it.
    fn purge_private_data(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A transaction for a chaincode to execute.
pub struct Call {
    /// The channel's name.
    pub channel: String,
    /// The transaction ID.
    pub transaction_id: String,
    /// The chaincode's name, which is also its namespace.
    pub chaincode: String,
    /// The package to execute.
    pub package_id: String,
    /// The arguments, including decorations.
    pub input: ChaincodeInput,
    /// Whether to send INIT instead of TRANSACTION.
    pub is_init: bool,
    /// The client's proposal, passed on to the chaincode.
    pub signed_proposal: SignedProposal,
    /// The decoded proposal.
    pub proposal: Proposal,
    /// The simulation that the transaction reads and writes.
    pub simulation: SharedSimulation,
    /// The peer's other services.
    pub host: Arc<dyn Host>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    /// The chaincode's response, whatever its status.
    pub response: Response,
    /// The chaincode's event, with chaincode name and transaction ID set.
    pub event: Option<ChaincodeEvent>,
}

impl Executed {
    /// Decodes a chaincode's final message.
    ///
    /// # Errors
    ///
    /// The message is ERROR, or holds no valid response.
    pub fn from_message(
        message: ChaincodeMessage,
        transaction_id: &str,
        chaincode: &str,
    ) -> Result<Self, ExecuteError> {
        let failed = |reason| ExecuteError { transaction_id: transaction_id.to_owned(), reason };
        if message.r#type == i32::from(Type::Error) {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            return Err(failed(ExecuteReason::Failed(text)));
        }
        let response =
            Response::decode(message.payload).map_err(|error| failed(ExecuteReason::Response(error.to_string())))?;
        let event = message.chaincode_event.map(|event| ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            tx_id: transaction_id.to_owned(),
            ..event
        });
        Ok(Self { response, event })
    }
}
