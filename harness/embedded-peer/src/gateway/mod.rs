//! The gateway service, with which SDKs evaluate and submit transactions (`internal/pkg/gateway`).
//!
//! It calls the peers and orderers of this process directly, starting with its own organization's
//! peers. `discovery` determines the endorsers.

mod commit;
mod endorse;
mod evaluate;
mod events;
pub(crate) mod plan;
mod registry;
pub(crate) mod status;
mod submit;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fabric_protos::gateway::gateway_server::Gateway;
use fabric_protos::gateway::{
    ChaincodeEventsResponse, CommitStatusResponse, EndorseRequest, EndorseResponse, EvaluateRequest, EvaluateResponse,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest, SubmitResponse,
};
use futures::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use crate::peer::{Peer, calls};

/// A peer's gateway.
#[derive(Clone, Debug)]
pub struct Service(pub Arc<Peer>);

#[tonic::async_trait]
impl Gateway for Service {
    type ChaincodeEventsStream = Pin<Box<dyn Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send>>;

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        let deadline = deadline(request.metadata());
        let late = || Status::new(Code::DeadlineExceeded, "evaluate timeout expired");
        let request = request.into_inner();
        let asked = self.0.tracer.is_enabled().then(|| calls::proposal(request.proposed_transaction.as_ref()));
        let work = within(deadline, Box::pin(evaluate::evaluate(&self.0, request)), late);
        let answered = |answer: &EvaluateResponse| {
            let result = answer.result.as_ref();
            format!("status {}", result.map_or(0, |result| result.status))
        };
        let method = "gateway.Gateway/Evaluate";
        calls::call(&self.0, method, || asked.unwrap_or_default(), work, answered).await.map(Response::new)
    }

    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        let deadline = deadline(request.metadata());
        let late = || Status::new(Code::DeadlineExceeded, "endorsement timeout expired while collecting endorsements");
        let request = request.into_inner();
        let asked = self.0.tracer.is_enabled().then(|| calls::proposal(request.proposed_transaction.as_ref()));
        let work = within(deadline, Box::pin(endorse::endorse(&self.0, request)), late);
        let answered = |answer: &EndorseResponse| {
            let transaction = answer.prepared_transaction.as_ref();
            format!("a transaction of {} bytes", transaction.map_or(0, |transaction| transaction.payload.len()))
        };
        let method = "gateway.Gateway/Endorse";
        calls::call(&self.0, method, || asked.unwrap_or_default(), work, answered).await.map(Response::new)
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let deadline = deadline(request.metadata());
        let late =
            || Status::new(Code::DeadlineExceeded, "submit timeout expired while broadcasting to ordering service");
        let request = request.into_inner();
        let asked =
            self.0.tracer.is_enabled().then(|| format!("[{}] {:?}", request.transaction_id, request.channel_id));
        let work = within(deadline, Box::pin(submit::submit(&self.0, request)), late);
        let method = "gateway.Gateway/Submit";
        let answered = |_: &SubmitResponse| "ordered".to_owned();
        calls::call(&self.0, method, || asked.unwrap_or_default(), work, answered).await.map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        let deadline = deadline(request.metadata());
        let late = || Status::new(Code::DeadlineExceeded, "context deadline exceeded");
        let work = within(deadline, Box::pin(commit::status(&self.0, request.into_inner())), late);
        let answered = |answer: &CommitStatusResponse| {
            format!("{} in block {}", answer.result().as_str_name(), answer.block_number)
        };
        let method = "gateway.Gateway/CommitStatus";
        calls::call(&self.0, method, String::new, work, answered).await.map(Response::new)
    }

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        let work = async { events::events(&self.0, &request.into_inner()) };
        let method = "gateway.Gateway/ChaincodeEvents";
        let events = calls::call(&self.0, method, String::new, work, |_| "events follow".to_owned()).await?;
        Ok(Response::new(Box::pin(events)))
    }
}

/// Applies the client's deadline. The future is boxed because it is large.
async fn within<T>(
    deadline: Option<Duration>,
    work: Pin<Box<dyn Future<Output = Result<T, Status>> + Send + '_>>,
    late: impl FnOnce() -> Status,
) -> Result<T, Status> {
    match deadline {
        Some(deadline) => tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(late())),
        None => work.await,
    }
}

/// The client's `grpc-timeout`, if any: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_parsed() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata)
        };
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        for wrong in ["", "S", "1", "-1S", "999999999S", "1x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(deadline(&MetadataMap::new()), None);
    }
}
