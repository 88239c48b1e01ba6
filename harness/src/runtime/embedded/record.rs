//! What passed on the nodes of this process: their logs, as long as somebody may want to read them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use embedded_peer::trace::{Event, Tracer};
use tokio::sync::{mpsc, oneshot};

/// How many events are kept, the newest.
const LIMIT: usize = 20_000;

/// Events of all nodes, in order, each told in words only when it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Record {
    kept: Arc<Mutex<Kept>>,
    /// Asks for whatever was told before to be kept.
    settle: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    forgotten: usize,
}

impl Record {
    /// Keeps what the nodes tell from now on.
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
                    done = asked.recv() => {
                        events.drain().into_iter().for_each(|event| keep(&kept, event));
                        match done {
                            Some(done) => { let _ = done.send(()); }
                            None => return,
                        }
                    }
                }
            }
        });
        record
    }

    /// The events by node, a line each; nodes without an event have an empty log.
    pub(super) async fn logs<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let (done, is_done) = oneshot::channel();
        if self.settle.send(done).is_ok() {
            let _ = is_done.await;
        }
        logs(&self.kept.lock().unwrap_or_else(PoisonError::into_inner), nodes)
    }
}

fn keep(kept: &Mutex<Kept>, event: Event) {
    tracing::trace!("{event:#}");
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
            let _ = writeln!(log, "(of all nodes, the first {} events are left out)", kept.forgotten);
        }
    }
    for event in &kept.events {
        if let Some(log) = logs.get_mut(&*event.node) {
            let _ = writeln!(log, "{:>10.3} ms  {:#}", event.at.as_secs_f64() * 1000.0, event.what);
        }
    }
    logs
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_peer::trace::What;

    #[tokio::test]
    async fn what_was_told_before_is_in_the_logs() {
        let tracer = Tracer::new();
        let record = Record::begin(&tracer);
        for number in 0..100 {
            tracer.tell(&"a".into(), || What::Note(format!("note {number}")));
        }
        let logs = record.logs(["a", "b"].into_iter()).await;
        assert!(logs["a"].lines().last().is_some_and(|line| line.ends_with("ms  note 99")), "{logs:?}");
        assert_eq!((logs["a"].lines().count(), logs["b"].as_str()), (100, ""));
    }

    #[test]
    fn the_newest_events_are_kept_by_node() {
        let mut kept = Kept::default();
        let tracer = Tracer::new();
        let mut events = tracer.subscribe();
        for number in 0..=LIMIT {
            let node = if number % 2 == 0 { "a" } else { "b" };
            tracer.tell(&node.into(), || What::Note(format!("note {number}")));
            kept.keep(events.try_next().unwrap());
        }
        let logs = logs(&kept, ["a", "c"].into_iter());
        let lines: Vec<&str> = logs["a"].lines().collect();
        assert_eq!(lines[0], "(of all nodes, the first 1 events are left out)");
        assert!(lines[1].ends_with("ms  note 2"), "{}", lines[1]);
        assert_eq!(lines.len(), 1 + LIMIT / 2);
        assert_eq!(logs["c"].lines().count(), 1);
    }
}
