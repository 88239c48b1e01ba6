//! Fabric's gateway service: evaluate, endorse, submit, wait for the commit, chaincode events.
//!
//! The gateway chooses endorsing peers and orderers; the client signs each step. Source: Fabric's
//! `internal/pkg/gateway`.

use std::time::Duration;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::gateway::gateway_client::GatewayClient;
use fabric_protos::gateway::{
    CommitStatusRequest, EndorseRequest, EndorseResponse, EvaluateRequest, EvaluateResponse, SignedCommitStatusRequest,
    SubmitRequest,
};
use fabric_protos::protos::{Response, SignedProposal, TxValidationCode};
use futures::future::try_join_all;
use prost::Message as _;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;

use super::endorser::PeerClient;
use super::error::ClientError;
use super::proposal::{Invocation, Proposal, Transaction};
use super::transport::timed_out;
use crate::journal::decode;
use crate::wait::{self, Poll};

/// How long a submitted transaction may stay uncommitted before it is submitted again.
const RESUBMIT_AFTER: Duration = Duration::from_secs(5);

/// A transaction on the ledger, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its ID.
    pub transaction_id: String,
    /// The block that holds it.
    pub block_number: u64,
}

/// What a submitted function returned, and where its transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Payload of the chaincode's response.
    pub result: Vec<u8>,
    /// The transaction.
    pub committed: Committed,
}

impl PeerClient {
    /// Runs a function on a peer that the gateway chooses, and returns the payload of its response;
    /// nothing is ordered.
    ///
    /// `organizations` are MSP IDs of which one must run it; if empty, the gateway chooses.
    ///
    /// # Errors
    /// [`ClientError::Status`], in which [`ClientError::chaincode_error`] finds the chaincode's own;
    /// and as any call.
    pub async fn evaluate(
        &self,
        invocation: &Invocation,
        organizations: &[String],
        deadline: Instant,
    ) -> Result<Vec<u8>, ClientError> {
        Ok(self.evaluate_response(invocation, organizations, deadline).await?.payload)
    }

