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
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::client::{ClientError, EventStart, Invocation, Node, NodeFailure, PeerClient};

/// What the gateway is to do, and what it has seen.
struct Script {
    /// Answers to the first evaluations.
    unready: Mutex<Vec<Status>>,
    /// Submits to turn down, as without a leader of the ordering service.
    without_leader: AtomicUsize,
    /// What orderers answer to a submit that is turned down.
    orderers: &'static [&'static str],
    /// Whether a transaction of a submit that is turned down is committed nevertheless.
    overtaken: bool,
    /// Transactions of submits that were turned down, and when.
    refused: Mutex<Vec<(Instant, String)>>,
    /// Transactions that were ordered.
    submitted: watch::Sender<Vec<String>>,
    /// Submits to accept and forget, as a leader does that steps down.
    lost: usize,
    code: TxValidationCode,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            unready: Mutex::default(),
            without_leader: 0.into(),
            orderers: &[],
            overtaken: false,
            refused: Mutex::default(),
            submitted: watch::Sender::default(),
            lost: 0,
            code: TxValidationCode::Valid,
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

fn with_details<'a>(code: Code, message: &str, details: impl Iterator<Item = (&'a str, &'a str)>) -> Status {
    let details = details.map(|(msp_id, message)| {
        let detail =
            ErrorDetail { address: format!("{msp_id}:7051"), msp_id: msp_id.to_owned(), message: message.to_owned() };
        Any { type_url: "type.googleapis.com/gateway.ErrorDetail".to_owned(), value: detail.encode_to_vec() }
    });
    let status = fabric_protos::rpc::Status { details: details.collect(), ..Default::default() };
    Status::with_details(code, message, status.encode_to_vec().into())
}

fn chaincode_failure(code: Code) -> Status {
    let failure = "chaincode response 404, asset9 does not exist";
    with_details(code, "see attached details", ["Org1MSP", "Org2MSP"].into_iter().zip([failure; 2]))
}

