//! Runs one stream until it ends: passes messages from the link to the handler, and answers back.
//! One task does all of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::handler::{Command, Handler};
use super::link::{End, Link};
use crate::trace::{Direction, EventKind};

/// Maximum number of unsent bytes. Beyond it, the peer stops reading from the chaincode.
const UNSENT_LIMIT: usize = 64 * 1024 * 1024;

/// The number of messages handled before other tasks get their turn.
const MESSAGES_PER_TURN: usize = 256;

/// Runs a stream until it ends or is stopped. Returns Fabric's text for the reason.
pub(super) async fn run(
    link: Link,
    handler: Arc<Handler>,
    commands: mpsc::UnboundedReceiver<Command>,
    chaincode: &str,
    stop: &CancellationToken,
) -> String {
    let settings = handler.settings.clone();
    let (stream, chaincode) = (handler.stream, chaincode.to_owned());
    settings.tracer.emit(&settings.node, || EventKind::StreamOpened { stream, chaincode: chaincode.into() });
    // On every exit, callers that wait for the chaincode are notified.
    let _ends = Ends(&handler);
    let keepalive = settings.keepalive.map(|every| {
        let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut session = Session { link, handler: handler.clone(), commands, keepalive, out: Vec::new() };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ended::Local("the peer is being stopped".to_owned()),
        ended = poll_fn(|context| session.poll(context)) => ended,
    };
    let (direction, reason) = match ended {
        Ended::Remote(End::Done) => (Direction::ChaincodeToPeer, End::Done.to_string()),
        Ended::Remote(end) => {
            (Direction::ChaincodeToPeer, format!("receive from chaincode support stream failed: {end}"))
        }
        Ended::Local(reason) => (Direction::PeerToChaincode, reason),
    };
    tracing::debug!("stream to {} ended: {reason}", handler.package_id());
    settings.tracer.emit(&settings.node, || EventKind::StreamEnded { stream, direction, reason: reason.clone() });
    reason
}

struct Ends<'a>(&'a Arc<Handler>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

enum Ended {
    /// The chaincode or the network ended it.
    Remote(End),
    /// The peer ended it.
    Local(String),
}

struct Session {
    link: Link,
    handler: Arc<Handler>,
    commands: mpsc::UnboundedReceiver<Command>,
    keepalive: Option<Interval>,
    out: Vec<Bytes>,
}

impl Session {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let mut handled = 0;
        loop {
            if let Poll::Ready(reason) = self.poll_commands(context) {
                return Poll::Ready(Ended::Local(reason));
            }
            if let Poll::Ready(end) = self.link.poll_drive(context) {
                return Poll::Ready(Ended::Remote(end));
            }
            let before = handled;
            loop {
                if self.link.queued() > UNSENT_LIMIT {
                    break;
                }
                match self.link.poll_piece(context) {
                    Poll::Pending => break,
                    Poll::Ready(Some(end)) => return Poll::Ready(Ended::Remote(end)),
                    Poll::Ready(None) => match self.handle_all() {
                        Ok(number) => handled += number,
                        Err(ended) => return Poll::Ready(ended),
                    },
                }
            }
            if handled > before {
                if handled < MESSAGES_PER_TURN {
                    continue;
                }
                // Yield to other tasks.
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
    }

    /// Handles all received messages.
    fn handle_all(&mut self) -> Result<usize, Ended> {
        let mut number = 0;
        while let Some(next) = self.link.frames().next::<ChaincodeMessage>() {
            let (message, total) = next.map_err(|error| Ended::Remote(error.into()))?;
            number += 1;
            self.handler
                .receive(message, total, &mut self.out)
                .map_err(|error| Ended::Local(format!("error handling message, ending stream: {error}")))?;
        }
        for frame in self.out.drain(..) {
            self.link.queue(frame);
        }
        Ok(number)
    }

    fn poll_commands(&mut self, context: &mut Context<'_>) -> Poll<String> {
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(context) {
            match command {
                Command::Send(frame) => self.link.queue(frame),
                Command::Receive(message) => {
                    if let Err(error) = self.handler.handle(*message, &mut self.out) {
                        return Poll::Ready(format!("error handling message, ending stream: {error}"));
                    }
                }
                Command::End(reason) => return Poll::Ready(reason),
            }
        }
        if let Some(keepalive) = &mut self.keepalive {
            while keepalive.poll_tick(context).is_ready() {
                self.handler.keepalive(&mut self.out);
            }
        }
        for frame in self.out.drain(..) {
            self.link.queue(frame);
        }
        Poll::Pending
    }
}
