//! The peer's Deliver services (`core/peer/deliverevents.go`).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::common::{Block, BlockMetadataIndex, ChannelHeader, Envelope, HeaderType, Payload, Status as Code};
use fabric_protos::protos::deliver_response::Type;
use fabric_protos::protos::deliver_server::{Deliver, DeliverServer};
use fabric_protos::protos::{
    BlockAndPrivateData, ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, DeliverResponse, FilteredBlock,
    FilteredChaincodeAction, FilteredTransaction, FilteredTransactionActions, ProposalResponsePayload, Transaction,
    filtered_transaction,
};
use futures::Stream;
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::Peer;
use crate::channel::PeerChannel;
use crate::clock::Clock;
use crate::config::acl;
use crate::deliver::{Chain, Content, Node, answers};
use crate::node::Client;
use crate::policy::SignedData;

/// The Deliver services of a peer.
pub(crate) fn service(peer: &Arc<Peer>) -> DeliverServer<impl Deliver> {
    DeliverServer::new(Service(Arc::clone(peer)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

struct Service(Arc<Peer>);

type Answers = Pin<Box<dyn Stream<Item = Result<DeliverResponse, Status>> + Send>>;

impl Service {
    fn answers(&self, form: Form, request: Request<Streaming<Envelope>>) -> Result<Response<Answers>, Status> {
        let client = Client::of(&request)?;
        let node = Blocks { peer: Arc::clone(&self.0), form };
        Ok(Response::new(Box::pin(answers(node, client, request.into_inner()))))
    }
}

#[tonic::async_trait]
impl Deliver for Service {
    type DeliverStream = Answers;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Answers>, Status> {
        self.answers(Form::Block, request)
    }

    type DeliverFilteredStream = Answers;

    async fn deliver_filtered(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Answers>, Status> {
        self.answers(Form::Filtered, request)
    }

    type DeliverWithPrivateDataStream = Answers;

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Answers>, Status> {
        self.answers(Form::WithPrivateData, request)
    }
}

/// The form of the delivered blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Block,
    Filtered,
    WithPrivateData,
}

impl Form {
    /// Its resource in the channel's ACLs.
    fn resource(self) -> &'static str {
        match self {
            Self::Block | Self::WithPrivateData => "event/Block",
            Self::Filtered => "event/FilteredBlock",
        }
    }
}

/// A peer as a source of blocks.
struct Blocks {
    peer: Arc<Peer>,
    form: Form,
}

impl Node for Blocks {
    type Response = DeliverResponse;

    fn chain(&self, channel: &str) -> Option<Arc<dyn Chain>> {
        let channel = self.peer.channel(channel)?;
        Some(Arc::new(Readable { peer: Arc::clone(&self.peer), channel, form: self.form }))
    }

    fn clock(&self) -> &Clock {
        &self.peer.clock
    }

    fn window(&self) -> Duration {
        self.peer.configuration.peer.authentication.timewindow
    }

    fn mutual_tls(&self) -> bool {
        self.peer.configuration.peer.tls.client_auth_required
    }

    fn status(&self, code: Code) -> DeliverResponse {
        DeliverResponse { r#type: Some(Type::Status(code.into())) }
    }

    fn block(
        &self,
        channel: &str,
        block: &Arc<Block>,
        content: Content,
        signed: &SignedData,
    ) -> Result<DeliverResponse, Status> {
        let answer = match self.form {
            Form::Block => Type::Block(content.of(block)),
            Form::Filtered => match filtered(&content.of(block)) {
                Ok(filtered) => Type::FilteredBlock(filtered),
                Err(reason) => {
                    tracing::warn!("failed to generate filtered block due to: {reason}");
                    Type::Status(Code::BadRequest.into())
                }
            },
            Form::WithPrivateData => {
                Type::BlockAndPrivateData(self.with_private_data(channel, block, content, signed)?)
            }
        };
        Ok(DeliverResponse { r#type: Some(answer) })
    }
}

impl Blocks {
    fn with_private_data(
        &self,
        channel: &str,
        block: &Arc<Block>,
        content: Content,
        signed: &SignedData,
    ) -> Result<BlockAndPrivateData, Status> {
        let number = block.header.as_ref().map_or(0, |header| header.number);
        let joined =
            self.peer.channel(channel).ok_or_else(|| Status::unknown(format!("channel {channel} not found")))?;
        let stored = joined.ledger.block(number);
        let mut private_data_map = BTreeMap::new();
        for (index, sets) in stored.iter().flat_map(|stored| &stored.private) {
            let visible = readable(&joined, sets, signed).map_err(Status::unknown)?;
            if !visible.ns_pvt_rwset.is_empty() {
                private_data_map.insert(*index, visible);
            }
        }
        Ok(BlockAndPrivateData { block: Some(content.of(block)), private_data_map })
    }
}

/// The private data that the client may read.
fn readable(
    channel: &PeerChannel,
    sets: &fabric_protos::rwset::TxPvtReadWriteSet,
    signed: &SignedData,
) -> Result<fabric_protos::rwset::TxPvtReadWriteSet, String> {
    let mut visible = sets.clone();
    for namespace in &mut visible.ns_pvt_rwset {
        let mut kept = Vec::new();
        for collection in std::mem::take(&mut namespace.collection_pvt_rwset) {
            if channel.may_read_collection(&namespace.namespace, &collection.collection_name, &signed.identity)? {
                kept.push(collection);
            }
        }
        namespace.collection_pvt_rwset = kept;
    }
    visible.ns_pvt_rwset.retain(|namespace| !namespace.collection_pvt_rwset.is_empty());
    Ok(visible)
}

/// A channel as a source of blocks.
struct Readable {
    peer: Arc<Peer>,
    channel: Arc<PeerChannel>,
    form: Form,
}

impl Chain for Readable {
    fn height(&self) -> u64 {
        self.channel.ledger.height()
    }

    fn heights(&self) -> watch::Receiver<u64> {
        self.channel.ledger.heights()
    }

    fn block(&self, number: u64) -> Option<Arc<Block>> {
        self.channel.ledger.block(number).map(|stored| Arc::clone(&stored.block))
    }

    fn sequence(&self) -> u64 {
        self.channel.config().sequence()
    }

    fn check(&self, signed: &SignedData) -> Result<(), String> {
        let config = self.channel.config();
        acl::check(self.form.resource(), Some(&config), &self.peer.local_msp, signed)
    }
}

/// A filtered block: without the contents of transactions.
fn filtered(block: &Block) -> Result<FilteredBlock, String> {
    let mut filtered =
        FilteredBlock { number: block.header.as_ref().map_or(0, |header| header.number), ..FilteredBlock::default() };
    let codes = block.metadata.as_ref().map(|metadata| &*metadata.metadata).unwrap_or_default();
    let codes = codes.get(BlockMetadataIndex::TransactionsFilter as usize).map(Vec::as_slice).unwrap_or_default();
    let envelopes = block.data.as_ref().map(|data| &*data.data).unwrap_or_default();
    for (index, envelope) in envelopes.iter().enumerate() {
        let Ok(envelope) = Envelope::decode(&**envelope) else { continue };
        let payload = Payload::decode(&*envelope.payload).map_err(|error| malformed(&error))?;
        let Some(header) = payload.header else { continue };
        let header = ChannelHeader::decode(&*header.channel_header).map_err(|error| malformed(&error))?;
        filtered.channel_id = header.channel_id;
        let data = if header.r#type == HeaderType::EndorserTransaction as i32 {
            Some(filtered_transaction::Data::TransactionActions(actions(&payload.data)?))
        } else {
            None
        };
        filtered.filtered_transactions.push(FilteredTransaction {
            txid: header.tx_id,
            r#type: header.r#type,
            tx_validation_code: codes.get(index).copied().unwrap_or(u8::MAX).into(),
            data,
        });
    }
    Ok(filtered)
}

fn actions(transaction: &[u8]) -> Result<FilteredTransactionActions, String> {
    let mut filtered = FilteredTransactionActions::default();
    for action in Transaction::decode(transaction).map_err(|error| malformed(&error))?.actions {
        let Some(endorsed) =
            ChaincodeActionPayload::decode(&*action.payload).map_err(|error| malformed(&error))?.action
        else {
            continue;
        };
        let response =
            ProposalResponsePayload::decode(&*endorsed.proposal_response_payload).map_err(|error| malformed(&error))?;
        let action = ChaincodeAction::decode(&*response.extension).map_err(|error| malformed(&error))?;
        let event = ChaincodeEvent::decode(&*action.events).map_err(|error| malformed(&error))?;
        if !event.chaincode_id.is_empty() {
            let chaincode_event = Some(ChaincodeEvent { payload: Vec::new(), ..event });
            filtered.chaincode_actions.push(FilteredChaincodeAction { chaincode_event });
        }
    }
    Ok(filtered)
}

fn malformed(error: &prost::DecodeError) -> String {
    error.to_string()
}
