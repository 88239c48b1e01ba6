//! A transaction for a chaincode: what it is given, what it may ask of the peer, and how it ends.

use std::sync::Arc;

use fabric_protos::prost::Message;
use fabric_protos::protos::chaincode_message::Type;
use fabric_protos::protos::{ChaincodeEvent, ChaincodeInput, ChaincodeMessage, Proposal, Response, SignedProposal};
use futures::future::BoxFuture;

use super::error::{ExecuteError, ExecuteReason};
use crate::ledger::SharedSimulation;

/// What a transaction's creator may do with a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionAccess {
    /// Read its keys.
    pub read: bool,
    /// Write them.
    pub write: bool,
}

/// What a running chaincode may ask of its peer beyond its own ledger.
///
/// Errors are Fabric's texts, from after `<message type> failed: transaction ID: <ID>: `.
pub trait Host: Send + Sync {
    /// What the transaction's creator may do with a collection, on this peer.
    ///
    /// # Errors
    ///
    /// The collection does not exist, or the creator is nobody.
    fn collection(&self, namespace: &str, collection: &str) -> Result<CollectionAccess, String>;

    /// Calls another chaincode for the same transaction: `name` on the same channel, with the same
    /// simulation, or `name/channel`. The answer is the message with which that one ended, COMPLETED
    /// or ERROR: the caller's own library makes a response of either.
    ///
    /// # Errors
    ///
    /// It may not be called (the text as it is), or was not executed (`execute failed: ` and an
    /// [`ExecuteReason`]).
    fn invoke(
        &self,
        target: &str,
        input: ChaincodeInput,
        simulation: SharedSimulation,
    ) -> BoxFuture<'_, Result<ChaincodeMessage, String>>;

    /// Whether the channel has key-level endorsement, and with it metadata of keys.
    ///
    /// # Errors
    ///
    /// It has not.
    fn key_level_endorsement(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether private data may be purged on the channel.
    ///
    /// # Errors
    ///
    /// It may not.
    fn purge_private_data(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A transaction for a chaincode to execute.
pub struct Call {
    /// The channel.
    pub channel: String,
    /// The transaction.
    pub transaction_id: String,
    /// The chaincode's name, which is its namespace.
    pub chaincode: String,
    /// What runs under that name.
    pub package_id: String,
    /// What it is called with, decorations included.
    pub input: ChaincodeInput,
    /// Whether it is sent as INIT.
    pub is_init: bool,
    /// The client's proposal, which the chaincode gets, too.
    pub signed_proposal: SignedProposal,
    /// The same, decoded.
    pub proposal: Proposal,
    /// What it does to the ledger.
    pub simulation: SharedSimulation,
    /// What else it may ask.
    pub host: Arc<dyn Host>,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Executed {
    /// The chaincode's response, whatever its status.
    pub response: Response,
    /// The event that it set, with the chaincode's name and the transaction in it.
    pub event: Option<ChaincodeEvent>,
}

impl Executed {
    /// What a chaincode's last message says.
    ///
    /// # Errors
    ///
    /// It says that the transaction failed, or holds no response.
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
