//! A peer client with one identity, and the endorser service.
//!
//! `channel` and `lifecycle` build proposals for system chaincodes; `gateway` uses the gateway service.

use std::sync::Arc;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::protos::endorser_client::EndorserClient;
use fabric_protos::protos::{ProposalResponse, Response};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::error::ClientError;
use super::proposal::{Invocation, Proposal, Transaction};
use super::signer::Signer;
use super::transport::Node;
use crate::journal::{Content, Journal, Party, decode};

/// A connected peer and the identity of the client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerClient {
    pub(super) node: Node,
    pub(super) signer: Arc<Signer>,
    journal: Journal,
}

impl PeerClient {
    /// Calls `node` as `signer`, without a journal.
    pub fn new(node: Node, signer: Arc<Signer>) -> Self {
        Self { node, signer, journal: Journal::off() }
    }

    /// Records each message to and from the peer in this journal.
    #[must_use]
    pub fn noting(mut self, journal: &Journal) -> Self {
        self.journal = journal.clone();
        self
    }

    /// The peer's name.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// The peer's connection.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The identity of the client.
    pub fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// The same peer with another identity.
    #[must_use]
    pub fn with_signer(&self, signer: Arc<Signer>) -> Self {
        Self { node: self.node.clone(), signer, journal: self.journal.clone() }
    }

    /// Lets this peer simulate and endorse a proposal.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the status and message of a response outside of 200 to 399;
    /// and as any call.
    pub async fn process_proposal(
        &self,
        operation: &'static str,
        proposal: &Proposal,
        deadline: Instant,
    ) -> Result<ProposalResponse, ClientError> {
        let mut client = EndorserClient::new(self.node.channel())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let call = client.process_proposal(proposal.signed.clone());
        let call = self.node.call(operation, deadline, call);
        let describe =
            |answer: &ProposalResponse| decode::response(answer.response.as_ref().unwrap_or(&Response::default()));
        let answer = self
            .noted("ProcessProposal", &proposal.transaction_id, || decode::proposal(&proposal.signed), call, describe)
            .await?;
        match &answer.response {
            None => Err(ClientError::malformed(operation, self.name(), "no response in it")),
            Some(response) if !(200..400).contains(&response.status) => Err(ClientError::Rejected {
                operation,
                node: self.name().to_owned(),
                status: response.status,
                message: response.message.clone(),
            }),
            Some(_) => Ok(answer),
        }
    }

    /// Makes a call, and records it and its answer in the journal.
    pub(super) async fn noted<T>(
        &self,
        kind: &'static str,
        transaction: &str,
        asked: impl FnOnce() -> String,
        call: impl Future<Output = Result<T, ClientError>>,
        answered: impl FnOnce(&T) -> String,
    ) -> Result<T, ClientError> {
        let content = |text: String, failed: bool| Content {
            kind: kind.to_owned(),
            text,
            transaction: transaction.to_owned(),
            failed,
        };
        self.journal.note(&Party::client(), &Party::peer(self.name()), || content(asked(), false));
        let answer = call.await;
        self.note_answer(|| match &answer {
            Ok(answer) => content(answered(answer), false),
            Err(error) => content(error.answer(), true),
        });
        answer
    }

    /// Records a message of the peer.
    pub(super) fn note_answer(&self, what: impl FnOnce() -> Content) {
        self.journal.note(&Party::peer(self.name()), &Party::client(), what);
    }

    /// Evaluates a function on this peer and returns the payload.
    pub(super) async fn query(
        &self,
        operation: &'static str,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Vec<u8>, ClientError> {
        let proposal = invocation.propose(&self.signer)?;
        let answer = self.process_proposal(operation, &proposal, deadline).await?;
        Ok(answer.response.unwrap_or_default().payload)
    }
}

/// Lets `peers` endorse the same proposal in parallel, and makes the transaction. The first client's
/// identity signs.
///
/// # Errors
/// The first failure; [`ClientError::Disagreement`] when the results differ.
pub async fn endorse(
    operation: &'static str,
    peers: &[PeerClient],
    invocation: &Invocation,
    deadline: Instant,
) -> Result<Transaction, ClientError> {
    let first = peers.first().ok_or(ClientError::NoPeer { operation })?;
    let proposal = invocation.propose(&first.signer)?;
    let asked = peers.iter().map(|peer| peer.process_proposal(operation, &proposal, deadline));
    let responses = try_join_all(asked).await?;
    let differs = responses.iter().position(|response| response.payload != responses[0].payload);
    if let Some(other) = differs {
        return Err(ClientError::Disagreement {
            operation,
            first: first.name().to_owned(),
            second: peers[other].name().to_owned(),
        });
    }
    Ok(proposal.endorsed(&responses, &first.signer)?)
}
