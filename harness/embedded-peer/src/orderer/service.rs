//! The service of an orderer's gRPC port: broadcast and deliver.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::common::{Block, Envelope, Status as Code};
use fabric_protos::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use fabric_protos::orderer::{BroadcastResponse, DeliverResponse, deliver_response};
use futures::Stream;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::Orderer;
use super::chain::Chain;
use crate::clock::Clock;
use crate::deliver::{self, Content};
use crate::node::Client;
use crate::policy::SignedData;

/// The service of an orderer's gRPC port.
pub(crate) fn service(orderer: &Arc<Orderer>) -> AtomicBroadcastServer<impl AtomicBroadcast> {
    AtomicBroadcastServer::new(Service(Arc::clone(orderer)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

struct Service(Arc<Orderer>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AtomicBroadcast for Service {
    type BroadcastStream = Answers<BroadcastResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let answers = super::broadcast::answers(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    type DeliverStream = Answers<DeliverResponse>;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        let client = Client::of(&request)?;
        let answers = deliver::answers(Blocks(Arc::clone(&self.0)), client, request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }
}

/// An orderer as a source of blocks.
struct Blocks(Arc<Orderer>);

impl deliver::Node for Blocks {
    type Response = DeliverResponse;

    fn chain(&self, channel: &str) -> Option<Arc<dyn deliver::Chain>> {
        Some(Arc::new(Readable(self.0.chain(channel)?)))
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn window(&self) -> Duration {
        self.0.configuration.general.authentication.time_window
    }

    fn mutual_tls(&self) -> bool {
        self.0.configuration.general.tls.client_auth_required
    }

    fn status(&self, code: Code) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Status(code.into())) }
    }

    fn block(
        &self,
        channel: &str,
        block: &Arc<Block>,
        content: Content,
        _: &SignedData,
    ) -> Result<DeliverResponse, Status> {
        let block = match self.0.membership(channel) {
            Some(membership) => membership.signatures.on(content.of(block), &self.0.signer),
            None => content.of(block),
        };
        Ok(DeliverResponse { r#type: Some(deliver_response::Type::Block(block)) })
    }
}

/// A channel as a source of blocks.
struct Readable(Chain);

impl deliver::Chain for Readable {
    fn height(&self) -> u64 {
        self.0.blocks().height()
    }

    fn heights(&self) -> watch::Receiver<u64> {
        self.0.blocks().heights()
    }

    fn block(&self, number: u64) -> Option<Arc<Block>> {
        self.0.blocks().block(number)
    }

    fn sequence(&self) -> u64 {
        self.0.resources().sequence()
    }

    fn check(&self, signed: &SignedData) -> Result<(), String> {
        self.0.resources().may_read(signed)
    }

    fn errored(&self) -> BoxFuture<'static, ()> {
        let chain = self.0.clone();
        Box::pin(async move { chain.quorum_lost().await })
    }

    fn is_errored(&self) -> bool {
        !self.0.has_quorum()
    }
}
