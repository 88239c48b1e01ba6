//! Records the events of embedded nodes: their logs, and the messages for the report.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use embedded_peer::trace::{BuilderStep, Direction, Event, EventKind, Tracer};
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Content, Journal, Message, Party, Role, decode, timestamp};

/// How many events are kept, the newest ones. Each event of a transaction holds a chaincode message of some
/// kilobytes.
const LIMIT: usize = 10_000;

/// How long events are collected before they are kept: waking the task for each one costs as much as the rest.
const GATHERING: Duration = Duration::from_millis(5);

/// The events of all nodes, in order. Each is formatted only when it is read.
#[derive(Clone, Debug)]
pub(super) struct Record {
    kept: Arc<Mutex<Kept>>,
    /// Requests that everything traced before is kept.
    settle: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Event>,
    forgotten: usize,
    /// The start of the nodes' time, by both clocks.
    began: (Instant, SystemTime),
}

impl Default for Kept {
    fn default() -> Self {
        Self { events: VecDeque::new(), forgotten: 0, began: (Instant::now(), SystemTime::now()) }
    }
}

impl Record {
    /// Keeps what the nodes trace from now on. The tracer's own time starts now as well.
    pub(super) fn begin(tracer: &Tracer) -> Self {
        let (settle, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let record = Self { kept: Arc::default(), settle };
        let mut events = tracer.subscribe();
        let kept = Arc::clone(&record.kept);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(event) => keep(&kept, event),
                        None => return,
                    },
                    done = asked.recv() => match done {
                        Some(done) => {
                            events.drain().into_iter().for_each(|event| keep(&kept, event));
                            let _ = done.send(());
                            continue;
                        }
                        None => return,
                    }
                }
                // Until a request comes, or it is time.
                let more = tokio::time::timeout(GATHERING, asked.recv()).await;
                events.drain().into_iter().for_each(|event| keep(&kept, event));
                match more {
                    Ok(Some(done)) => {
                        let _ = done.send(());
                    }
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        });
        record
    }

    /// The events by node, one per line; nodes without an event have an empty log.
    pub(super) async fn logs<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        self.settled().await;
        logs(&self.kept.lock().unwrap_or_else(PoisonError::into_inner), nodes)
    }

    /// The events that are messages, except those of clients, which record their own.
    pub(super) async fn messages<'a>(
        &self,
        orderers: impl Iterator<Item = &'a str>,
        journal: &Journal,
    ) -> Vec<Message> {
        self.settled().await;
        let orderers: Vec<&str> = orderers.collect();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let began = journal.since(kept.began.0);
        let mut streams = HashMap::new();
        let messages = kept.events.iter().filter_map(|event| {
            let (from, to, content) = message(event, &orderers, &mut streams)?;
            let Content { kind, text, transaction, failed } = content;
            let (at, text) = (began + event.at, decode::presentable(&text));
            Some(Message { at, from, to, kind, text, transaction, failed })
        });
        messages.collect()
    }

    async fn settled(&self) {
        let (done, is_done) = oneshot::channel();
        if self.settle.send(done).is_ok() {
            let _ = is_done.await;
        }
    }
}

/// An event as a message. `streams` holds the name of each stream's chaincode.
fn message(event: &Event, orderers: &[&str], streams: &mut HashMap<u64, String>) -> Option<(Party, Party, Content)> {
    let node = || Party::peer(&*event.node);
    let content = |kind: &str, text: String, failed| {
        let (kind, transaction) = (kind.to_owned(), String::new());
        Content { kind, text, transaction, failed }
    };
    let mut chaincode = |stream: &u64, opened: Option<&str>| {
        if let Some(package) = opened {
            let label = package.split(':').next().unwrap_or_default();
            streams.insert(*stream, label.to_owned());
        }
        Party::new(Role::Chaincode, streams.get(stream).map_or("chaincode", String::as_str))
    };
    Some(match &event.kind {
        EventKind::BuilderStep { command, step, .. } => match step {
            BuilderStep::Started(_) => (node(), Party::builder(), content(command, step.to_string(), false)),
            BuilderStep::Skipped => return None,
            _ => {
                let failed = matches!(step, BuilderStep::Failed(_));
                (Party::builder(), node(), content(command, step.to_string(), failed))
            }
        },
        EventKind::StreamOpened { stream, chaincode: package } => {
            let to = chaincode(stream, Some(package));
            (node(), to, content("connect", String::new(), false))
        }
        EventKind::StreamEnded { stream, direction, reason } => {
            let ended = content("stream ended", reason.clone(), true);
            let chaincode = chaincode(stream, None);
            if *direction == Direction::ChaincodeToPeer {
                (chaincode, node(), ended)
            } else {
                (node(), chaincode, ended)
            }
        }
        EventKind::ChaincodeMessage { stream, direction, message, .. } => {
            let (chaincode, sent) = (chaincode(stream, None), decode::chaincode(message, *direction));
            if *direction == Direction::ChaincodeToPeer { (chaincode, node(), sent) } else { (node(), chaincode, sent) }
        }
        EventKind::ClientCall { method, detail, .. } if orderers.contains(&&*event.node) => {
            let method = method.rsplit('/').next().unwrap_or(method);
            let (caller, failed) = (Party::peer(""), !detail.contains("SUCCESS"));
            (caller, Party::new(Role::Orderer, &*event.node), content(method, detail.clone(), failed))
        }
        EventKind::Block { channel, number, detail } if !orderers.contains(&&*event.node) => {
            let block = content("block", format!("{channel}: block {number} {detail}"), false);
            // It is traced after the client has heard of it, so its time does not show which case it belongs to.
            let only = detail.strip_prefix("committed: ").filter(|ids| !ids.contains(','));
            let transaction = only.and_then(|one| one.split(' ').next()).unwrap_or_default().to_owned();
            (Party::orderers(), node(), Content { transaction, ..block })
        }
        _ => return None,
    })
}

