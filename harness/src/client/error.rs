//! Errors of calls to a node, with the node's own message.
//!
//! tonic and hyper hide the cause of a failed connection in a chain of errors such as `transport error`;
//! the useful parts of that chain are kept. Fabric's gateway puts a chaincode's own message into the
//! details of a gRPC status, which are decoded.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use fabric_protos::gateway::ErrorDetail;
use fabric_protos::rpc::Status;
use prost::Message as _;
use tonic::Code;

use super::signer::SignerError;

/// Why a call failed. The text names the node and the reason.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Connecting failed: TCP, TLS, or the certificates given for it.
    #[error("cannot connect to {uri} (expecting a certificate for {server_name}): {cause}")]
    Connect {
        /// The address that was dialled.
        uri: String,
        /// The name that its certificate must carry.
        server_name: String,
        /// The useful parts of the error chain.
        cause: String,
    },
    /// The connection broke, or was refused, during a call.
    #[error("{operation}: the connection to {node} failed: {cause}")]
    Transport {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// The useful parts of the error chain.
        cause: String,
    },
    /// The deadline passed.
    #[error(
        "{operation}: no answer from {node} within {waited:.1?}{}",
        last.as_ref().map(|seen| format!("; last seen: {seen}")).unwrap_or_default()
    )]
    TimedOut {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// How long the client waited.
        waited: Duration,
        /// The last answer before the deadline, if there was one.
        last: Option<String>,
    },
    /// The node answered with a gRPC status other than OK.
    #[error("{operation}: {node} answered {code:?}: {message}{}", Details(details))]
    Status {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// The gRPC status.
        code: Code,
        /// Its message.
        message: String,
        /// The answers of other nodes to the gateway, one entry each.
        details: Vec<NodeFailure>,
    },
    /// A peer did not endorse: the chaincode, or the peer itself, answered with a status outside of
    /// 200 to 399.
    #[error("{operation}: {node} answered with status {status}: {message}")]
    Rejected {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// `Response.status` of the proposal response.
        status: i32,
        /// `Response.message` of the proposal response.
        message: String,
    },
    /// An HTTP endpoint answered with a status other than 2xx.
    #[error("{operation}: {node} answered with HTTP status {status}: {message}")]
    Http {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// The HTTP status.
        status: u16,
        /// The `error` of the body, or the body itself.
        message: String,
    },
    /// Peers endorsed different results.
    #[error(
        "{operation}: {first} and {second} computed different results; \
         the chaincode is not deterministic or their ledgers differ"
    )]
    Disagreement {
        /// The operation.
        operation: &'static str,
        /// One peer.
        first: String,
        /// The other peer.
        second: String,
    },
    /// The transaction is on the ledger, but invalid.
    #[error("transaction {transaction_id} in block {block_number} is invalid: {code}")]
    Invalid {
        /// The transaction.
        transaction_id: String,
        /// The block that holds it.
        block_number: u64,
        /// `TxValidationCode` by its name, such as `MVCC_READ_CONFLICT`.
        code: String,
    },
    /// An answer that violates the protocol.
    #[error("{operation}: the answer of {node} is malformed: {cause}")]
    Malformed {
        /// The operation.
        operation: &'static str,
        /// The node.
        node: String,
        /// What is wrong.
        cause: String,
    },
    /// No peer to call.
    #[error("{operation}: no peer given; give at least one")]
    NoPeer {
        /// The operation.
        operation: &'static str,
    },
    /// The request could not be signed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

crate::console::debug_as_text!(ClientError);

impl ClientError {
    /// From a gRPC status: a broken transport, or an answer with the gateway's details.
    pub(super) fn from_status(operation: &'static str, node: &str, status: &tonic::Status) -> Self {
        let node = node.to_owned();
        match status.source() {
            // tonic attaches a source only to statuses that it creates itself.
            Some(source) => Self::Transport { operation, node, cause: cause(source) },
            None => Self::Status {
                operation,
                node,
                code: status.code(),
                message: status.message().to_owned(),
                details: NodeFailure::decode_all(status.details()),
            },
        }
    }

    pub(super) fn malformed(operation: &'static str, node: &str, cause: impl fmt::Display) -> Self {
        Self::Malformed { operation, node: node.to_owned(), cause: cause.to_string() }
    }

    /// The chaincode's own error, if it is the reason: the status and message that the chaincode
    /// returned.
    pub fn chaincode_error(&self) -> Option<(i32, &str)> {
        match self {
            Self::Status { details, message, .. } => details
                .iter()
                .map(|detail| detail.message.as_str())
                .chain([message.as_str()])
                .find_map(chaincode_response),
            Self::Rejected { status, message, .. } => Some((*status, message)),
            _ => None,
        }
    }

