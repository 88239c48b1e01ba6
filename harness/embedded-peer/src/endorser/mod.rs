//! Simulates and endorses proposals (`core/endorser`).
//!
//! The endorser checks a proposal, runs its chaincode on a simulation of the ledger, distributes
//! private data to member peers, and signs the result. The gateway calls the same functions without
//! gRPC.

mod host;
pub(crate) mod interest;
mod invocation;
pub mod response;

use std::sync::Arc;
use std::time::SystemTime;

use fabric_protos::protos::endorser_server::Endorser;
use fabric_protos::protos::{ChaincodeEvent, ProposalResponse, Response, SignedProposal};
use tonic::{Request, Status};

use crate::channel::{PeerChannel, is_system};
use crate::ledger::Simulated;
use crate::msp::{self, MspManager};
use crate::peer::{Peer, access, calls};
use crate::policy::SignedData;
use crate::proposal::{self, UnpackedProposal};
use crate::system;

/// Responses from this status on are failures (the shim's ERRORTHRESHOLD).
const FAILURE: i32 = 400;

/// From this status on the response contains the failed chaincode's payload (the shim's ERROR).
const ERROR: i32 = 500;

/// A peer's endorser.
#[derive(Clone, Debug)]
pub struct Service(pub Arc<Peer>);

#[tonic::async_trait]
impl Endorser for Service {
    async fn process_proposal(
        &self,
        request: Request<SignedProposal>,
    ) -> Result<tonic::Response<ProposalResponse>, Status> {
        let signed = request.into_inner();
        let asked = self.0.tracer.is_enabled().then(|| calls::proposal(Some(&signed)));
        let work = async {
            proposal::filter(&signed).map_err(Status::unknown)?;
            let proposal = UnpackedProposal::new(signed).map_err(Status::unknown)?;
            let response = endorse(&self.0, &Arc::new(proposal)).await;
            response.map_err(|refusal| Status::unknown(refusal.into_text()))
        };
        let answered = |answer: &ProposalResponse| {
            let response = answer.response.as_ref();
            response.map_or_else(String::new, |response| format!("status {} {}", response.status, response.message))
        };
        let method = "protos.Endorser/ProcessProposal";
        calls::call(&self.0, method, || asked.unwrap_or_default(), work, answered).await.map(tonic::Response::new)
    }
}

/// Why a proposal was rejected before execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The proposal is malformed, or its creator is not authorized.
    Proposal(String),
    /// A filter or the transport rejected it.
    Unanswered(String),
}

impl Refusal {
    pub(crate) fn unanswered(text: impl Into<String>) -> Self {
        Self::Unanswered(text.into())
    }

    fn into_text(self) -> String {
        match self {
            Self::Proposal(text) | Self::Unanswered(text) => text,
        }
    }
}

/// The result of a proposal.
#[derive(Debug)]
pub(crate) enum Executed {
    /// The peer failed to process it.
    Failed(String),
    /// The chaincode responded.
    Answered(Box<Answer>),
}

/// A chaincode's response and its simulation.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    event: Option<ChaincodeEvent>,
    /// The simulation's results; `None` for calls that need no simulation.
    simulated: Option<Simulated>,
    version: String,
}

impl Executed {
    /// The unsigned response to an evaluation, without the read-write set.
    pub(crate) fn unsigned(self) -> ProposalResponse {
        match self {
            Self::Failed(message) => failed(message),
            Self::Answered(answer) => {
                if let Some(Err(error)) = answer.simulated.as_ref().map(interest::check) {
                    return failed(format!("error in simulation: {error}"));
                }
                // A payload distinguishes failures of the chaincode from failures of the peer.
                let payload = if answer.response.status >= ERROR { vec![0] } else { Vec::new() };
                ProposalResponse { response: Some(answer.response), payload, ..ProposalResponse::default() }
            }
        }
    }
}

fn failed(message: String) -> ProposalResponse {
    ProposalResponse { response: Some(system::failure(message)), ..ProposalResponse::default() }
}

/// Runs a proposal and signs the result.
///
/// # Errors
///
/// The proposal is rejected. Later failures are reported in the response.
pub(crate) async fn endorse(peer: &Arc<Peer>, proposal: &Arc<UnpackedProposal>) -> Result<ProposalResponse, Refusal> {
    let answer = match execute(peer, proposal).await? {
        Executed::Failed(message) => return Ok(failed(message)),
        Executed::Answered(answer) => *answer,
    };
    let Answer { response, event, simulated, version } = answer;
    let interest = match simulated.as_ref().map(interest::interest).transpose() {
        Ok(interest) => interest,
        Err(error) => return Ok(failed(format!("error in simulation: {error}"))),
    };
    let results = simulated.map(|simulated| simulated.public).unwrap_or_default();
    let payload =
        || response::payload(&proposal.hash, &response, &results, event.as_ref(), &proposal.chaincode, &version);
    if response.status >= ERROR {
        let payload = payload();
        return Ok(ProposalResponse { response: Some(response), payload, interest, ..ProposalResponse::default() });
    }
    if proposal.channel().is_empty() || response.status >= FAILURE {
        return Ok(ProposalResponse { response: Some(response), ..ProposalResponse::default() });
    }
    let payload = payload();
    Ok(match response::endorse(&peer.signer, &payload) {
        Ok(endorsement) => ProposalResponse {
            version: 1,
            response: Some(response),
            payload,
            endorsement: Some(endorsement),
            interest,
            ..ProposalResponse::default()
        },
        Err(error) => {
            failed(format!("endorsing with plugin failed: could not sign the proposal response payload: {error}"))
        }
    })
}

