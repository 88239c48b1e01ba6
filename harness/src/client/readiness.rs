//! Whether a node's gRPC port answers a real call.
//!
//! An open TCP port is not enough (a container's port accepts connections before the node listens), and
//! neither is `/healthz`, which turns 200 earlier. The runtime watches the process and repeats the call.

use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::error::ClientError;
use super::transport::{Node, timed_out, until};
use crate::wait::{self, Poll};
use std::time::Duration;

const OPERATION: &str = "wait until it answers";

/// The standard health check. Fabric 3.1 serves it; 2.5 answers UNIMPLEMENTED, which is an answer too.
const HEALTH_CHECK: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");

/// Makes one call. Any gRPC status of the node is an answer.
///
/// # Errors
/// [`ClientError::Transport`] or [`ClientError::TimedOut`].
pub async fn answers(node: &Node, deadline: Instant) -> Result<(), ClientError> {
    until(OPERATION, node.name(), deadline, health_check(node)).await?
}

/// Waits until a restarted node answers on an existing connection. The first call may fail because the old
/// connection has ended; later calls get a new one.
///
/// # Errors
/// [`ClientError::TimedOut`] with the last failure.
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
