//! Peers whose endorser service gives a prepared response: what counts as endorsed, and what not.

use fabric_protos::common::Payload;
use fabric_protos::lifecycle::InstallChaincodeResult;
use fabric_protos::protos::endorser_server::{Endorser, EndorserServer};
use fabric_protos::protos::{Endorsement, ProposalResponse, Response as ChaincodeResponse, SignedProposal};
use prost::Message as _;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;
use crate::client::endorser::endorse;
use crate::client::{ClientError, Installation, Invocation, Node, PeerClient};

struct Fake(ProposalResponse);

#[tonic::async_trait]
impl Endorser for Fake {
    async fn process_proposal(&self, _: Request<SignedProposal>) -> Result<Response<ProposalResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// A client of a peer that answers every proposal with `response`.
async fn peer(name: &str, response: ProposalResponse) -> PeerClient {
    let authority = Authority::new();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = authority.endpoint(incoming.local_addr().unwrap());
    let mut server = Server::builder().tls_config(authority.server_tls()).unwrap();
    tokio::spawn(server.add_service(EndorserServer::new(Fake(response))).serve_with_incoming(incoming));
    PeerClient::new(Node::connect(name, &endpoint, None).await.unwrap(), identity().0)
}

fn response(status: i32, message: &str, payload: &[u8]) -> ProposalResponse {
    let response = ChaincodeResponse { status, message: message.to_owned(), payload: payload.to_vec() };
    ProposalResponse { response: Some(response), ..Default::default() }
}

fn endorsed_by(endorser: &str, payload: &str) -> ProposalResponse {
    let endorsement = Endorsement { endorser: endorser.into(), signature: b"signature".to_vec() };
    ProposalResponse { payload: payload.into(), endorsement: Some(endorsement), ..response(200, "", b"") }
}

fn call() -> Invocation {
    Invocation::new("mychannel", "basic", "CreateAsset")
}

#[tokio::test]
async fn a_status_below_200_or_from_400_on_is_a_refusal_with_the_peers_name_and_words() {
    for (status, good) in [(199, false), (200, true), (399, true), (400, false), (500, false)] {
        let peer = peer("peer0", response(status, "because", b"")).await;
        let proposal = call().propose(peer.signer()).unwrap();
        match peer.process_proposal("ask", &proposal, soon()).await {
            Ok(_) => assert!(good, "status {status} was taken as an endorsement"),
            Err(error) => {
                assert!(!good, "status {status} was taken as a refusal: {error}");
                assert_eq!(error.to_string(), format!("ask: peer0 answered with status {status}: because"));
            }
        }
    }
}

#[tokio::test]
async fn a_response_without_content_is_malformed() {
    let peer = peer("peer0", ProposalResponse::default()).await;
    let error = peer.channels(soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn peers_that_agree_endorse_one_transaction() {
    let peers = [peer("peer0", endorsed_by("a", "same")).await, peer("peer1", endorsed_by("b", "same")).await];
    let transaction = endorse("ask", &peers, &call(), soon()).await.unwrap();
    assert_eq!(transaction.channel, "mychannel");
    assert_eq!(transaction.transaction_id.len(), 64);
    assert!(Payload::decode(transaction.envelope.payload.as_slice()).unwrap().header.is_some());
}

#[tokio::test]
async fn peers_that_disagree_are_both_named() {
    let peers = [peer("peer0", endorsed_by("a", "one")).await, peer("peer1", endorsed_by("b", "two")).await];
    let error = endorse("ask", &peers, &call(), soon()).await.unwrap_err().to_string();
    assert!(error.starts_with("ask: peer0 and peer1 computed different results"), "{error}");
}

#[tokio::test]
async fn nobody_to_ask_is_an_error() {
    let error = endorse("ask", &[], &call(), soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::NoPeer { .. }), "{error}");
}

#[tokio::test]
async fn an_install_gives_the_package_id_whether_it_was_there_or_not() {
    let result = InstallChaincodeResult { package_id: "l:1".to_owned(), label: "l".to_owned() };
    let fresh = peer("peer0", response(200, "", &result.encode_to_vec())).await;
    let expected = Installation::Installed { package_id: "l:1".to_owned() };
    assert_eq!(fresh.install(b"package", soon()).await.unwrap(), expected);

    let words = "chaincode already successfully installed (package ID 'l:1')";
    let again = peer("peer0", response(500, words, b"")).await;
    let expected = Installation::AlreadyInstalled { package_id: "l:1".to_owned() };
    assert_eq!(again.install(b"package", soon()).await.unwrap(), expected);

    let broken = peer("peer0", response(500, "could not build chaincode", b"")).await;
    let error = broken.install(b"package", soon()).await.unwrap_err().to_string();
    assert_eq!(error, "install the package: peer0 answered with status 500: could not build chaincode");
}
