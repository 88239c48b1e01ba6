//! What passes between client, peer and chaincode, for whoever listens.
//!
//! Nodes tell a [`Tracer`]; listeners [`subscribe`](Tracer::subscribe) and get [`Event`]s, whose
//! `Display` is one line each, with the payload decoded. While nobody listens an event costs one
//! read of a counter and is not even made. It stores nothing: what was before a subscription, or
//! what a listener was too slow for, is gone (and counted).

mod message;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fabric_protos::protos::ChaincodeMessage;
use tokio::sync::broadcast;

pub use message::Decoded;

/// How many events a listener may be behind before it loses the oldest.
const BACKLOG: usize = 16 * 1024;

/// From whom a message goes to whom.
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

/// One thing that happened on a node.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the tracer was made.
    pub at: Duration,
    /// The node that saw it.
    pub node: Arc<str>,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// An external builder's program was run, or wrote a line.
    BuilderStep {
        /// The builder's name in core.yaml.
        builder: Arc<str>,
        /// `detect`, `build`, `release` or `run`.
        command: &'static str,
        /// What happened to it.
        step: BuilderStep,
    },
    /// A stream to a chaincode began.
    StreamOpened {
        /// The stream's number, counted from 1 per tracer.
        stream: u64,
        /// The package ID that it was opened for, or where the chaincode came from.
        chaincode: Arc<str>,
    },
    /// A stream to a chaincode ended.
    StreamEnded {
        /// The stream's number.
        stream: u64,
        /// Who ended it: the one whose messages end.
        direction: Direction,
        /// Why, as Fabric words it.
        reason: String,
    },
    /// A message of the shim protocol.
    ChaincodeMessage {
        /// The stream's number.
        stream: u64,
        /// From whom to whom.
        direction: Direction,
        /// The message itself.
        message: Arc<ChaincodeMessage>,
        /// Its encoded size in bytes, without gRPC's five.
        total: usize,
    },
    /// A call of one of the node's services, or its answer.
    ClientCall {
        /// From whom to whom.
        direction: Direction,
        /// Service and method, such as `gateway.Gateway/Evaluate`.
        method: &'static str,
        /// What is in it, decoded.
        detail: String,
    },
    /// A block was cut, or appended to a ledger.
    Block {
        /// The channel.
        channel: Arc<str>,
        /// The block's number.
        number: u64,
        /// What happened to it, and what is in it.
        detail: String,
    },
    /// Anything else that helps to understand the rest.
    Note(String),
}

/// What happened to a builder's program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuilderStep {
    /// It was started with these arguments.
    Started(Vec<String>),
    /// It wrote a line to its standard error.
    Line(String),
    /// It succeeded, after this time.
    Succeeded(Duration),
    /// It failed, or could not be started.
    Failed(String),
    /// It does not exist and need not.
    Skipped,
}

impl fmt::Display for Event {
    /// `{:#}` decodes the payloads of every type of message; without it those, and in that form,
    /// that the recordings of real peers have.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>9.3}ms ", self.at.as_secs_f64() * 1000.0)?;
        if formatter.alternate() {
            write!(formatter, "{} {:#}", self.node, self.what)
        } else {
            write!(formatter, "{}", self.what)
        }
    }
}

impl fmt::Display for What {
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

/// Takes events from the nodes of a network, and hands them to whoever listens.
///
/// Clones are the same tracer.
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
    /// A tracer to which nobody listens yet. Its clock begins now.
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        let (listeners, streams) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { began: Instant::now(), listeners, streams, events }) }
    }

    /// Listens to everything that happens from now on.
    pub fn subscribe(&self) -> Subscription {
        let events = self.shared.events.subscribe();
        self.shared.listeners.fetch_add(1, Ordering::Relaxed);
        Subscription { events, tracer: self.clone(), lost: 0 }
    }

    /// Whether anybody listens. What costs something to find out is found out only then.
    pub fn is_on(&self) -> bool {
        self.shared.listeners.load(Ordering::Relaxed) > 0
    }

    /// Tells what happened on a node; `what` is called only when somebody listens.
    pub fn tell(&self, node: &Arc<str>, what: impl FnOnce() -> What) {
        if self.is_on() {
            let event = Event { at: self.shared.began.elapsed(), node: node.clone(), what: what() };
            // Nobody is there anymore: then nobody misses it.
            let _ = self.shared.events.send(event);
        }
    }

    /// A number for a stream, unique for this tracer.
    pub fn next_stream(&self) -> u64 {
        self.shared.streams.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One who listens to a [`Tracer`]. Dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Event>,
    tracer: Tracer,
    lost: u64,
}

impl Subscription {
    /// The next event, waiting for it; `None` when every node of the tracer is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(number)) => self.lost += number,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(number)) => self.lost += number,
                Err(_) => return None,
            }
        }
    }

    /// Every event that is there already.
    pub fn drain(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.try_next()).collect()
    }

    /// How many events this listener was too slow for.
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

    fn note(text: &str) -> What {
        What::Note(text.to_owned())
    }

    #[test]
    fn nothing_is_made_while_nobody_listens() {
        let tracer = Tracer::new();
        let node: Arc<str> = "peer0".into();
        tracer.tell(&node, || panic!("made an event for nobody"));

        let mut subscription = tracer.subscribe();
        tracer.tell(&node, || note("heard"));
        assert_eq!(subscription.drain().iter().map(|event| event.what.to_string()).collect::<Vec<_>>(), ["heard"]);

        drop(subscription);
        tracer.tell(&node, || panic!("made an event for one who left"));
    }

    #[test]
    fn a_slow_listener_is_told_how_much_it_missed() {
        let tracer = Tracer::new();
        let mut subscription = tracer.subscribe();
        let node: Arc<str> = "peer0".into();
        for number in 0..BACKLOG + 3 {
            tracer.tell(&node, || note(&number.to_string()));
        }
        let kept = subscription.drain();
        assert_eq!(kept.len(), BACKLOG);
        assert_eq!(kept[0].what.to_string(), "3");
        assert_eq!(subscription.lost(), 3);
    }
}
