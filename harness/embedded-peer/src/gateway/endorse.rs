//! Endorse: collects the endorsements that the policies require and prepares a transaction
//! (`internal/pkg/gateway/endorse.go`).

use std::sync::Arc;

use fabric_protos::common::{Envelope, Header, Payload};
use fabric_protos::gateway::{EndorseRequest, EndorseResponse};
use fabric_protos::protos::{
    ChaincodeActionPayload, ChaincodeCall, ChaincodeEndorsedAction, ChaincodeInterest, ProposalResponse, Transaction,
    TransactionAction,
};
use futures::future::join_all;
use prost::Message as _;
use tonic::{Code, Status};

use super::plan::{Group, PeerNumber, Plan};
use super::registry::Registry;
use super::status::with_details;
use crate::peer::Peer;
use crate::proposal::UnpackedProposal;

pub(super) async fn endorse(peer: &Arc<Peer>, request: EndorseRequest) -> Result<EndorseResponse, Status> {
    let invalid = |message: String| Status::new(Code::InvalidArgument, message);
    let signed = request.proposed_transaction.filter(|signed| !signed.proposal_bytes.is_empty());
    let signed = signed.ok_or_else(|| invalid("the proposed transaction must contain a signed proposal".to_owned()))?;
    let proposal = Arc::new(UnpackedProposal::for_gateway(signed).map_err(invalid)?);
    let registry = Registry::new(peer, proposal.channel());
    let mut plan = if request.endorsing_organizations.is_empty() {
        from_first_endorser(peer, &registry, &proposal).await?
    } else {
        registry
            .plan_for(&proposal.invoked, &request.endorsing_organizations)
            .map_err(|error| Status::new(Code::Unavailable, error))?
    };
    while !plan.is_complete() {
        let endorsers = plan.endorsers();
        if endorsers.is_empty() {
            break;
        }
        let exhausted = collect(&registry, &mut plan, endorsers, &proposal).await;
        plan.abandon(&exhausted);
    }
    let details = std::mem::take(&mut plan.details);
    let (payload, endorsements) = plan.finish().ok_or_else(|| {
        let message = "failed to collect enough transaction endorsements, see attached details for more info";
        with_details(Code::Aborted, message, &details)
    })?;
    let action = ChaincodeEndorsedAction { proposal_response_payload: payload, endorsements };
    Ok(EndorseResponse { prepared_transaction: Some(prepare(&proposal, action)) })
}

/// Asks these peers concurrently, and replaces failed ones with others of their groups. Returns the
/// exhausted groups.
async fn collect(
    registry: &Registry<'_>,
    plan: &mut Plan,
    endorsers: Vec<PeerNumber>,
    proposal: &Arc<UnpackedProposal>,
) -> Vec<Group> {
    let mut exhausted = Vec::new();
    let mut asked = endorsers;
    while !asked.is_empty() {
        let answers = join_all(asked.iter().map(|number| registry.endorse(*number, proposal))).await;
        let mut next = Vec::new();
        for (number, answer) in asked.into_iter().zip(answers) {
            let is_endorsed = match answer {
                Ok(response) => take(registry, plan, number, response),
                Err(failure) => {
                    plan.details.push(registry.detail(number, &failure.message));
                    false
                }
            };
            if is_endorsed {
                continue;
            }
            match plan.replacement(number) {
                Ok(other) => next.push(other),
                Err(group) => exhausted.extend(group),
            }
        }
        asked = next;
    }
    exhausted
}

fn take(registry: &Registry<'_>, plan: &mut Plan, number: PeerNumber, response: ProposalResponse) -> bool {
    let is_same = plan.endorsed(number, response.payload, response.endorsement.as_ref());
    if !is_same {
        tracing::warn!("proposal response payloads do not match");
        plan.details.push(registry.detail(number, "ProposalResponsePayloads do not match"));
    }
    is_same
}

/// Runs the proposal first on a peer of the gateway's own organization. The result determines the
/// other endorsers.
async fn from_first_endorser(
    peer: &Arc<Peer>,
    registry: &Registry<'_>,
    proposal: &Arc<UnpackedProposal>,
) -> Result<Plan, Status> {
    let refused = |message: String| Status::new(Code::FailedPrecondition, message);
    let call = ChaincodeCall { name: proposal.invoked.clone(), ..ChaincodeCall::default() };
    let only_this = ChaincodeInterest { chaincodes: vec![call] };
    let mut plan = match registry.plan_for(&proposal.invoked, std::slice::from_ref(&peer.msp_id)) {
        Ok(plan) => plan,
        Err(_) if proposal.transient => {
            return Err(refused("no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data".to_owned()));
        }
        Err(_) => registry.plan(&only_this, None).map_err(refused)?,
    };
    let (first, mut response) = first_endorsement(registry, &mut plan, proposal).await?;

    let interest = response.interest.take().filter(|interest| !interest.chaincodes.is_empty()).unwrap_or(only_this);
    let mut plan = if proposal.transient {
        protected_plan(registry, &interest, first).map_err(refused)?
    } else {
        registry.plan(&interest, Some(first)).map_err(refused)?
    };
    plan.endorsed(first, response.payload, response.endorsement.as_ref());
    Ok(plan)
}

async fn first_endorsement(
    registry: &Registry<'_>,
    plan: &mut Plan,
    proposal: &Arc<UnpackedProposal>,
) -> Result<(PeerNumber, ProposalResponse), Status> {
    let mut details = Vec::new();
    let mut endorser = plan.endorsers().into_iter().next();
    while let Some(number) = endorser {
        match registry.endorse(number, proposal).await {
            Ok(response) => return Ok((number, response)),
            Err(failure) => {
                details.push(registry.detail(number, &failure.message));
                endorser = plan.replacement(number).ok();
            }
        }
    }
    let message = "failed to endorse transaction, see attached details for more info";
    Err(with_details(Code::Aborted, message, &details))
}

/// Sends transient data only to peers that are members of the collections that it is written to.
fn protected_plan(registry: &Registry<'_>, interest: &ChaincodeInterest, first: PeerNumber) -> Result<Plan, String> {
    let mut protected = interest.clone();
    let mut collections = Vec::new();
    for call in protected.chaincodes.iter_mut().filter(|call| call.no_private_reads) {
        call.no_private_reads = false;
        collections.extend(call.collection_names.iter().cloned());
    }
    let error = match registry.plan(&protected, Some(first)) {
        Ok(plan) => return Ok(plan),
        Err(error) => error,
    };
    if !collections.is_empty() && registry.plan(interest, Some(first)).is_ok() {
        let names = collections.join(" ");
        return Err(format!(
            "requires endorsement from organisation(s) that are not in the distribution policy of the private data collection(s): [{names}]; retry specifying trusted endorsing organizations to protect transient data"
        ));
    }
    Err(error)
}

/// The unsigned transaction for the client.
fn prepare(proposal: &UnpackedProposal, action: ChaincodeEndorsedAction) -> Envelope {
    let action = ChaincodeActionPayload { chaincode_proposal_payload: proposal.payload.clone(), action: Some(action) };
    let action = TransactionAction { header: proposal.signature_header_bytes.clone(), payload: action.encode_to_vec() };
    let header = Header {
        channel_header: proposal.channel_header_bytes.clone(),
        signature_header: proposal.signature_header_bytes.clone(),
    };
    let payload = Payload { header: Some(header), data: Transaction { actions: vec![action] }.encode_to_vec() };
    Envelope { payload: payload.encode_to_vec(), signature: Vec::new() }
}
