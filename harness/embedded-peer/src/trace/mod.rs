//! Events on the nodes: messages between client, peer and chaincode, builder steps, blocks.
//!
//! Nodes emit [`Event`]s to a [`Tracer`]; a subscriber receives them from then on, and prints each with
//! `Display` as one line with the payload decoded. Without a subscriber an event costs one read of a counter
//! and is not created. Nothing is stored: a subscriber that is too slow loses the oldest events, which are
//! counted.

mod message;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::broadcast;

pub use message::Decoded;

/// How many events are buffered for a subscriber before it loses the oldest.
const BACKLOG: usize = 16 * 1024;

/// The direction of a message: its sender and its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// From a client, or another node as a client, to a peer or orderer.
    ClientToNode,
    /// From a peer or orderer back to its client.
    NodeToClient,
    /// From the peer to the chaincode: `P>C` in a line.
    PeerToChaincode,
    /// From the chaincode to the peer: `C>P` in a line.
    ChaincodeToPeer,
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ClientToNode => "c>N",
            Self::NodeToClient => "N>c",
            Self::PeerToChaincode => "P>C",
            Self::ChaincodeToPeer => "C>P",
        })
    }
}

/// Something that happened on a node.
#[derive(Clone, Debug)]
pub struct Event {
    /// The time since the tracer was created.
    pub at: Duration,
    /// The node.
    pub node: Arc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A step of an external builder's program.
    BuilderStep {
        /// The builder's name in core.yaml.
        builder: Arc<str>,
        /// `detect`, `build`, `release` or `run`.
        command: &'static str,
        /// The step.
        step: BuilderStep,
    },
    /// A stream to a chaincode opened.
    StreamOpened {
        /// The stream's number, from 1 in each tracer.
        stream: u64,
        /// The package ID, or the address of a chaincode that connected to the peer.
        chaincode: Arc<str>,
    },
    /// A stream to a chaincode ended.
    StreamEnded {
        /// The stream's number.
        stream: u64,
        /// The direction whose sender ended it.
        direction: Direction,
        /// The reason, in Fabric's words.
        reason: String,
    },
    /// A message of the shim protocol.
    ChaincodeMessage {
        /// The stream's number.
        stream: u64,
        /// Its direction.
        direction: Direction,
        /// The message.
        message: Arc<ChaincodeMessage>,
        /// Its encoded size in bytes, without gRPC's five-byte prefix.
        total: usize,
    },
    /// A call of one of the node's gRPC services, or the response.
    ClientCall {
        /// Its direction.
        direction: Direction,
        /// Service and method, such as `gateway.Gateway/Evaluate`.
        method: &'static str,
        /// A summary of the contents.
        detail: String,
    },
    /// A block was cut, or appended to a ledger.
    Block {
        /// The channel.
        channel: Arc<str>,
        /// The block's number.
        number: u64,
        /// What happened to it, and its contents.
        detail: String,
    },
    /// Anything else.
    Note(String),
}

/// A step of a builder's program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuilderStep {
    /// Started with these arguments.
    Started(Vec<String>),
    /// Wrote a line to standard error.
    Line(String),
    /// Succeeded after this time.
    Succeeded(Duration),
    /// Failed, or could not be started.
    Failed(String),
    /// Skipped, since the optional program does not exist.
    Skipped,
}

impl fmt::Display for Event {
    /// `{:#}` decodes the payloads of every message type. `{}` decodes only those that the recordings of real
    /// peers decode, in the same format.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>9.3}ms ", self.at.as_secs_f64() * 1000.0)?;
        if formatter.alternate() {
            write!(formatter, "{} {:#}", self.node, self.kind)
        } else {
            write!(formatter, "{}", self.kind)
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuilderStep { builder, command, step } => write!(formatter, "{builder} {command}: {step}"),
            Self::StreamOpened { stream, .. } => write!(formatter, "s{stream} stream opened by peer"),
            Self::StreamEnded { stream, direction, reason } => {
                write!(formatter, "s{stream} {direction} end: {reason}")
            }
            Self::ChaincodeMessage { stream, direction, message, total } => {
                write!(formatter, "s{stream} {direction} ")?;
                message::line(formatter, message, *direction, *total)
            }
            Self::ClientCall { direction, method, detail } => write!(formatter, "{direction} {method} {detail}"),
            Self::Block { channel, number, detail } => write!(formatter, "{channel} block {number} {detail}"),
            Self::Note(text) => formatter.write_str(text),
        }
    }
}