fn keep(kept: &Mutex<Kept>, event: Event) {
    // Clients log their own calls.
    if !matches!(event.kind, EventKind::ClientCall { .. }) {
        tracing::trace!("{event:#}");
    }
    kept.lock().unwrap_or_else(PoisonError::into_inner).keep(event);
}

impl Kept {
    fn keep(&mut self, event: Event) {
        if self.events.len() >= LIMIT {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(event);
    }
}

fn logs<'a>(kept: &Kept, nodes: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut logs: BTreeMap<String, String> = nodes.map(|name| (name.to_owned(), String::new())).collect();
    if kept.forgotten > 0 {
        for log in logs.values_mut() {
            let _ = writeln!(log, "(the first {} events of all nodes are omitted)", kept.forgotten);
        }
    }
    for event in &kept.events {
        if let Some(log) = logs.get_mut(&*event.node) {
            let _ = writeln!(log, "{} {:#}", timestamp(kept.began.1 + event.at), event.kind);
        }
    }
    logs
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_peer::trace::EventKind;

    #[tokio::test]
    async fn everything_traced_before_is_in_the_logs() {
        let tracer = Tracer::new();
        let record = Record::begin(&tracer);
        for number in 0..100 {
            tracer.emit(&"a".into(), || EventKind::Note(format!("note {number}")));
        }
        let logs = record.logs(["a", "b"].into_iter()).await;
        assert!(logs["a"].lines().last().is_some_and(|line| line.ends_with(" UTC note 99")), "{logs:?}");
        assert_eq!((logs["a"].lines().count(), logs["b"].as_str()), (100, ""));
    }

    #[test]
    fn the_newest_events_are_kept_by_node() {
        let mut kept = Kept::default();
        let tracer = Tracer::new();
        let mut events = tracer.subscribe();
        for number in 0..=LIMIT {
            let node = if number % 2 == 0 { "a" } else { "b" };
            tracer.emit(&node.into(), || EventKind::Note(format!("note {number}")));
            kept.keep(events.try_next().unwrap());
        }
        let logs = logs(&kept, ["a", "c"].into_iter());
        let lines: Vec<&str> = logs["a"].lines().collect();
        assert_eq!(lines[0], "(the first 1 events of all nodes are omitted)");
        assert!(lines[1].ends_with(" UTC note 2"), "{}", lines[1]);
        assert_eq!(lines.len(), 1 + LIMIT / 2);
        assert_eq!(logs["c"].lines().count(), 1);
    }

    #[tokio::test]
    async fn events_become_messages_with_sender_and_receiver() {
        let tracer = Tracer::new();
        let record = Record::begin(&tracer);
        let journal = Journal::begin();
        let (peer, orderer) = ("peer0".into(), "orderer".into());
        let started = || BuilderStep::Started(vec!["/src".to_owned()]);
        tracer.emit(&peer, || EventKind::BuilderStep { builder: "b".into(), command: "detect", step: started() });
        tracer.emit(&peer, || EventKind::StreamOpened { stream: 7, chaincode: "basic_1.0:abc".into() });
        let (message, direction) = (Arc::default(), Direction::ChaincodeToPeer);
        tracer.emit(&peer, || EventKind::ChaincodeMessage { stream: 7, direction, message, total: 0 });
        let (direction, detail) = (Direction::ClientToNode, "9 bytes: SUCCESS".to_owned());
        tracer.emit(&peer, || EventKind::ClientCall { direction, method: "g/Evaluate", detail: detail.clone() });
        tracer.emit(&orderer, || EventKind::ClientCall { direction, method: "o/Broadcast", detail: detail.clone() });
        let detail = "committed: t1 VALID".to_owned();
        tracer.emit(&peer, || EventKind::Block { channel: "c".into(), number: 4, detail });
        let messages = record.messages(["orderer"].into_iter(), &journal).await;
        let messages: Vec<String> = messages
            .iter()
            .map(|m| format!("{}>{} {} {} {}", m.from.name, m.to.name, m.kind, m.text, m.transaction))
            .collect();
        let expected = [
            "peer0>builder detect started with /src ",
            "peer0>basic_1.0 connect  ",
            "basic_1.0>peer0 UNDEFINED  ",
            ">orderer Broadcast 9 bytes: SUCCESS ",
            "orderers>peer0 block c: block 4 committed: t1 VALID t1",
        ];
        assert_eq!(messages, expected);
    }
}
