//! What passed on the nodes of this process: their logs, as long as somebody may want to read them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use embedded_peer::trace::{Event, Tracer};

/// How many events are kept, the newest.
const LIMIT: usize = 20_000;

/// Events of all nodes, in order, each told in words only when it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    forgotten: usize,
}

impl Record {
    /// Keeps what the nodes tell from now on.
    pub(super) fn begin(tracer: &Tracer) -> Self {
        let record = Self::default();
        let mut events = tracer.subscribe();
        let kept = record.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                tracing::trace!("{event:#}");
                kept.keep(event);
            }
        });
        record
    }

    fn keep(&self, event: Event) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.events.len() >= LIMIT {
            kept.events.pop_front();
            kept.forgotten += 1;
        }
        kept.events.push_back(event);
    }

    /// The events by node, a line each; nodes without an event have an empty log.
    pub(super) fn logs<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let mut logs: BTreeMap<String, String> = nodes.map(|name| (name.to_owned(), String::new())).collect();
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_peer::trace::What;

    #[tokio::test]
    async fn the_newest_events_are_kept_by_node() {
        let record = Record::default();
        let tracer = Tracer::new();
        let mut events = tracer.subscribe();
        for number in 0..=LIMIT {
            let node = if number % 2 == 0 { "a" } else { "b" };
            tracer.tell(&node.into(), || What::Note(format!("note {number}")));
            record.keep(events.try_next().unwrap());
        }
        let logs = record.logs(["a", "c"].into_iter());
        let lines: Vec<&str> = logs["a"].lines().collect();
        assert_eq!(lines[0], "(of all nodes, the first 1 events are left out)");
        assert!(lines[1].ends_with("ms  note 2"), "{}", lines[1]);
        assert_eq!(lines.len(), 1 + LIMIT / 2);
        assert_eq!(logs["c"].lines().count(), 1);
    }
}
