//! A gateway that answers as scripted: error details, retries, signatures, events.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fabric_protos::common::{Envelope, Header, Payload};
use fabric_protos::gateway::gateway_server::{Gateway, GatewayServer};
use fabric_protos::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseRequest,
    EndorseResponse, ErrorDetail, EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest,
    SignedCommitStatusRequest, SubmitRequest, SubmitResponse,
};
use fabric_protos::prost_types::Any;
use fabric_protos::protos::{ChaincodeEvent, TxValidationCode};
use p256::SecretKey;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePrivateKey as _;
use prost::Message as _;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::client::{ClientError, EventStart, Invocation, Node, NodeFailure, PeerClient};

/// What the gateway is to do, and what it has seen.
struct Script {
    /// Endorsements to turn down, as before gossip knows the peers.
    without_peers: AtomicUsize,
    /// Submits to turn down, as without a leader of the ordering service.
    without_leader: AtomicUsize,
    submitted: Mutex<Vec<String>>,
    /// Submits to accept and forget, as a leader does that steps down.
    lost: usize,
    code: TxValidationCode,
    /// Whether the chaincode fails.
    broken: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            without_peers: 0.into(),
            without_leader: 0.into(),
            submitted: Mutex::default(),
            lost: 0,
            code: TxValidationCode::Valid,
            broken: false,
        }
    }
}

/// Takes one away; false when there is none.
fn one_less(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

struct Fake(Arc<Script>, VerifyingKey);

impl Fake {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Status> {
        let signature = Signature::from_der(signature).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        self.1.verify(message, &signature).map_err(|bad| Status::permission_denied(bad.to_string()))
    }
}

fn chaincode_failure(code: Code) -> Status {
    let details = ["Org1MSP", "Org2MSP"].map(|msp_id| {
        let detail = ErrorDetail {
            address: format!("{msp_id}:7051"),
            msp_id: msp_id.to_owned(),
            message: "chaincode response 404, asset9 does not exist".to_owned(),
        };
        Any { type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(), value: detail.encode_to_vec() }
    });
    let status = fabric_protos::rpc::Status { details: details.to_vec(), ..Default::default() };
    Status::with_details(code, "see attached details", status.encode_to_vec().into())
}

#[tonic::async_trait]
impl Gateway for Fake {
    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        let proposal = request.into_inner().proposed_transaction.unwrap_or_default();
        self.verify(&proposal.proposal_bytes, &proposal.signature)?;
        if one_less(&self.0.without_peers) {
            return Err(Status::unavailable("failed to find any endorsing peers for org(s): Org2MSP"));
        }
        if self.0.broken {
            return Err(chaincode_failure(Code::Aborted));
        }
        let payload = Payload { header: Some(Header::default()), data: vec![] };
        let envelope = Envelope { payload: payload.encode_to_vec(), ..Default::default() };
        Ok(Response::new(EndorseResponse { prepared_transaction: Some(envelope) }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let request = request.into_inner();
        let envelope = request.prepared_transaction.unwrap_or_default();
        self.verify(&envelope.payload, &envelope.signature)?;
        self.0.submitted.lock().unwrap().push(request.transaction_id);
        if one_less(&self.0.without_leader) {
            return Err(Status::unavailable("no orderers could successfully process transaction"));
        }
        Ok(Response::new(SubmitResponse {}))
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        let request = request.into_inner();
        self.verify(&request.request, &request.signature)?;
        let asked = CommitStatusRequest::decode(request.request.as_slice()).unwrap();
        assert_eq!((asked.channel_id.as_str(), asked.transaction_id.len()), ("mychannel", 64));
        if self.0.submitted.lock().unwrap().len() <= self.0.lost {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(CommitStatusResponse { result: self.0.code.into(), block_number: 7 }))
    }

    async fn evaluate(&self, _: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        Err(chaincode_failure(Code::Unknown))
    }

    type ChaincodeEventsStream = futures::stream::Iter<std::vec::IntoIter<Result<ChaincodeEventsResponse, Status>>>;

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        let request = request.into_inner();
        self.verify(&request.request, &request.signature)?;
        let asked = ChaincodeEventsRequest::decode(request.request.as_slice()).unwrap();
        let event = |name: &str| ChaincodeEvent {
            event_name: name.to_owned(),
            chaincode_id: asked.chaincode_id.clone(),
            tx_id: asked.after_transaction_id.clone(),
            payload: b"payload".to_vec(),
        };
        let blocks = [(3, vec![event("a"), event("b")]), (5, vec![event("c")])]
            .map(|(block_number, events)| Ok(ChaincodeEventsResponse { events, block_number }));
        Ok(Response::new(futures::stream::iter(blocks.to_vec())))
    }
}

/// A client of a gateway with this script.
async fn gateway(script: Script) -> (PeerClient, Arc<Script>) {
    let (signer, key) = identity();
    let key = VerifyingKey::from(SecretKey::from_pkcs8_pem(&key).unwrap().public_key());
    let script = Arc::new(script);
    let authority = Authority::new();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder()
        .tls_config(authority.server_tls())
        .unwrap()
        .add_service(GatewayServer::new(Fake(Arc::clone(&script), key)));
    tokio::spawn(server.serve_with_incoming(incoming));
    let node = Node::connect(SERVER_NAME, &authority.endpoint(address), None).await.unwrap();
    (PeerClient::new(node, signer), script)
}

fn call() -> Invocation {
    Invocation::new("mychannel", "basic", "ReadAsset").argument("asset9")
}

#[tokio::test]
async fn the_chaincodes_message_reaches_the_caller_with_every_peer_that_sent_it() {
    let (peer, _) = gateway(Script::default()).await;
    let error = peer.evaluate(&call(), &[], soon()).await.unwrap_err();
    assert_eq!(error.chaincode_error(), Some((404, "asset9 does not exist")));
    let ClientError::Status { code: Code::Unknown, details, node, .. } = error else {
        panic!("not a status: {error}");
    };
    assert_eq!(node, SERVER_NAME);
    let expected = ["Org1MSP", "Org2MSP"].map(|msp_id| NodeFailure {
        address: format!("{msp_id}:7051"),
        msp_id: msp_id.to_owned(),
        message: "chaincode response 404, asset9 does not exist".to_owned(),
    });
    assert_eq!(details, expected);
}

#[tokio::test]
async fn every_step_of_a_transaction_is_signed_and_has_the_same_id() {
    let (peer, script) = gateway(Script::default()).await;
    let submitted = peer.submit_transaction(&call(), &[], soon()).await.unwrap();
    assert_eq!(submitted.committed.block_number, 7);
    assert_eq!(*script.submitted.lock().unwrap(), [submitted.committed.transaction_id]);
}

#[tokio::test]
async fn a_transaction_is_submitted_again_until_there_is_a_leader() {
    let (peer, script) = gateway(Script { without_leader: 3.into(), ..Script::default() }).await;
    let submitted = peer.submit_transaction(&call(), &[], soon()).await.unwrap();
    let seen = script.submitted.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|id| *id == submitted.committed.transaction_id), "{seen:?}");
}

