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

const SUBMIT: &str = "submit";

/// How long an accepted transaction may stay uncommitted before it is submitted again.
const RESUBMIT_AFTER: Duration = Duration::from_secs(5);

/// Pause after a submit that was not accepted. It doubles with each, up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Longest pause between two submits that were not accepted. An election takes about a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// The gateway's text while it knows no peer with the chaincode (`internal/pkg/gateway/registry.go`).
const NO_EVALUATORS: &str = "no peers available to evaluate chaincode";

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

    /// Evaluates a call until the chaincode answers; an error of the chaincode is an answer as well, and so is a
    /// refusal of the gateway. Repeats it only while no peer is known to have the chaincode, or none is reached.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] with the gateway's last answer; and as any call.
    pub async fn await_chaincode(&self, invocation: &Invocation, deadline: Instant) -> Result<(), ClientError> {
        let operation = "evaluate";
        let bound = deadline.saturating_duration_since(Instant::now());
        let answered = wait::until(operation, bound, async || {
            // The whole wait is bounded, not each attempt: that would lose the last status.
            let ample = deadline + Duration::from_secs(1);
            match self.evaluate(invocation, &[], ample).await {
                Err(ClientError::Status { code: Code::FailedPrecondition, message, .. })
                    if message.contains(NO_EVALUATORS) =>
                {
                    Ok(Poll::NotYet(message))
                }
                Err(ClientError::Status { code: Code::FailedPrecondition, .. }) => Ok(Poll::Ready(())),
                Err(failed @ ClientError::Status { code: Code::Unavailable, .. }) => {
                    Ok(Poll::NotYet(failed.to_string()))
                }
                Err(failed) if failed.chaincode_error().is_none() => Err(failed),
                _ => Ok(Poll::Ready(())),
            }
        });
        answered.await.map_err(|ended| timed_out(operation, self.name(), ended))
    }

    /// Sends a signed transaction to the ordering service, once.
    ///
    /// # Errors
    /// As any call. After an error for which [`ClientError::is_ambiguous`] holds, the transaction may be ordered:
    /// [`commit`](Self::commit) finds out.
    pub async fn submit(&self, transaction: &Transaction, deadline: Instant) -> Result<(), ClientError> {
        let request = SubmitRequest {
            transaction_id: transaction.transaction_id.clone(),
            channel_id: transaction.channel.clone(),
            prepared_transaction: Some(transaction.envelope.clone()),
        };
        let mut gateway = self.gateway();
        let call = self.node.call(SUBMIT, deadline, gateway.submit(request));
        let asked = || format!("{}: {} bytes", transaction.channel, transaction.envelope.payload.len());
        let describe = |_: &_| "accepted by the ordering service".to_owned();
        self.noted("Submit", &transaction.transaction_id, asked, call, describe).await.map(drop)
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
    /// The commit status decides. Until it is known, the transaction is submitted again. If it is ordered twice,
    /// the second is invalid, and the status is that of the first. Two things make this necessary:
    /// - A raft leader that steps down silently drops transactions that are accepted but not yet replicated. So an
    ///   accepted transaction is submitted again after five seconds, then ten and so on.
    /// - An ordering service that answers UNAVAILABLE may have ordered the transaction, or will do so later. A BFT
    ///   orderer whose leader was faster than the client answers `request already processed`; one without a leader
    ///   has ordered nothing. So it is submitted again after a pause that doubles.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`commit_status`](Self::commit_status); at the deadline
    /// [`ClientError::TimedOut`], with the last answer to a submit that was not accepted.
    pub async fn commit(
        &self,
        transaction: &Transaction,
        peers: &[PeerClient],
        deadline: Instant,
    ) -> Result<Committed, ClientError> {
        let begin = Instant::now();
        let mut refused = self.try_submit(transaction, deadline).await?;
        let status = await_commit(peers, &transaction.channel, &transaction.transaction_id, deadline);
        let mut status = std::pin::pin!(status);
        let (mut patience, mut pause) = (RESUBMIT_AFTER, SHORTEST_PAUSE);
        let ended = loop {
            let interval = if refused.is_some() { &mut pause } else { &mut patience };
            let again = async {
                tokio::time::sleep(*interval).await;
                self.try_submit(transaction, deadline).await
            };
            tokio::select! {
                biased;
                ended = &mut status => break ended,
                attempt = again => refused = attempt?,
            }
            patience = if refused.is_some() { patience } else { patience * 2 };
            pause = LONGEST_PAUSE.min(pause * 2);
        };
        match (ended, refused) {
            (Err(ClientError::TimedOut { .. }), Some(refused)) => Err(ClientError::TimedOut {
                operation: SUBMIT,
                node: self.name().to_owned(),
                waited: begin.elapsed(),
                last: Some(refused.to_string()),
            }),
            (ended, _) => ended,
        }
    }

    /// Submits once. `None` if the ordering service has the transaction; an error if it may have it.
    async fn try_submit(
        &self,
        transaction: &Transaction,
        deadline: Instant,
    ) -> Result<Option<ClientError>, ClientError> {
        match self.submit(transaction, deadline).await {
            Ok(()) => Ok(None),
            Err(failed) if failed.is_ordered_already() => Ok(None),
            Err(failed) if failed.is_ambiguous() => Ok(Some(failed)),
            Err(failed) => Err(failed),
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