    /// Whether a submitted transaction may be ordered in spite of this error. Its commit status decides.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Status { code, .. } => matches!(code, Code::Unavailable | Code::DeadlineExceeded),
            _ => false,
        }
    }

    /// Whether an orderer refused a submitted transaction because it has it already
    /// (`SmartBFT/internal/bft/requestpool.go`).
    pub(super) fn is_ordered_already(&self) -> bool {
        let known = ["request already processed", "request already exists"];
        let has = |text: &str| known.iter().any(|known| text.contains(known));
        matches!(self, Self::Status { details, message, .. }
            if has(message) || details.iter().any(|detail| has(&detail.message)))
    }

    /// The node's message, without the operation and the node's name.
    pub(super) fn answer(&self) -> String {
        match self {
            Self::Status { code, message, details, .. } => format!("{code:?}: {message}{}", Details(details)),
            Self::Rejected { status, message, .. } => format!("status {status}: {message}"),
            Self::TimedOut { waited, .. } => format!("no answer within {waited:.1?}"),
            Self::Transport { cause, .. } | Self::Malformed { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the node was reached and answered, with success or an error.
    pub fn is_answer(&self) -> bool {
        !matches!(
            self,
            Self::Connect { .. }
                | Self::Transport { .. }
                | Self::TimedOut { .. }
                | Self::NoPeer { .. }
                | Self::Signer(_)
        )
    }
}

/// One node's answer to the gateway (`gateway.ErrorDetail`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFailure {
    /// Address under which the gateway knows the node.
    pub address: String,
    /// The node's MSP.
    pub msp_id: String,
    /// Its message. A chaincode's error reads `chaincode response 500, <its message>`.
    pub message: String,
}

impl NodeFailure {
    /// The failures in a status's `grpc-status-details-bin`. Other bytes and other types of details are
    /// ignored, because the status has a message as well.
    fn decode_all(bytes: &[u8]) -> Vec<Self> {
        Status::decode(bytes)
            .unwrap_or_default()
            .details
            .iter()
            .filter(|any| any.type_url.rsplit('/').next() == Some("gateway.ErrorDetail"))
            .filter_map(|any| ErrorDetail::decode(any.value.as_slice()).ok())
            .map(|detail| Self { address: detail.address, msp_id: detail.msp_id, message: detail.message })
            .collect()
    }
}

impl fmt::Display for NodeFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): {}", self.address, self.msp_id, self.message)
    }
}

struct Details<'a>(&'a [NodeFailure]);

impl fmt::Display for Details<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|failure| write!(formatter, "\n  {failure}"))
    }
}

/// Parses the gateway's form of a chaincode's error (`internal/pkg/gateway/apiutils.go`).
fn chaincode_response(message: &str) -> Option<(i32, &str)> {
    let (_, response) = message.split_once("chaincode response ")?;
    let (status, text) = response.split_once(", ")?;
    Some((status.parse().ok()?, text))
}

/// Texts that tonic and hyper add to an error chain and that carry no information.
const OPAQUE: [&str; 5] =
    ["", "transport error", "client error (Connect)", "operation was canceled", "connection error"];

/// The chain of sources on one line, without opaque and repeated texts.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut link = Some(error);
    while let Some(error) = link {
        let text = error.to_string();
        let opaque = OPAQUE.contains(&text.as_str());
        if !opaque && !parts.last().is_some_and(|previous| previous.contains(&text)) {
            parts.push(text);
        }
        link = error.source();
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_protos::prost_types::Any;
    use tonic::Status as GrpcStatus;

    const MESSAGE: &str = "chaincode response 500, the asset asset9 does not exist, or never did";

    fn details(type_url: &str) -> Vec<u8> {
        let detail = ErrorDetail {
            address: "peer0.org1.example.com:7051".to_owned(),
            msp_id: "Org1MSP".to_owned(),
            message: MESSAGE.to_owned(),
        };
        let any = Any { type_url: type_url.to_owned(), value: detail.encode_to_vec() };
        Status { details: vec![any], ..Default::default() }.encode_to_vec()
    }

    fn status(details: Vec<u8>) -> ClientError {
        let status = GrpcStatus::with_details(Code::Aborted, "failed to endorse", details.into());
        ClientError::from_status("endorse", "peer0", &status)
    }

    #[test]
    fn finds_the_chaincodes_message_in_the_details() {
        let error = status(details("type.googleapis.com/gateway.ErrorDetail"));
        assert_eq!(error.chaincode_error(), Some((500, "the asset asset9 does not exist, or never did")));
        let expected = format!(
            "endorse: peer0 answered Aborted: failed to endorse\n  peer0.org1.example.com:7051 (Org1MSP): {MESSAGE}"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn ignores_other_details() {
        for bytes in [b"\xff\x01garbage".to_vec(), Vec::new(), details("type.googleapis.com/another.Message")] {
            let error = status(bytes);
            assert_eq!(error.to_string(), "endorse: peer0 answered Aborted: failed to endorse");
            assert_eq!(error.chaincode_error(), None);
        }
    }

    #[test]
    fn a_peers_own_failure_is_not_a_chaincode_error() {
        for message in ["no answer", "chaincode response", "chaincode response x, y", "chaincode response 5"] {
            assert_eq!(chaincode_response(message), None, "{message}");
        }
    }

    #[test]
    fn the_cause_leaves_opaque_errors_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Link {
            text: &'static str,
            #[source]
            source: Option<Box<Link>>,
        }
        let chain = ["transport error", "tcp connect error", "refused by 1.2.3.4", "refused"]
            .into_iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Link { text, source })));
        assert_eq!(cause(&*chain.unwrap()), "tcp connect error: refused by 1.2.3.4");
        assert_eq!(cause(&Link { text: "transport error", source: None }), "transport error");
    }
}
