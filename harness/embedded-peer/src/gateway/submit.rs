//! Submit: sends a transaction to the ordering service (`internal/pkg/gateway/submit.go`).

use std::sync::Arc;

use fabric_protos::common::{Envelope, Status as Code};
use fabric_protos::gateway::{ErrorDetail, SubmitRequest, SubmitResponse};
use fabric_protos::orderer::BroadcastResponse;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tonic::{Code as GrpcCode, Status};

use super::status::with_details;
use crate::config::ChannelConfig;
use crate::orderer::Orderer;
use crate::peer::Peer;

/// The response of a BFT orderer that already has the transaction.
const ALREADY_EXISTS: &str = "failed to submit request: request already exists";

/// An orderer of a channel, possibly outside of this process.
struct Endpoint {
    address: String,
    msp_id: String,
    orderer: Option<Arc<Orderer>>,
}

pub(super) async fn submit(peer: &Arc<Peer>, request: SubmitRequest) -> Result<SubmitResponse, Status> {
    let invalid = |message| Status::new(GrpcCode::InvalidArgument, message);
    let transaction = request.prepared_transaction.ok_or_else(|| invalid("a prepared transaction is required"))?;
    if transaction.signature.is_empty() {
        return Err(invalid("prepared transaction must be signed"));
    }
    let channel = &request.channel_id;
    let config = peer.channel(channel).map(|channel| channel.config()).ok_or_else(|| {
        Status::new(
            GrpcCode::FailedPrecondition,
            format!("failed to get config for channel [{channel}]: could not get last config for channel {channel}"),
        )
    })?;
    let endpoints = endpoints(peer, &config);
    if endpoints.is_empty() {
        return Err(Status::new(GrpcCode::Unavailable, "no orderer nodes available"));
    }
    // Older peers do not support BFT and send to one orderer.
    if config.consensus().kind == "BFT" && peer.release.has_bft() {
        to_quorum(endpoints, transaction, peer).await
    } else {
        to_any(endpoints, transaction, peer).await
    }
}

/// The orderers of the channel: the organizations' endpoints, else the channel's addresses.
fn endpoints(peer: &Peer, config: &ChannelConfig) -> Vec<Endpoint> {
    let nodes = peer.nodes();
    let organizations = config.orderer_organizations();
    let has_own = organizations.iter().any(|organization| !organization.endpoints.is_empty());
    let mut endpoints = Vec::new();
    for organization in organizations {
        let addresses = if has_own { &*organization.endpoints } else { config.orderer_addresses() };
        for address in addresses {
            let orderers = nodes.as_ref().map(|nodes| nodes.orderers()).unwrap_or_default();
            endpoints.push(Endpoint {
                address: address.clone(),
                msp_id: organization.msp_id.clone(),
                orderer: orderers.iter().find(|orderer| orderer.endpoint == *address).cloned(),
            });
        }
    }
    endpoints
}

impl Endpoint {
    async fn broadcast(&self, transaction: Envelope, peer: &Peer) -> Result<BroadcastResponse, String> {
        let unavailable = |reason: String| {
            format!(
                "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: {reason}\""
            )
        };
        let Some(orderer) = &self.orderer else {
            return Err(unavailable(format!("{} is not an orderer of this process", self.address)));
        };
        if orderer.is_stopped() {
            return Err(unavailable(format!("dial tcp {}: connect: connection refused", self.address)));
        }
        let bound = peer.configuration.peer.gateway.broadcast_timeout;
        let late = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
        tokio::time::timeout(bound, orderer.broadcast(transaction)).await.map_err(|_| late.to_owned())
    }

    fn detail(&self, message: String) -> ErrorDetail {
        ErrorDetail { address: self.address.clone(), msp_id: self.msp_id.clone(), message }
    }
}

fn refusal(response: &BroadcastResponse) -> String {
    let status = Code::try_from(response.status).map_or("", |code| code.as_str_name());
    format!("received unsuccessful response from orderer: status={status}, info={}", response.info)
}

/// Tries the orderers in random order until one accepts the transaction.
async fn to_any(mut endpoints: Vec<Endpoint>, transaction: Envelope, peer: &Peer) -> Result<SubmitResponse, Status> {
    let count = endpoints.len();
    if count > 1
        && let Ok(nonce) = peer.signer.nonce()
    {
        endpoints.rotate_left(usize::from(nonce.first().copied().unwrap_or_default()) % count);
    }
    let mut details = Vec::new();
    let mut transaction = Some(transaction);
    for (index, endpoint) in endpoints.iter().enumerate() {
        let envelope = if index + 1 == count { transaction.take() } else { transaction.clone() };
        match endpoint.broadcast(envelope.unwrap_or_default(), peer).await {
            Ok(response) if response.status() == Code::Success => return Ok(SubmitResponse {}),
            // The transaction is invalid: no other orderer accepts it.
            Ok(response) if (400..500).contains(&response.status) => {
                return Err(Status::new(GrpcCode::Aborted, refusal(&response)));
            }
            Ok(_) => {}
            Err(error) => details.push(endpoint.detail(error)),
        }
    }
    Err(with_details(GrpcCode::Unavailable, "no orderers could successfully process transaction", &details))
}

/// Sends to all orderers; a quorum must accept the transaction.
async fn to_quorum(endpoints: Vec<Endpoint>, transaction: Envelope, peer: &Peer) -> Result<SubmitResponse, Status> {
    let total = endpoints.len();
    let faulty = total.saturating_sub(1) / 3;
    let quorum = (total + faulty + 1).div_ceil(2);
    let (mut taken, mut refused) = (0, 0);
    let mut details = Vec::new();
    let mut answers: FuturesUnordered<_> = endpoints
        .iter()
        .map(|endpoint| {
            let transaction = transaction.clone();
            async move { (endpoint, endpoint.broadcast(transaction, peer).await) }
        })
        .collect();
    while let Some((endpoint, answer)) = answers.next().await {
        let error = match answer {
            Ok(response) if response.status() == Code::Success => None,
            Ok(response) if response.status() == Code::ServiceUnavailable && response.info == ALREADY_EXISTS => None,
            Ok(response) => Some(refusal(&response)),
            Err(error) => Some(error),
        };
        match error {
            None => taken += 1,
            Some(error) => {
                refused += 1;
                details.push(endpoint.detail(error));
            }
        }
        if taken >= quorum {
            return Ok(SubmitResponse {});
        }
        if refused > total - quorum {
            break;
        }
    }
    let message =
        "insufficient number of orderers could successfully process transaction to satisfy quorum requirement";
    Err(with_details(GrpcCode::Unavailable, message, &details))
}
