//! Block delivery: the common part of the orderer's and the peer's Deliver (`common/deliver`).
//!
//! A stream handles one request at a time. The node determines the format of blocks and the access
//! to them.

mod request;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fabric_protos::common::{Block, Envelope, HeaderType, Status as Code};
use fabric_protos::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use fabric_protos::orderer::{SeekInfo, SeekPosition, seek_position};
use futures::Stream;
use futures::future::{BoxFuture, Either, pending, select};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::clock::Clock;
use crate::envelope::channel_header;
use crate::grpc_go;
use crate::node::Client;
use crate::policy::SignedData;
pub(crate) use request::{Demands, Request};

/// A source of a channel's blocks.
pub(crate) trait Chain: Send + Sync {
    /// The number of blocks.
    fn height(&self) -> u64;
    /// Notifies of each new height.
    fn heights(&self) -> watch::Receiver<u64>;
    /// A block.
    fn block(&self, number: u64) -> Option<Arc<Block>>;
    /// The sequence of the channel's configuration.
    fn sequence(&self) -> u64;
    /// Checks the client against the channel's current configuration.
    fn check(&self, signed: &SignedData) -> Result<(), String>;
    /// Completes when the ordering service fails, immediately if it has failed.
    fn errored(&self) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }
    /// Whether the ordering service has failed.
    fn is_errored(&self) -> bool {
        false
    }
}

/// A node that delivers blocks.
pub(crate) trait Node: Send + Sync + 'static {
    /// A message of the stream.
    type Response: Send + 'static;
    /// A channel by its name.
    fn chain(&self, channel: &str) -> Option<Arc<dyn Chain>>;
    /// The node's clock.
    fn clock(&self) -> &Clock;
    /// The accepted deviation of a client's clock.
    fn window(&self) -> Duration;
    /// Whether requests must contain the hash of the client's TLS certificate.
    fn mutual_tls(&self) -> bool;
    /// The final status of a request.
    fn status(&self, code: Code) -> Self::Response;
    /// A block message.
    ///
    /// # Errors
    ///
    /// The message that ends the stream instead.
    fn block(
        &self,
        channel: &str,
        block: &Arc<Block>,
        content: Content,
        signed: &SignedData,
    ) -> Result<Self::Response, Status>;
}

/// The requested part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The complete block.
    Whole,
    /// The block without its transactions, unless it is a configuration block.
    HeaderAndSignatures,
}

impl Content {
    /// The requested part of this block.
    pub(crate) fn of(self, block: &Block) -> Block {
        match self {
            Self::HeaderAndSignatures if !is_config(block) => {
                Block { header: block.header.clone(), data: None, metadata: block.metadata.clone() }
            }
            _ => block.clone(),
        }
    }
}