    /// As [`evaluate`](Self::evaluate), with the whole response: its status is below 400.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_response(
        &self,
        invocation: &Invocation,
        organizations: &[String],
        deadline: Instant,
    ) -> Result<Response, ClientError> {
        let operation = "evaluate";
        let proposal = invocation.propose(&self.signer)?;
        let (transaction_id, signed) = (proposal.transaction_id, proposal.signed);
        let request = EvaluateRequest {
            transaction_id: transaction_id.clone(),
            channel_id: proposal.channel,
            proposed_transaction: Some(signed.clone()),
            target_organizations: organizations.to_vec(),
        };
        let mut gateway = self.gateway();
        let call = self.node.call(operation, deadline, gateway.evaluate(request));
        let describe = |answer: &EvaluateResponse| result(&signed, answer.result.as_ref());
        let answer = self.noted("Evaluate", &transaction_id, || decode::proposal(&signed), call, describe).await?;
        answer.result.ok_or_else(|| ClientError::malformed(operation, self.name(), "no result in it"))
    }

    /// Lets the gateway collect endorsements for a proposal, and signs the resulting transaction.
    ///
    /// `organizations` are the MSP IDs whose peers must endorse; if empty, the gateway chooses
    /// peers that satisfy the chaincode's policy.
    ///
    /// # Errors
    /// [`ClientError::Status`] with what each peer answered; and as any call.
    pub async fn endorse(
        &self,
        proposal: &Proposal,
        organizations: &[String],
        deadline: Instant,
    ) -> Result<Transaction, ClientError> {
        let operation = "endorse";
        let request = EndorseRequest {
            transaction_id: proposal.transaction_id.clone(),
            channel_id: proposal.channel.clone(),
            proposed_transaction: Some(proposal.signed.clone()),
            endorsing_organizations: organizations.to_vec(),
        };
        let mut gateway = self.gateway();
        let call = self.node.call(operation, deadline, gateway.endorse(request));
        let asked = || decode::proposal(&proposal.signed);
        let describe = |answer: &EndorseResponse| {
            let prepared = answer.prepared_transaction.clone();
            let prepared = prepared.and_then(|envelope| proposal.prepared(envelope, &self.signer).ok());
            result(&proposal.signed, prepared.and_then(|transaction| transaction.response().ok()).as_ref())
        };
        let answer = self.noted("Endorse", &proposal.transaction_id, asked, call, describe).await?;
        let envelope = answer
            .prepared_transaction
            .ok_or_else(|| ClientError::malformed(operation, self.name(), "no prepared transaction in it"))?;
        Ok(proposal.prepared(envelope, &self.signer)?)
    }

    /// Waits until the gateway knows peers of these organizations that have the chaincode.
    ///
    /// A gateway learns by gossip of other organizations' peers and their chaincodes, which can take
    /// seconds after the commit of the definition. Until then [`endorse`](Self::endorse) fails
    /// immediately with `failed to find any endorsing peers` or `no combination of peers can be derived`.
    /// `invocation` is endorsed and never submitted; any answer of the chaincode will do.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] with the gateway's last answer; and as any call.
    pub async fn await_endorsers(
        &self,
        invocation: &Invocation,
        organizations: &[String],
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let operation = "wait for endorsing peers";
        let bound = deadline.saturating_duration_since(Instant::now());
        let known = wait::until(operation, bound, async || {
            let proposal = invocation.propose(&self.signer)?;
            // The whole wait is bounded, not each attempt: that would lose the last status.
            let ample = deadline + Duration::from_secs(1);
            match self.endorse(&proposal, organizations, ample).await {
                Err(ClientError::Status { code: Code::Unavailable | Code::FailedPrecondition, message, .. }) => {
                    Ok(Poll::NotYet(message))
                }
                Err(failed) if failed.chaincode_error().is_none() => Err(failed),
                _ => Ok(Poll::Ready(())),
            }
        });
        known.await.map_err(|ended| timed_out(operation, self.name(), ended))
    }

    /// Sends a signed transaction to the ordering service.
    ///
    /// An ordering service without a leader answers UNAVAILABLE; the same transaction is then submitted
    /// again until the deadline. If it is ordered twice, only the first one is valid.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] with the last answer; and as any call.
    pub async fn submit(&self, transaction: &Transaction, deadline: Instant) -> Result<(), ClientError> {
        let operation = "submit";
        let bound = deadline.saturating_duration_since(Instant::now());
        let ordered = wait::until(operation, bound, async || {
            let request = SubmitRequest {
                transaction_id: transaction.transaction_id.clone(),
                channel_id: transaction.channel.clone(),
                prepared_transaction: Some(transaction.envelope.clone()),
            };
            let mut gateway = self.gateway();
            let call = async {
                let answer = gateway.submit(request).await;
                answer.map_err(|status| ClientError::from_status(operation, self.name(), &status))
            };
            let asked = || format!("{}: {} bytes", transaction.channel, transaction.envelope.payload.len());
            let describe = |_: &_| "accepted by the ordering service".to_owned();
            match self.noted("Submit", &transaction.transaction_id, asked, call, describe).await {
                Ok(_) => Ok(Poll::Ready(())),
                Err(failed @ ClientError::Status { code: Code::Unavailable, .. }) => {
                    Ok(Poll::NotYet(failed.to_string()))
                }
                Err(failed) => Err(failed),
            }
        });
        ordered.await.map_err(|ended| timed_out(operation, self.name(), ended))
    }

    /// Waits until this peer has committed a transaction.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] with the validation code when it was committed as invalid; and as
    /// any call.
    pub async fn commit_status(
        &self,
        channel: &str,
        transaction_id: &str,
        deadline: Instant,
    ) -> Result<Committed, ClientError> {
        let operation = "wait for the commit";
        let request = CommitStatusRequest {
            transaction_id: transaction_id.to_owned(),
            channel_id: channel.to_owned(),
            identity: self.signer.creator().to_vec(),
        }
        .encode_to_vec();
        let signature = self.signer.sign(&request)?;
        let mut gateway = self.gateway();
        let call = gateway.commit_status(SignedCommitStatusRequest { request, signature });
        let call = async {
            let answer = self.node.call(operation, deadline, call).await?;
            if answer.result == i32::from(TxValidationCode::Valid) {
                return Ok(Committed { transaction_id: transaction_id.to_owned(), block_number: answer.block_number });
            }
            let code = TxValidationCode::try_from(answer.result);
            Err(ClientError::Invalid {
                transaction_id: transaction_id.to_owned(),
                block_number: answer.block_number,
                code: code.map_or_else(|_| answer.result.to_string(), |code| code.as_str_name().to_owned()),
            })
        };
        let describe = |committed: &Committed| format!("VALID, block {}", committed.block_number);
        self.noted("CommitStatus", transaction_id, || channel.to_owned(), call, describe).await
    }

    /// Endorses, signs, submits, and waits until this peer has committed: one transaction.
    ///
    /// `organizations` as in [`endorse`](Self::endorse).
    ///
    /// # Errors
    /// As the four steps.
    pub async fn submit_transaction(
        &self,
        invocation: &Invocation,
        organizations: &[String],
        deadline: Instant,
    ) -> Result<Submitted, ClientError> {
        self.submit_transaction_to(invocation, organizations, std::slice::from_ref(self), deadline).await
    }

    /// As [`submit_transaction`](Self::submit_transaction), but waits until each of `peers` has
    /// committed.
    ///
    /// # Errors
    /// As the four steps.
    pub async fn submit_transaction_to(
        &self,
        invocation: &Invocation,
        organizations: &[String],
        peers: &[PeerClient],
        deadline: Instant,
    ) -> Result<Submitted, ClientError> {
        let proposal = invocation.propose(&self.signer)?;
        let transaction = self.endorse(&proposal, organizations, deadline).await?;
        let result = transaction.result().map_err(|bad| ClientError::malformed("endorse", self.name(), bad))?;
        let committed = self.commit(&transaction, peers, deadline).await?;
        Ok(Submitted { result, committed })
    }

    /// Submits a signed transaction and waits until each of `peers` has committed it.
    ///
    /// A raft leader that steps down silently drops transactions that are accepted but not yet
    /// replicated. So a transaction that is not committed after five seconds, then ten and so on, is
    /// submitted again. If it is ordered twice, the second is invalid, and the commit status is that of
    /// the first.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`commit_status`](Self::commit_status).
    pub async fn commit(
        &self,
        transaction: &Transaction,
        peers: &[PeerClient],
        deadline: Instant,
    ) -> Result<Committed, ClientError> {
        let mut interval = RESUBMIT_AFTER;
        loop {
            self.submit(transaction, deadline).await?;
            let until = deadline.min(Instant::now() + interval);
            match await_commit(peers, &transaction.channel, &transaction.transaction_id, until).await {
                Err(ClientError::TimedOut { .. }) if until < deadline => interval *= 2,
                result => return result,
            }
        }
    }

    pub(super) fn gateway(&self) -> GatewayClient<Channel> {
        GatewayClient::new(self.node.channel())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// A gateway's answer as the journal shows it. Responses to transient data are shown by size only.
fn result(proposal: &SignedProposal, answer: Option<&Response>) -> String {
    match answer {
        None => "no result".to_owned(),
        Some(answer) if decode::has_transient_data(proposal) => {
            format!("status {}, {} bytes", answer.status, answer.payload.len())
        }
        Some(answer) => decode::response(answer),
    }
}

/// Waits until each of `peers` has committed a transaction.
///
/// # Errors
/// The first error of [`PeerClient::commit_status`].
pub async fn await_commit(
    peers: &[PeerClient],
    channel: &str,
    transaction_id: &str,
    deadline: Instant,
) -> Result<Committed, ClientError> {
    let waiting = peers.iter().map(|peer| peer.commit_status(channel, transaction_id, deadline));
    let committed = try_join_all(waiting).await?;
    committed.into_iter().next().ok_or(ClientError::NoPeer { operation: "wait for the commit" })
}
