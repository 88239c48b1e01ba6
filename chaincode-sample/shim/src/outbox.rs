//! The queue of messages to the peer.
//!
//! Adding a message never waits, so that a dropped query can close its cursor. The queue is bounded
//! from the other side: a transaction has at most one pending request, and the session stops reading
//! from the peer while too many bytes are queued.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tonic::Status;

/// Queued bytes above which the session stops reading.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Estimated bytes of a message without its payload.
const OVERHEAD: usize = 256;

#[allow(clippy::large_enum_variant, reason = "nearly all are messages")]
enum Item {
    Message(ChaincodeMessage),
    End(Option<Status>),
}

#[derive(Default)]
struct Queued {
    bytes: AtomicUsize,
    /// Whether the receiving half was dropped.
    closed: AtomicBool,
    drained: Notify,
}

/// The sending half.
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Item>,
    queued: Arc<Queued>,
}

/// The receiving half, which the server sends to the peer.
pub(crate) struct Outbound {
    receiver: mpsc::UnboundedReceiver<Item>,
    queued: Arc<Queued>,
    ended: bool,
}

pub(crate) fn outbox() -> (Outbox, Outbound) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let queued = Arc::new(Queued::default());
    let outbound = Outbound { receiver, queued: Arc::clone(&queued), ended: false };
    (Outbox { sender, queued }, outbound)
}

impl Outbox {
    /// Queues a message; it is dropped if the peer has disconnected.
    pub(crate) fn send(&self, message: ChaincodeMessage) {
        self.queued.bytes.fetch_add(size(&message), Ordering::Relaxed);
        // The session notices a lost peer from the incoming stream.
        let _ = self.sender.send(Item::Message(message));
    }

    /// Ends the stream after the queued messages; with an error, if given.
    pub(crate) fn end(&self, status: Option<Status>) {
        let _ = self.sender.send(Item::End(status));
    }

    /// Waits while too many bytes are queued.
    pub(crate) async fn below_limit(&self) {
        while self.queued.bytes.load(Ordering::Acquire) > MAX_QUEUED_BYTES {
            let drained = self.queued.drained.notified();
            let bytes = self.queued.bytes.load(Ordering::Acquire);
            if self.queued.closed.load(Ordering::Acquire) || bytes <= MAX_QUEUED_BYTES {
                return;
            }
            drained.await;
        }
    }
}

impl Stream for Outbound {
    type Item = Result<ChaincodeMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.receiver.poll_recv(context)) {
            Some(Item::Message(message)) => {
                let size = size(&message);
                let before = self.queued.bytes.fetch_sub(size, Ordering::Release);
                if before > MAX_QUEUED_BYTES && before - size <= MAX_QUEUED_BYTES {
                    self.queued.drained.notify_one();
                }
                Poll::Ready(Some(Ok(message)))
            }
            Some(Item::End(status)) => {
                self.ended = true;
                Poll::Ready(status.map(Err))
            }
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.queued.closed.store(true, Ordering::Release);
        self.queued.drained.notify_one();
    }
}

fn size(message: &ChaincodeMessage) -> usize {
    message.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use tokio_stream::StreamExt;

    use super::*;

    fn message(bytes: usize) -> ChaincodeMessage {
        ChaincodeMessage { payload: vec![0; bytes].into(), ..ChaincodeMessage::default() }
    }

    #[tokio::test]
    async fn the_session_waits_while_too_many_bytes_are_queued() {
        let (outbox, mut outbound) = outbox();
        outbox.send(message(MAX_QUEUED_BYTES / 2));
        outbox.below_limit().await;
        outbox.send(message(MAX_QUEUED_BYTES / 2));
        let mut below_limit = pin!(outbox.below_limit());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(below_limit.as_mut().poll(&mut context).is_pending());
        outbound.next().await.unwrap().unwrap();
        below_limit.await;
    }

    #[tokio::test]
    async fn the_session_does_not_wait_for_a_disconnected_peer() {
        let (outbox, outbound) = outbox();
        outbox.send(message(MAX_QUEUED_BYTES + 1));
        drop(outbound);
        outbox.below_limit().await;
    }

    #[tokio::test]
    async fn nothing_follows_the_end() {
        let (outbox, mut outbound) = outbox();
        outbox.end(Some(Status::unknown("why")));
        outbox.send(message(1));
        let status = outbound.next().await.unwrap().unwrap_err();
        assert_eq!(status.message(), "why");
        assert!(outbound.next().await.is_none());
    }
}
