//! The commit status of a transaction, reported when this peer commits it
//! (`internal/pkg/gateway/commitstatus.go`).

use std::sync::Arc;

use fabric_protos::gateway::{CommitStatusRequest, CommitStatusResponse, SignedCommitStatusRequest};
use prost::Message as _;
use tonic::{Code, Status};

use crate::peer::{Peer, access};
use crate::policy::SignedData;

pub(super) async fn status(
    peer: &Arc<Peer>,
    signed: SignedCommitStatusRequest,
) -> Result<CommitStatusResponse, Status> {
    let invalid = |message: &str| Status::new(Code::InvalidArgument, message);
    if signed.request.is_empty() {
        return Err(invalid("a commit status request is required"));
    }
    let request = CommitStatusRequest::decode(signed.request.as_slice())
        .map_err(|_| invalid("invalid status request: proto: cannot parse invalid wire-format data"))?;
    if request.identity.is_empty() {
        return Err(invalid("no identity provided"));
    }
    if request.channel_id.is_empty() {
        return Err(invalid("no channel ID provided"));
    }
    if request.transaction_id.is_empty() {
        return Err(invalid("transaction ID should not be empty"));
    }
    let data = SignedData {
        message: signed.request.into(),
        identity: request.identity.into(),
        signature: signed.signature.into(),
    };
    access::check(peer, "gateway/CommitStatus", &request.channel_id, &data)
        .map_err(|error| Status::new(Code::PermissionDenied, error))?;
    let channel = request.channel_id;
    let joined = peer
        .channel(&channel)
        .ok_or_else(|| Status::new(Code::Aborted, format!("channel does not exist: {channel}")))?;
    let mut heights = joined.ledger.heights();
    loop {
        heights.mark_unchanged();
        if let Some(location) = joined.ledger.transaction(&request.transaction_id) {
            return Ok(CommitStatusResponse { result: location.code.into(), block_number: location.block });
        }
        if heights.changed().await.is_err() {
            return Err(Status::new(Code::Aborted, "unexpected close of commit notification channel"));
        }
    }
}
