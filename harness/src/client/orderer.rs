//! An orderer as one identity sees it, and its deliver service: whether it serves a channel yet.
//!
//! Transactions go to orderers through a peer's gateway, joining through `participation`.

use std::sync::Arc;
use std::time::SystemTime;

use fabric_protos::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader, Status};
use fabric_protos::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use fabric_protos::orderer::deliver_response::Type;
use fabric_protos::orderer::seek_info::SeekBehavior;
use fabric_protos::orderer::{SeekInfo, SeekNewest, SeekPosition, seek_position};
use futures::stream;
use prost::Message as _;
use tokio::time::Instant;

use super::error::ClientError;
use super::signer::{Signer, SignerError};
use super::transport::{MAX_MESSAGE_SIZE, Node, timed_out};
use crate::wait::{self, Poll};

/// A connected orderer and the identity that asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrdererClient {
    node: Node,
    signer: Arc<Signer>,
}

impl OrdererClient {
    /// Asks `node` as `signer`.
    pub fn new(node: Node, signer: Arc<Signer>) -> Self {
        Self { node, signer }
    }

    /// The orderer's name.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// Waits until this orderer delivers a channel's blocks, which it does once it knows a leader.
    ///
    /// A peer that joins earlier is turned away when it asks for blocks, and asks again only 100 ms
    /// later, then 120 ms and so on (`internal/pkg/peer/blocksprovider`); waiting here first is the
    /// shorter way to its first block. The identity must be a reader of the channel.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] with the last status; [`ClientError::Rejected`] with another one,
    /// such as 403 for an identity that may not read; and as any call.
    pub async fn await_channel(&self, channel: &str, deadline: Instant) -> Result<(), ClientError> {
        let operation = "wait until the orderer serves the channel";
        let bound = deadline.saturating_duration_since(Instant::now());
        let serves = wait::until(operation, bound, async || {
            let status = self.seek_newest(operation, channel).await?;
            match status {
                Status::Success => Ok(Poll::Ready(())),
                Status::ServiceUnavailable => Ok(Poll::NotYet(status.as_str_name().to_owned())),
                _ => Err(ClientError::Rejected {
                    operation,
                    node: self.name().to_owned(),
                    status: status.into(),
                    message: status.as_str_name().to_owned(),
                }),
            }
        });
        serves.await.map_err(|ended| timed_out(operation, self.name(), ended))
    }

    /// Asks for the newest block, and takes it for success.
    async fn seek_newest(&self, operation: &'static str, channel: &str) -> Result<Status, ClientError> {
        let failed = |status: tonic::Status| ClientError::from_status(operation, self.name(), &status);
        let newest = SeekPosition { r#type: Some(seek_position::Type::Newest(SeekNewest {})) };
        let seek = SeekInfo {
            start: Some(newest),
            stop: Some(newest),
            behavior: SeekBehavior::FailIfNotReady.into(),
            ..Default::default()
        };
        let envelope = signed(&self.signer, HeaderType::DeliverSeekInfo, channel, seek.encode_to_vec())?;
        let mut client = AtomicBroadcastClient::new(self.node.channel()).max_decoding_message_size(MAX_MESSAGE_SIZE);
        let answers = client.deliver(stream::iter([envelope])).await.map_err(failed)?;
        match answers.into_inner().message().await.map_err(failed)?.and_then(|answer| answer.r#type) {
            Some(Type::Block(_)) => Ok(Status::Success),
            Some(Type::Status(status)) => Status::try_from(status)
                .map_err(|_| ClientError::malformed(operation, self.name(), format!("unknown status {status}"))),
            None => Err(ClientError::malformed(operation, self.name(), "neither a block nor a status in it")),
        }
    }
}

/// A signed envelope of a message that is no transaction.
fn signed(signer: &Signer, kind: HeaderType, channel: &str, data: Vec<u8>) -> Result<Envelope, SignerError> {
    let channel_header = ChannelHeader {
        r#type: kind.into(),
        channel_id: channel.to_owned(),
        timestamp: Some(SystemTime::now().into()),
        ..Default::default()
    };
    let signature_header =
        SignatureHeader { creator: signer.creator().to_vec(), nonce: signer.transaction_context()?.nonce };
    let header =
        Header { channel_header: channel_header.encode_to_vec(), signature_header: signature_header.encode_to_vec() };
    let payload = Payload { header: Some(header), data }.encode_to_vec();
    let signature = signer.sign(&payload)?;
    Ok(Envelope { payload, signature })
}
