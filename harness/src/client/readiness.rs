//! Whether a node's gRPC port answers a real call.
//!
//! An open TCP port is not it (a container's port accepts before anything listens behind it), and
//! neither is `/healthz`, which turns 200 earlier. That the process still lives is the runtime's to
//! watch, side by side with this, and so is asking again.

use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::error::ClientError;
use super::transport::{Node, timed_out, until};
use crate::wait::{self, Poll};
use std::time::Duration;

const OPERATION: &str = "wait until it answers";

/// The standard health check. Fabric 3.1 serves it; 2.5 says that it does not, which is an answer too.
const HEALTH_CHECK: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");

/// Makes one call. Any gRPC status of the node's own, good or bad, is an answer.
///
/// # Errors
/// [`ClientError::Transport`] or [`ClientError::TimedOut`].
pub async fn answers(node: &Node, deadline: Instant) -> Result<(), ClientError> {
    until(OPERATION, node.name(), deadline, health_check(node)).await?
}

/// Waits until a node that was restarted answers on a connection from before. The first call that meets
/// the end of the old one fails by it; those after it get a new one.
///
/// # Errors
/// [`ClientError::TimedOut`] with what the last call failed by.
pub async fn answers_again(node: &Node, deadline: Instant) -> Result<(), ClientError> {
    let bound = deadline.saturating_duration_since(Instant::now());
    let ample = deadline + Duration::from_secs(1);
    let answered = wait::until(OPERATION, bound, async || match answers(node, ample).await {
        Err(broken @ ClientError::Transport { .. }) => Ok(Poll::NotYet(broken.to_string())),
        answer => answer.map(Poll::Ready),
    });
    answered.await.map_err(|ended| timed_out(OPERATION, node.name(), ended))
}

async fn health_check(node: &Node) -> Result<(), ClientError> {
    let mut client = tonic::client::Grpc::new(node.channel());
    let call = async {
        client.ready().await.map_err(|failed| tonic::Status::from_error(failed.into()))?;
        client.unary(tonic::Request::new(()), HEALTH_CHECK, ProstCodec::<(), ()>::default()).await
    };
    match call.await.map_err(|status| ClientError::from_status(OPERATION, node.name(), &status)) {
        Err(failed) if !failed.is_answer() => Err(failed),
        _ => Ok(()),
    }
}