impl fmt::Display for BuilderStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(arguments) => write!(formatter, "started with {}", arguments.join(" ")),
            Self::Line(line) => formatter.write_str(line),
            Self::Succeeded(after) => write!(formatter, "succeeded after {} ms", after.as_millis()),
            Self::Failed(reason) => write!(formatter, "failed: {reason}"),
            Self::Skipped => formatter.write_str("skipped: there is no such program"),
        }
    }
}

/// Distributes the events of a network's nodes to subscribers. Clones share the subscribers.
#[derive(Clone, Debug)]
pub struct Tracer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    listeners: AtomicUsize,
    streams: AtomicU64,
    events: broadcast::Sender<Event>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracer {
    /// A tracer without subscribers. Event times count from now.
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        let (listeners, streams) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { began: Instant::now(), listeners, streams, events }) }
    }

    /// Subscribes to all events from now on.
    pub fn subscribe(&self) -> Subscription {
        let events = self.shared.events.subscribe();
        self.shared.listeners.fetch_add(1, Ordering::Relaxed);
        Subscription { events, tracer: self.clone(), lost: 0 }
    }

    /// Whether there is a subscriber.
    pub fn is_enabled(&self) -> bool {
        self.shared.listeners.load(Ordering::Relaxed) > 0
    }

    /// Emits an event on a node. `kind` is called only if there is a subscriber.
    pub fn emit(&self, node: &Arc<str>, kind: impl FnOnce() -> EventKind) {
        if self.is_enabled() {
            let event = Event { at: self.shared.began.elapsed(), node: node.clone(), kind: kind() };
            // Fails only if the last subscriber has left meanwhile.
            let _ = self.shared.events.send(event);
        }
    }

    /// A stream number, unique in this tracer.
    pub fn next_stream(&self) -> u64 {
        self.shared.streams.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A subscription to a [`Tracer`]. Drop it to unsubscribe.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Event>,
    tracer: Tracer,
    lost: u64,
}

impl Subscription {
    /// Waits for the next event; `None` once every node of the tracer is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(number)) => self.lost += number,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if one is buffered.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(number)) => self.lost += number,
                Err(_) => return None,
            }
        }
    }

    /// All buffered events.
    pub fn drain(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.try_next()).collect()
    }

    /// How many events this subscriber has lost because it was too slow.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tracer.shared.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> EventKind {
        EventKind::Note(text.to_owned())
    }

    #[test]
    fn no_event_is_created_without_a_subscriber() {
        let tracer = Tracer::new();
        let node: Arc<str> = "peer0".into();
        tracer.emit(&node, || panic!("created an event without a subscriber"));

        let mut subscription = tracer.subscribe();
        tracer.emit(&node, || note("heard"));
        assert_eq!(subscription.drain().iter().map(|event| event.kind.to_string()).collect::<Vec<_>>(), ["heard"]);

        drop(subscription);
        tracer.emit(&node, || panic!("created an event after the subscriber left"));
    }

    #[test]
    fn a_slow_subscriber_counts_what_it_lost() {
        let tracer = Tracer::new();
        let mut subscription = tracer.subscribe();
        let node: Arc<str> = "peer0".into();
        for number in 0..BACKLOG + 3 {
            tracer.emit(&node, || note(&number.to_string()));
        }
        let kept = subscription.drain();
        assert_eq!(kept.len(), BACKLOG);
        assert_eq!(kept[0].kind.to_string(), "3");
        assert_eq!(subscription.lost(), 3);
    }
}
