//! Errors of the gateway: gRPC statuses with details of the failed nodes, and the interpretation of
//! endorsers' responses (`internal/pkg/gateway/apiutils.go`).

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::prost_types::Any;
use fabric_protos::protos::ProposalResponse;
use fabric_protos::rpc;
use prost::Message as _;
use tonic::{Code, Status};

use crate::endorser::Refusal;

const DETAIL: &str = "type.googleapis.com/gateway.ErrorDetail";

/// A status with details of the failed nodes.
pub(crate) fn with_details(code: Code, message: &str, details: &[ErrorDetail]) -> Status {
    if details.is_empty() {
        return Status::new(code, message);
    }
    let detail = |detail: &ErrorDetail| Any { type_url: DETAIL.to_owned(), value: detail.encode_to_vec() };
    let status =
        rpc::Status { code: code.into(), message: message.to_owned(), details: details.iter().map(detail).collect() };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Why an endorser's response is not an endorsement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The gateway's status code if no other peer can be asked.
    pub(crate) code: Code,
    /// The endorser's message.
    pub(crate) message: String,
    /// Whether an evaluation may be retried on another peer.
    pub(crate) may_retry: bool,
}

impl Failure {
    /// A peer that did not respond.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { code: Code::Unavailable, message: message.into(), may_retry: true }
    }
}

/// Interprets an endorser's response. Rejections by the gateway's own peer are reported unchanged,
/// those by other peers as gRPC errors.
pub(crate) fn examine(answer: Result<ProposalResponse, Refusal>, is_local: bool) -> Result<ProposalResponse, Failure> {
    let response = answer.map_err(|refusal| match refusal {
        Refusal::Unanswered(message) => Failure::unreachable(message),
        Refusal::Proposal(message) if is_local => Failure { code: Code::FailedPrecondition, message, may_retry: false },
        Refusal::Proposal(message) => Failure::unreachable(format!("rpc error: code = Unknown desc = {message}")),
    })?;
    let result = response.response.as_ref();
    let status = result.map_or(0, |result| result.status);
    if (200..400).contains(&status) {
        return Ok(response);
    }
    let message = result.map_or("", |result| &result.message);
    if response.payload.is_empty() && status == 500 {
        return Err(Failure { code: Code::Aborted, message: message.to_owned(), may_retry: true });
    }
    let message = format!("chaincode response {status}, {message}");
    Err(Failure { code: Code::Unknown, message, may_retry: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::protos::Response;

    fn response(status: i32, payload: &[u8]) -> ProposalResponse {
        let result = Response { status, message: "m".to_owned(), ..Response::default() };
        ProposalResponse { response: Some(result), payload: payload.to_vec(), ..ProposalResponse::default() }
    }

    #[test]
    fn responses_are_classified_by_status_and_payload() {
        let failure = |answer| examine(answer, true).unwrap_err();
        assert!(examine(Ok(response(200, b"")), true).is_ok() && examine(Ok(response(399, b"p")), false).is_ok());
        let from = |code, message: &str, may_retry| Failure { code, message: message.to_owned(), may_retry };
        assert_eq!(failure(Ok(response(500, b""))), from(Code::Aborted, "m", true));
        assert_eq!(failure(Ok(response(500, b"p"))), from(Code::Unknown, "chaincode response 500, m", false));
        assert_eq!(failure(Ok(response(400, b""))), from(Code::Unknown, "chaincode response 400, m", false));
        assert_eq!(failure(Ok(response(199, b""))), from(Code::Unknown, "chaincode response 199, m", false));
        let refused = || Err(Refusal::Proposal("no".to_owned()));
        assert_eq!(failure(refused()), from(Code::FailedPrecondition, "no", false));
        let remote = examine(refused(), false).unwrap_err();
        assert_eq!(remote, from(Code::Unavailable, "rpc error: code = Unknown desc = no", true));
        assert_eq!(failure(Err(Refusal::unanswered("late"))), from(Code::Unavailable, "late", true));
    }

    #[test]
    fn statuses_carry_details() {
        let detail = ErrorDetail { address: "a:1".to_owned(), msp_id: "Org1MSP".to_owned(), message: "m".to_owned() };
        let status = with_details(Code::Aborted, "failed", std::slice::from_ref(&detail));
        let inner = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(
            (status.code(), status.message(), inner.code, &*inner.message),
            (Code::Aborted, "failed", 10, "failed")
        );
        assert_eq!(inner.details[0].type_url, DETAIL);
        assert_eq!(ErrorDetail::decode(&*inner.details[0].value), Ok(detail));
        assert!(with_details(Code::Aborted, "failed", &[]).details().is_empty());
    }
}
