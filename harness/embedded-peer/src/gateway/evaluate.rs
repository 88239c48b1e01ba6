//! Evaluate: runs a proposal on one peer, or on another one if that fails
//! (`internal/pkg/gateway/evaluate.go`).

use std::sync::Arc;

use fabric_protos::gateway::{EvaluateRequest, EvaluateResponse};
use tonic::{Code, Status};

use super::registry::Registry;
use super::status::with_details;
use crate::peer::Peer;
use crate::proposal::UnpackedProposal;

pub(super) async fn evaluate(peer: &Arc<Peer>, request: EvaluateRequest) -> Result<EvaluateResponse, Status> {
    let malformed =
        |error: &str| Status::new(Code::InvalidArgument, format!("failed to unpack transaction proposal: {error}"));
    let signed = request.proposed_transaction.filter(|signed| !signed.proposal_bytes.is_empty());
    let signed = signed.ok_or_else(|| malformed("a signed proposal is required"))?;
    let proposal = Arc::new(UnpackedProposal::for_gateway(signed).map_err(|error| malformed(&error))?);
    let (channel, chaincode) = (proposal.channel(), proposal.invoked.as_str());
    if channel.is_empty() {
        return Err(malformed("no channel id provided"));
    }
    if chaincode.is_empty() {
        return Err(malformed(&format!("no chaincode name is provided, channel id [{channel}]")));
    }
    if peer.channel(channel).is_none() {
        return Err(Status::new(
            Code::Unavailable,
            format!("failed to get config for channel [{channel}]: could not get last config for channel {channel}"),
        ));
    }
    let mut organizations = request.target_organizations;
    let is_protected = proposal.transient && organizations.is_empty();
    if is_protected {
        organizations.push(peer.msp_id.clone());
    }
    let registry = Registry::new(peer, channel);
    let peers = registry.evaluators(chaincode, &organizations).map_err(|error| {
        let message = if is_protected {
            format!(
                "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: {error}"
            )
        } else {
            error
        };
        Status::new(Code::FailedPrecondition, message)
    })?;

    let mut details = Vec::new();
    let mut code = Code::Unavailable;
    for number in peers {
        let failure = match registry.run(number, &proposal).await {
            Ok(result) => return Ok(EvaluateResponse { result: Some(result) }),
            Err(failure) => failure,
        };
        code = failure.code;
        details.push(registry.detail(number, &failure.message));
        if !failure.may_retry {
            let message = format!("evaluate call to endorser returned error: {}", failure.message);
            return Err(with_details(code, &message, &details));
        }
    }
    Err(with_details(code, "failed to evaluate transaction, see attached details for more info", &details))
}
