//! The stream of a chaincode's events, from the gateway service.
//!
//! Blocks without events of the chaincode are not reported. Dropping the stream ends it; to resume, start
//! a new one with [`EventStart::AfterTransaction`].

use std::collections::VecDeque;

use fabric_protos::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use fabric_protos::orderer::seek_position;
use fabric_protos::orderer::{SeekNextCommit, SeekPosition, SeekSpecified};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::endorser::PeerClient;
use super::error::ClientError;
use super::transport::{Node, until};
use crate::journal::Content;

const OPERATION: &str = "read chaincode events";

/// Blocks that may wait to be read; the peer waits beyond that.
const WAITING_BLOCKS: usize = 16;

/// Where a stream of events starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventStart {
    /// At the next block that the peer commits. The peer does not report when it starts to watch, so an
    /// event of a transaction submitted right afterwards may be missed; give a block number instead.
    NextCommit,
    /// At the block of this number, which may not exist yet.
    Block(u64),
    /// After this transaction, in its block.
    AfterTransaction(String),
}

/// An event that a chaincode set in a committed, valid transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The chaincode.
    pub chaincode: String,
    /// The transaction.
    pub transaction_id: String,
    /// The block that holds it.
    pub block_number: u64,
}

/// A running stream of events. Dropping it ends it.
#[derive(Debug)]
pub struct Events {
    node: String,
    blocks: mpsc::Receiver<Result<ChaincodeEventsResponse, ClientError>>,
    waiting: VecDeque<Event>,
}

impl Events {
    /// The next event, waited for until the deadline.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] when none arrives; the stream's own failure otherwise.
    pub async fn next(&mut self, deadline: Instant) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let block = until(OPERATION, &self.node, deadline, self.blocks.recv()).await?;
            let block = block.ok_or_else(|| ClientError::Transport {
                operation: OPERATION,
                node: self.node.clone(),
                cause: "the peer ended the stream".to_owned(),
            })??;
            let block_number = block.block_number;
            self.waiting.extend(block.events.into_iter().map(|event| Event {
                name: event.event_name,
                payload: event.payload,
                chaincode: event.chaincode_id,
                transaction_id: event.tx_id,
                block_number,
            }));
        }
    }
}

impl PeerClient {
    /// Starts to read a chaincode's events. The request has been sent when this returns; the first
    /// [`Events::next`] reports a refusal.
    ///
    /// # Errors
    /// [`ClientError::Signer`] only.
    pub fn chaincode_events(&self, channel: &str, chaincode: &str, start: &EventStart) -> Result<Events, ClientError> {
        let request = ChaincodeEventsRequest {
            channel_id: channel.to_owned(),
            chaincode_id: chaincode.to_owned(),
            identity: self.signer.creator().to_vec(),
            start_position: Some(SeekPosition { r#type: Some(start.position()) }),
            after_transaction_id: match start {
                EventStart::AfterTransaction(transaction_id) => transaction_id.clone(),
                EventStart::NextCommit | EventStart::Block(_) => String::new(),
            },
        }
        .encode_to_vec();
        let signature = self.signer.sign(&request)?;
        let (sender, blocks) = mpsc::channel(WAITING_BLOCKS);
        let request = SignedChaincodeEventsRequest { request, signature };
        tokio::spawn(forward(self.clone(), request, sender));
        Ok(Events { node: self.name().to_owned(), blocks, waiting: VecDeque::new() })
    }
}

impl EventStart {
    fn position(&self) -> seek_position::Type {
        match self {
            Self::Block(number) => seek_position::Type::Specified(SeekSpecified { number: *number }),
            Self::NextCommit | Self::AfterTransaction(_) => seek_position::Type::NextCommit(SeekNextCommit {}),
        }
    }
}

/// Forwards blocks until the stream fails or the reader is gone. A separate task, because a Go server sends its
/// headers only with the first block, and the request should not wait for a reader.
async fn forward(
    peer: PeerClient,
    request: SignedChaincodeEventsRequest,
    sender: mpsc::Sender<Result<ChaincodeEventsResponse, ClientError>>,
) {
    let reading = async {
        let mut stream = peer.gateway().chaincode_events(request).await?.into_inner();
        while let Some(block) = stream.message().await? {
            for event in &block.events {
                peer.note_answer(|| Content {
                    kind: "ChaincodeEvent".to_owned(),
                    text: format!("{} {}, {} bytes", event.chaincode_id, event.event_name, event.payload.len()),
                    transaction: event.tx_id.clone(),
                    failed: false,
                });
            }
            if sender.send(Ok(block)).await.is_err() {
                break;
            }
        }
        Ok::<_, tonic::Status>(())
    };
    tokio::select! {
        () = sender.closed() => {}
        ended = reading => if let Err(status) = ended {
            let failed = ClientError::from_status(OPERATION, Node::name(&peer.node), &status);
            // Fails only if the reader is gone.
            let _ = sender.send(Err(failed)).await;
        }
    }
}
