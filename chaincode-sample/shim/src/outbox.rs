//! Messages on their way to the peer.
//!
//! Putting a message in never waits, so that a query can close its cursor
//! when it is dropped. Growth is bounded from the other side: transactions
//! have at most one request under way, and the reader of the stream stops
//! reading while too much lies here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tonic::Status;

/// Bytes that may lie here before the reader waits.
const HIGH_WATER: usize = 16 * 1024 * 1024;

/// What a message takes beside its payload, about.
const OVERHEAD: usize = 256;

#[allow(clippy::large_enum_variant, reason = "nearly all are messages")]
enum Item {
    Message(ChaincodeMessage),
    End(Option<Status>),
}

#[derive(Default)]
struct Level {
    bytes: AtomicUsize,
    gone: AtomicBool,
    fallen: Notify,
}

/// Where messages are put in.
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Item>,
    level: Arc<Level>,
}

/// Where the server takes them out.
pub(crate) struct Outbound {
    receiver: mpsc::UnboundedReceiver<Item>,
    level: Arc<Level>,
    ended: bool,
}

pub(crate) fn outbox() -> (Outbox, Outbound) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let level = Arc::new(Level::default());
    let outbound = Outbound { receiver, level: Arc::clone(&level), ended: false };
    (Outbox { sender, level }, outbound)
}

impl Outbox {
    /// Sends a message; one for a peer that is gone is dropped.
    pub(crate) fn send(&self, message: ChaincodeMessage) {
        self.level.bytes.fetch_add(size(&message), Ordering::Relaxed);
        // The reader learns of a lost peer from the stream itself.
        let _ = self.sender.send(Item::Message(message));
    }

    /// Ends the stream after the messages before; with an error, if given.
    pub(crate) fn end(&self, status: Option<Status>) {
        let _ = self.sender.send(Item::End(status));
    }

    /// Waits while too much lies here.
    pub(crate) async fn relieved(&self) {
        while self.level.bytes.load(Ordering::Acquire) > HIGH_WATER {
            let fallen = self.level.fallen.notified();
            if self.level.gone.load(Ordering::Acquire) || self.level.bytes.load(Ordering::Acquire) <= HIGH_WATER {
                return;
            }
            fallen.await;
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
                let before = self.level.bytes.fetch_sub(size, Ordering::Release);
                if before > HIGH_WATER && before - size <= HIGH_WATER {
                    self.level.fallen.notify_one();
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
        self.level.gone.store(true, Ordering::Release);
        self.level.fallen.notify_one();
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
    async fn the_reader_waits_until_the_level_falls() {
        let (outbox, mut outbound) = outbox();
        outbox.send(message(HIGH_WATER / 2));
        outbox.relieved().await;
        outbox.send(message(HIGH_WATER / 2));
        let mut relieved = pin!(outbox.relieved());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(relieved.as_mut().poll(&mut context).is_pending());
        outbound.next().await.unwrap().unwrap();
        relieved.await;
    }

    #[tokio::test]
    async fn the_reader_does_not_wait_for_a_peer_that_is_gone() {
        let (outbox, outbound) = outbox();
        outbox.send(message(HIGH_WATER + 1));
        drop(outbound);
        outbox.relieved().await;
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