/// Whether a block is a configuration block (`protoutil.IsConfigBlock`).
pub(crate) fn is_config(block: &Block) -> bool {
    let Some([envelope]) = block.data.as_ref().map(|data| &*data.data) else { return false };
    let Ok(envelope) = Envelope::decode(&**envelope) else { return false };
    let header = channel_header(&envelope);
    header
        .is_ok_and(|header| [HeaderType::Config as i32, HeaderType::OrdererTransaction as i32].contains(&header.r#type))
}

/// Answers the requests of a stream until one fails or the client ends the stream.
pub(crate) fn answers<N: Node>(
    node: N,
    client: Client,
    requests: Streaming<Envelope>,
) -> impl Stream<Item = Result<N::Response, Status>> + Send + 'static {
    let session = Session { node, client, requests, delivery: None, is_done: false };
    futures::stream::unfold(session, async |mut session| {
        let answer = session.next().await?;
        Some((answer, session))
    })
}

struct Session<N> {
    node: N,
    client: Client,
    requests: Streaming<Envelope>,
    delivery: Option<Delivery>,
    is_done: bool,
}

/// A request in progress.
struct Delivery {
    channel: String,
    chain: Arc<dyn Chain>,
    signed: SignedData,
    expires: Option<SystemTime>,
    /// The configuration sequence at the last access check.
    sequence: Option<u64>,
    next: u64,
    last: u64,
    heights: watch::Receiver<u64>,
    fails_if_not_ready: bool,
    is_best_effort: bool,
    content: Content,
}

impl<N: Node> Session<N> {
    async fn next(&mut self) -> Option<Result<N::Response, Status>> {
        if self.is_done {
            return None;
        }
        if self.delivery.is_none() {
            let envelope = match self.requests.message().await {
                Ok(envelope) => envelope?,
                Err(status) => return Some(self.end(Err(grpc_go::status(status)))),
            };
            match self.begin(envelope) {
                Ok(delivery) => self.delivery = Some(delivery),
                Err(code) => return Some(self.end(Ok(self.node.status(code)))),
            }
        }
        let delivery = self.delivery.as_mut()?;
        if delivery.next > delivery.last {
            self.delivery = None;
            return Some(Ok(self.node.status(Code::Success)));
        }
        let block = match delivery.block(self.node.clock()).await {
            Ok(block) => block,
            Err(code) => return Some(self.end(Ok(self.node.status(code)))),
        };
        match self.node.block(&delivery.channel, &block, delivery.content, &delivery.signed) {
            Ok(response) => Some(Ok(response)),
            Err(status) => Some(self.end(Err(status))),
        }
    }

    fn end<T>(&mut self, answer: Result<T, Status>) -> Result<T, Status> {
        self.is_done = true;
        answer
    }

    fn begin(&self, envelope: Envelope) -> Result<Delivery, Code> {
        let now = self.node.clock().now();
        let demands = Demands { now, window: self.node.window(), mutual_tls: self.node.mutual_tls() };
        let request = Request::open(envelope, &self.client, demands).map_err(|reason| {
            tracing::warn!("error parsing envelope from {}: {reason}", self.client.address);
            Code::BadRequest
        })?;
        let chain = self.node.chain(&request.channel).ok_or(Code::NotFound)?;
        let seek = SeekInfo::decode(&*request.seek).map_err(|_| Code::BadRequest)?;
        let is_best_effort = seek.error_response() == SeekErrorResponse::BestEffort;
        if !is_best_effort && chain.is_errored() {
            return Err(Code::ServiceUnavailable);
        }
        let mut delivery = Delivery {
            channel: request.channel,
            heights: chain.heights(),
            chain,
            signed: request.signed,
            expires: request.expires,
            sequence: None,
            next: 0,
            last: 0,
            fails_if_not_ready: seek.behavior() == SeekBehavior::FailIfNotReady,
            is_best_effort,
            content: match seek.content_type() {
                SeekContentType::Block => Content::Whole,
                SeekContentType::HeaderWithSig => Content::HeaderAndSignatures,
            },
        };
        delivery.check_access(self.node.clock())?;
        (delivery.next, delivery.last) = range(&seek, delivery.chain.height())?;
        Ok(delivery)
    }
}

/// The first and last block of a request at this height.
fn range(seek: &SeekInfo, height: u64) -> Result<(u64, u64), Code> {
    use seek_position::Type;
    let newest = height.saturating_sub(1);
    let position = |position: &Option<SeekPosition>| position.as_ref().and_then(|position| position.r#type);
    if seek.start.is_none() || seek.stop.is_none() {
        return Err(Code::BadRequest);
    }
    let first = match position(&seek.start) {
        Some(Type::Oldest(_)) => 0,
        Some(Type::Newest(_)) => newest,
        Some(Type::Specified(specified)) if specified.number > height => return Err(Code::NotFound),
        Some(Type::Specified(specified)) => specified.number,
        Some(Type::NextCommit(_)) => height,
        None => return Err(Code::NotFound),
    };
    let last = match position(&seek.stop) {
        Some(Type::Oldest(_)) => first,
        Some(Type::Newest(_)) if seek.start == seek.stop => first,
        Some(Type::Newest(_)) => newest,
        Some(Type::Specified(specified)) if specified.number < first => return Err(Code::BadRequest),
        Some(Type::Specified(specified)) => specified.number,
        // Fabric leaves the last block at 0 here.
        Some(Type::NextCommit(_)) | None => 0,
    };
    // Fabric compares for equality: past the last block the stream never ends.
    Ok((first, if last < first { u64::MAX } else { last }))
}

impl Delivery {
    /// Checks the client's access; repeated when the configuration has changed.
    fn check_access(&mut self, clock: &Clock) -> Result<(), Code> {
        if self.expires.is_some_and(|expires| clock.now() > expires) {
            tracing::warn!("[channel: {}] deliver client identity expired", self.channel);
            return Err(Code::Forbidden);
        }
        let sequence = self.chain.sequence();
        if self.sequence.is_some_and(|known| known >= sequence) {
            return Ok(());
        }
        self.sequence = Some(sequence);
        self.chain.check(&self.signed).map_err(|reason| {
            tracing::warn!("[channel: {}] a client is not authorized: {reason}", self.channel);
            Code::Forbidden
        })
    }

    /// Waits for the next block.
    async fn block(&mut self, clock: &Clock) -> Result<Arc<Block>, Code> {
        if self.fails_if_not_ready && self.next >= self.chain.height() {
            return Err(Code::NotFound);
        }
        if self.next >= self.chain.height() {
            let next = self.next;
            let ready = self.heights.wait_for(|height| *height > next);
            let errored = if self.is_best_effort { Box::pin(pending()) } else { self.chain.errored() };
            match select(std::pin::pin!(ready), errored).await {
                Either::Left((Ok(_), _)) => {}
                // The channel is gone.
                Either::Left((Err(_), _)) | Either::Right(_) => return Err(Code::ServiceUnavailable),
            }
        }
        let block = self.chain.block(self.next).ok_or(Code::InternalServerError)?;
        self.check_access(clock)?;
        self.next += 1;
        Ok(block)
    }
}

#[cfg(test)]
mod tests;