#[tonic::async_trait]
impl Gateway for Fake {
    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        let proposal = request.into_inner().proposed_transaction.unwrap_or_default();
        self.verify(&proposal.proposal_bytes, &proposal.signature)?;
        let payload = Payload { header: Some(Header::default()), data: vec![] };
        let envelope = Envelope { payload: payload.encode_to_vec(), ..Default::default() };
        Ok(Response::new(EndorseResponse { prepared_transaction: Some(envelope) }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let request = request.into_inner();
        let envelope = request.prepared_transaction.unwrap_or_default();
        self.verify(&envelope.payload, &envelope.signature)?;
        let refused = one_less(&self.0.without_leader);
        if !refused || self.0.overtaken {
            self.0.submitted.send_modify(|submitted| submitted.push(request.transaction_id));
        } else {
            self.0.refused.lock().unwrap().push((Instant::now(), request.transaction_id));
        }
        if refused {
            let details = self.0.orderers.iter().map(|info| ("OrdererMSP", *info));
            return Err(with_details(Code::Unavailable, "no orderers could successfully process transaction", details));
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
        let lost = self.0.lost;
        let mut submitted = self.0.submitted.subscribe();
        submitted.wait_for(|submitted| submitted.len() > lost).await.unwrap();
        Ok(Response::new(CommitStatusResponse { result: self.0.code.into(), block_number: 7 }))
    }

    async fn evaluate(&self, _: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        Err(self.0.unready.lock().unwrap().pop().unwrap_or_else(|| chaincode_failure(Code::Unknown)))
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
    assert_eq!(*script.submitted.borrow(), [submitted.committed.transaction_id]);
}

#[tokio::test]
async fn a_transaction_is_submitted_again_until_there_is_a_leader() {
    let (peer, script) = gateway(Script { without_leader: 3.into(), ..Script::default() }).await;
    let submitted = peer.submit_transaction(&call(), &[], soon()).await.unwrap();
    let refused = script.refused.lock().unwrap();
    assert_eq!((refused.len(), script.submitted.borrow().len()), (3, 1));
    let mut ids = refused.iter().map(|(_, id)| id).chain(script.submitted.borrow().iter()).cloned().collect::<Vec<_>>();
    ids.dedup();
    assert_eq!(ids, [submitted.committed.transaction_id]);
}

#[tokio::test]
async fn the_pause_between_submits_that_are_turned_down_grows() {
    let (peer, script) = gateway(Script { without_leader: 5.into(), ..Script::default() }).await;
    peer.submit_transaction(&call(), &[], soon()).await.unwrap();
    let refused = script.refused.lock().unwrap();
    let pauses: Vec<Duration> = refused.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    // A pause is never shorter than it should be, whatever else the machine does.
    for (pause, at_least) in pauses.iter().zip([20, 40, 80, 160]) {
        assert!(*pause >= Duration::from_millis(at_least), "{pauses:?}");
    }
}

#[tokio::test]
async fn the_commit_status_decides_after_a_submit_that_is_turned_down() {
    for orderers in [&["request already processed"][..], &["broken pipe"], &[]] {
        let script = Script { without_leader: usize::MAX.into(), overtaken: true, orderers, ..Script::default() };
        let (peer, script) = gateway(script).await;
        let submitted = peer.submit_transaction(&call(), &[], soon()).await.unwrap();
        let mut seen = script.submitted.borrow().clone();
        // On a slow machine it is submitted again before the status arrives.
        seen.dedup();
        assert_eq!(seen, [submitted.committed.transaction_id], "{orderers:?}");
    }
}

#[tokio::test]
async fn an_orderer_that_has_the_transaction_already_is_not_asked_again_soon() {
    let orderers = &["status=SERVICE_UNAVAILABLE, info=failed to submit request: request already processed"][..];
    let (peer, script) =
        gateway(Script { without_leader: usize::MAX.into(), orderers, lost: 1, ..Script::default() }).await;
    let deadline = Instant::now() + Duration::from_millis(500);
    let error = peer.submit_transaction(&call(), &[], deadline).await.unwrap_err().to_string();
    assert!(error.starts_with("wait for the commit: no answer from peer0.org1.example.com within "), "{error}");
    assert_eq!(script.refused.lock().unwrap().len(), 1);
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
    assert_eq!(script.submitted.borrow().len(), 2);
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
async fn a_chaincode_is_waited_for_until_it_answers_also_with_an_error() {
    let unready = || {
        let unknown = "no peers available to evaluate chaincode basic in channel mychannel";
        vec![
            Status::failed_precondition(unknown),
            Status::unavailable("no connection to peer0"),
            Status::failed_precondition(unknown),
        ]
    };
    let (peer, script) = gateway(Script { unready: unready().into(), ..Script::default() }).await;
    peer.await_chaincode(&call(), soon()).await.unwrap();
    assert!(script.unready.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_gateway_is_an_answer_and_an_error_of_a_peer_is_none() {
    let rules = "no endorsers found in the gateway's organization; retry specifying target organization(s)";
    let refusal = || vec![Status::unavailable("still here"), Status::failed_precondition(rules)];
    let (peer, script) = gateway(Script { unready: refusal().into(), ..Script::default() }).await;
    peer.await_chaincode(&call(), soon()).await.unwrap();
    assert_eq!(script.unready.lock().unwrap().len(), 1);

    let failed = || vec![Status::unknown("could not launch chaincode basic_1: connection refused")];
    let (peer, _) = gateway(Script { unready: failed().into(), ..Script::default() }).await;
    let error = peer.await_chaincode(&call(), soon()).await.unwrap_err().to_string();
    assert!(error.ends_with("could not launch chaincode basic_1: connection refused"), "{error}");
}

#[tokio::test]
async fn without_a_peer_that_has_the_chaincode_the_deadline_ends_it_with_the_last_answer() {
    let unready = vec![Status::failed_precondition("no peers available to evaluate chaincode basic"); 10_000];
    let (peer, _) = gateway(Script { unready: unready.into(), ..Script::default() }).await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = peer.await_chaincode(&call(), deadline).await.unwrap_err().to_string();
    assert!(error.ends_with("last seen: no peers available to evaluate chaincode basic"), "{error}");
}