/// Runs a proposal.
///
/// # Errors
///
/// The proposal is rejected.
pub(crate) async fn execute(peer: &Arc<Peer>, proposal: &Arc<UnpackedProposal>) -> Result<Executed, Refusal> {
    proposal.check_chaincode().map_err(Refusal::Proposal)?;
    let name = proposal.channel();
    let channel = peer.channel(name);
    if channel.is_none() && !name.is_empty() {
        check_expiry(peer, msp::expires_at(&proposal.creator))?;
        return Ok(Executed::Failed(format!("channel '{name}' not found")));
    }
    check(peer, channel.as_deref(), proposal)?;
    let executed = invocation::execute(peer, channel.as_ref(), proposal).await;
    Ok(match executed {
        Ok(answer) => Executed::Answered(Box::new(answer)),
        Err(message) => {
            tracing::warn!("failed to invoke chaincode {} on channel {name}: {message}", proposal.chaincode);
            Executed::Failed(message)
        }
    })
}

/// Checks a proposal before its chaincode is looked up.
fn check(peer: &Peer, channel: Option<&PeerChannel>, proposal: &UnpackedProposal) -> Result<(), Refusal> {
    let config = channel.map(PeerChannel::config);
    let msps = config.as_ref().map_or(&peer.local_msp, |config| config.msps());
    let signed = SignedData {
        message: proposal.message.clone(),
        identity: proposal.creator.clone(),
        signature: proposal.signature.clone(),
    };
    check_creator(peer, msps, proposal)?;
    let Some(channel) = channel else { return Ok(()) };
    let id = proposal.transaction_id();
    if channel.ledger.transaction(id).is_some() {
        let creator = hex::encode(&proposal.creator);
        return Err(Refusal::Proposal(format!("duplicate transaction found [{id}]. Creator [{creator}]")));
    }
    if is_system(&proposal.chaincode) {
        return Ok(());
    }
    access::check(peer, "peer/Propose", proposal.channel(), &signed).map_err(Refusal::Proposal)
}

/// Fabric's filter in front of the endorser (`core/handlers/auth/filter/expiration.go`).
fn check_expiry(peer: &Peer, expires: Option<SystemTime>) -> Result<(), Refusal> {
    if expires.is_some_and(|expires| peer.clock.now() > expires) {
        return Err(Refusal::unanswered("proposal client identity expired"));
    }
    Ok(())
}

fn check_creator(peer: &Peer, msps: &MspManager, proposal: &UnpackedProposal) -> Result<(), Refusal> {
    let invalid = |error: String| Refusal::Proposal(format!("error validating proposal: {error}"));
    let channel = proposal.channel();
    let identity = msps.deserialize(&proposal.creator);
    let expires =
        identity.as_ref().map_or_else(|_| msp::expires_at(&proposal.creator), |found| Some(found.expires_at()));
    check_expiry(peer, expires)?;
    proposal.check_headers().map_err(invalid)?;
    let identity = identity.map_err(|error| {
        tracing::warn!("access denied on channel {channel}: {error}");
        invalid(format!("access denied: channel [{channel}] creator org unknown, creator is malformed"))
    })?;
    let denied = |error: crate::msp::IdentityError| {
        let organization = identity.msp_id();
        tracing::warn!("access denied on channel {channel} to a member of {organization}: {error}");
        invalid(format!("access denied: channel [{channel}] creator org [{organization}]"))
    };
    identity.validate().map_err(denied)?;
    identity.verify(&proposal.message, &proposal.signature).map_err(denied)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn unsigned(policy: &'static [u8]) -> ProposalResponse {
        let entry = BTreeMap::from([("VALIDATION_PARAMETER".to_owned(), policy.into())]);
        let keys = BTreeMap::from([("key".to_owned(), entry)]);
        let simulated = Simulated {
            public: Vec::new().into(),
            private: None,
            private_reads: BTreeMap::new(),
            write_metadata: [("basic".to_owned(), [(String::new(), keys)].into())].into(),
        };
        let response = Response { status: 200, payload: b"answer".to_vec(), ..Response::default() };
        let version = "1.0".to_owned();
        Executed::Answered(Box::new(Answer { response, event: None, simulated: Some(simulated), version })).unsigned()
    }

    #[test]
    fn evaluation_fails_on_an_invalid_key_policy() {
        assert_eq!(unsigned(b"").response.unwrap().payload, b"answer");
        let failed = unsigned(b"junk");
        let expected = "error in simulation: error unmarshalling SignaturePolicyEnvelope: proto: cannot parse invalid wire-format data";
        assert_eq!(failed.response, Some(system::failure(expected.to_owned())));
        assert!(failed.payload.is_empty());
    }
}