#[tokio::test]
async fn without_a_leader_the_deadline_ends_it_with_the_last_answer() {
    let (peer, _) = gateway(Script { without_leader: usize::MAX.into(), ..Script::default() }).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = peer.submit_transaction(&call(), &[], deadline).await.unwrap_err().to_string();
    assert!(error.starts_with("submit: no answer from peer0.org1.example.com within "), "{error}");
    assert!(error.ends_with("no orderers could successfully process transaction"), "{error}");
}

#[tokio::test]
async fn a_transaction_that_is_not_committed_is_submitted_again() {
    let (peer, script) = gateway(Script { lost: 1, ..Script::default() }).await;
    peer.submit_transaction(&call(), &[], soon()).await.unwrap();
    assert_eq!(script.submitted.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_transaction_that_is_never_committed_ends_at_the_deadline() {
    let (peer, _) = gateway(Script { lost: usize::MAX, ..Script::default() }).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = peer.submit_transaction(&call(), &[], deadline).await.unwrap_err().to_string();
    assert!(error.starts_with("wait for the commit: no answer from peer0.org1.example.com within "), "{error}");
    assert!(deadline.elapsed() < Duration::from_secs(1), "the deadline did not hold: {:?} late", deadline.elapsed());
}

#[tokio::test]
async fn a_transaction_committed_as_invalid_is_an_error_with_its_code() {
    let (peer, _) = gateway(Script { code: TxValidationCode::MvccReadConflict, ..Script::default() }).await;
    let error = peer.submit_transaction(&call(), &[], soon()).await.unwrap_err();
    let ClientError::Invalid { block_number: 7, ref code, .. } = error else {
        panic!("not an invalid transaction: {error}");
    };
    assert_eq!(code, "MVCC_READ_CONFLICT");
}

#[tokio::test]
async fn events_come_one_by_one_with_their_block_and_then_the_end() {
    let (peer, _) = gateway(Script::default()).await;
    let after = EventStart::AfterTransaction("tx1".to_owned());
    let mut events = peer.chaincode_events("mychannel", "basic", &after).unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = events.next(soon()).await.unwrap();
        assert_eq!((event.chaincode.as_str(), event.transaction_id.as_str()), ("basic", "tx1"));
        seen.push((event.name, event.block_number));
    }
    assert_eq!(seen, [("a".to_owned(), 3), ("b".to_owned(), 3), ("c".to_owned(), 5)]);
    let end = events.next(soon()).await.unwrap_err().to_string();
    assert!(end.contains("the peer ended the stream"), "{end}");
}

#[tokio::test]
async fn endorsing_peers_are_waited_for_until_the_chaincode_answers() {
    let organizations = ["Org2MSP".to_owned()];
    for broken in [false, true] {
        let (peer, script) = gateway(Script { without_peers: 3.into(), broken, ..Script::default() }).await;
        peer.await_endorsers(&call(), &organizations, soon()).await.unwrap();
        assert_eq!(script.without_peers.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn without_endorsing_peers_the_deadline_ends_it_with_the_last_answer() {
    let (peer, _) = gateway(Script { without_peers: usize::MAX.into(), ..Script::default() }).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = peer.await_endorsers(&call(), &[], deadline).await.unwrap_err().to_string();
    assert!(error.ends_with("last seen: failed to find any endorsing peers for org(s): Org2MSP"), "{error}");
}
