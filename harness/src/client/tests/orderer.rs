//! An orderer whose deliver service answers with prepared statuses, one for each seek.

use std::sync::Mutex;

use fabric_protos::common::{Block, ChannelHeader, Envelope, HeaderType, Payload, Status as FabricStatus};
use fabric_protos::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use fabric_protos::orderer::deliver_response::Type;
use fabric_protos::orderer::{BroadcastResponse, DeliverResponse, SeekInfo};
use futures::stream::{self, BoxStream};
use p256::SecretKey;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePrivateKey as _;
use prost::Message as _;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::client::{ClientError, Node, OrdererClient};

/// The statuses still to come, the last one first; without one, a block.
struct Fake(Mutex<Vec<FabricStatus>>, VerifyingKey);

#[tonic::async_trait]
impl AtomicBroadcast for Fake {
    type BroadcastStream = BoxStream<'static, Result<BroadcastResponse, Status>>;
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, Status>>;

    async fn broadcast(&self, _: Request<Streaming<Envelope>>) -> Result<Response<Self::BroadcastStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        let envelope = request.into_inner().message().await?.unwrap_or_default();
        let signature = Signature::from_der(&envelope.signature).unwrap();
        self.1.verify(&envelope.payload, &signature).map_err(|bad| Status::permission_denied(bad.to_string()))?;
        let payload = Payload::decode(envelope.payload.as_slice()).unwrap();
        let header = ChannelHeader::decode(payload.header.unwrap().channel_header.as_slice()).unwrap();
        assert_eq!((header.channel_id.as_str(), header.r#type), ("mychannel", HeaderType::DeliverSeekInfo.into()));
        let seek = SeekInfo::decode(payload.data.as_slice()).unwrap();
        assert_eq!(seek.start, seek.stop, "one block, and not all that follow");
        let answer = match self.0.lock().unwrap().pop() {
            Some(status) => Type::Status(status.into()),
            None => Type::Block(Block::default()),
        };
        Ok(Response::new(Box::pin(stream::iter([Ok(DeliverResponse { r#type: Some(answer) })]))))
    }
}

/// A client of an orderer that answers with these statuses, and then with a block.
async fn orderer(statuses: Vec<FabricStatus>) -> OrdererClient {
    let (signer, key) = identity();
    let key = VerifyingKey::from(SecretKey::from_pkcs8_pem(&key).unwrap().public_key());
    let authority = Authority::new();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = authority.endpoint(incoming.local_addr().unwrap());
    let fake = AtomicBroadcastServer::new(Fake(Mutex::new(statuses), key));
    let server = Server::builder().tls_config(authority.server_tls()).unwrap().add_service(fake);
    tokio::spawn(server.serve_with_incoming(incoming));
    OrdererClient::new(Node::connect("orderer", &endpoint, None).await.unwrap(), signer)
}

#[tokio::test]
async fn a_channel_is_waited_for_until_there_is_a_block() {
    let orderer = orderer(vec![FabricStatus::ServiceUnavailable; 3]).await;
    orderer.await_channel("mychannel", soon()).await.unwrap();
}

#[tokio::test]
async fn a_channel_without_a_leader_ends_at_the_deadline_with_the_last_status() {
    let orderer = orderer(vec![FabricStatus::ServiceUnavailable; 1000]).await;
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = orderer.await_channel("mychannel", deadline).await.unwrap_err().to_string();
    assert!(error.ends_with("last seen: SERVICE_UNAVAILABLE"), "{error}");
}

#[tokio::test]
async fn another_status_is_not_waited_on() {
    let orderer = orderer(vec![FabricStatus::Forbidden]).await;
    let error = orderer.await_channel("mychannel", soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Rejected { status: 403, .. }), "{error}");
}
