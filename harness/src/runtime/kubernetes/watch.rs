//! What happens in the namespace: its pods and events, as the cluster tells of them.
//!
//! Two tasks follow them for as long as the network lives; whoever waits for something is woken by a
//! change and asks nobody. Each end of a container is remembered, since the cluster itself remembers
//! the last one only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::space::Space;
use super::state;
use crate::console::error_text;

/// Before the cluster is asked again that did not answer.
const AGAIN: Duration = Duration::from_millis(300);

/// The server ends a watch before that.
const WATCH: Duration = Duration::from_mins(5);

/// An end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// The name of its objects.
    pub(super) instance: String,
    /// The container's identifier.
    pub(super) id: String,
    pub(super) how: String,
}

/// What has been seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By name.
    pods: BTreeMap<String, Pod>,
    /// By their own identifiers.
    events: BTreeMap<String, Event>,
    ends: Vec<End>,
    /// Identifiers of containers that were told to end.
    told: BTreeSet<String>,
    /// Why nothing is seen.
    pub(super) error: Option<String>,
}

impl Seen {
    /// The pods of a node or server; mostly one.
    pub(super) fn pods_of<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| state::instance(pod) == Some(instance))
    }

    /// Ends of its containers that nobody had told to end.
    pub(super) fn ends_of<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = &'a End> {
        self.ends.iter().filter(move |end| end.instance == instance && !self.told.contains(&end.id))
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// Whether the container of this identifier has ended.
    pub(super) fn has_ended(&self, id: &str) -> bool {
        self.ends.iter().any(|end| end.id == id)
    }

    fn remember(&mut self, pod: &Pod) {
        let Some(instance) = state::instance(pod) else { return };
        for (id, how) in state::ends(pod) {
            if !self.has_ended(&id) {
                self.ends.push(End { instance: instance.to_owned(), id, how });
            }
        }
    }

    fn gone(&mut self, pod: &Pod) {
        self.remember(pod);
        let Some(instance) = state::instance(pod).map(str::to_owned) else { return };
        let ids = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        for id in ids.filter_map(|status| status.container_id.clone()) {
            if !self.has_ended(&id) {
                self.ends.push(End { instance: instance.clone(), id, how: "its pod was deleted".to_owned() });
            }
        }
    }
}

/// A kind that is followed.
trait Followed: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug {
    fn all(seen: &mut Seen, all: Vec<Self>);
    fn one(seen: &mut Seen, one: Self);
    fn gone(seen: &mut Seen, one: Self);
}

impl Followed for Pod {
    fn all(seen: &mut Seen, all: Vec<Self>) {
        let before = std::mem::take(&mut seen.pods);
        for pod in all {
            Self::one(seen, pod);
        }
        for (name, pod) in before {
            if !seen.pods.contains_key(&name) {
                seen.gone(&pod);
            }
        }
    }

    fn one(seen: &mut Seen, one: Self) {
        seen.remember(&one);
        seen.pods.insert(one.name_any(), one);
    }

    fn gone(seen: &mut Seen, one: Self) {
        seen.gone(&one);
        seen.pods.remove(&one.name_any());
    }
}

impl Followed for Event {
    fn all(seen: &mut Seen, all: Vec<Self>) {
        for event in all {
            Self::one(seen, event);
        }
    }

    fn one(seen: &mut Seen, one: Self) {
        seen.events.insert(one.uid().unwrap_or_else(|| one.name_any()), one);
    }

    // The cluster forgets them after a while; we don't.
    fn gone(_: &mut Seen, _: Self) {}
}

/// The tasks that watch. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Watched {
    seen: watch::Sender<Seen>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watched {
    pub(super) fn begin(space: &Space) -> Self {
        let seen = watch::Sender::new(Seen::default());
        let tasks = [
            tokio::spawn(follow::<Pod>(space.clone(), seen.clone())),
            tokio::spawn(follow::<Event>(space.clone(), seen.clone())),
        ];
        Self { seen, tasks }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// What has been seen until now.
    pub(super) fn now(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// Takes all ends of a node or server but the first so many as told: its pods were removed meanwhile,
    /// whatever containers they had by then.
    pub(super) fn told_since(&self, instance: &str, ends: usize) {
        self.seen.send_if_modified(|seen| {
            let later: Vec<String> = seen.ends_of(instance).skip(ends).map(|end| end.id.clone()).collect();
            seen.told.extend(later);
            false
        });
    }

    /// Says that the container of this identifier is told to end.
    pub(super) fn tell_to_end(&self, id: String) {
        self.seen.send_if_modified(|seen| {
            seen.told.insert(id);
            false
        });
    }
}

async fn follow<K: Followed>(space: Space, seen: watch::Sender<Seen>) {
    loop {
        if let Err(reason) = follow_once::<K>(&space, &seen).await {
            tracing::debug!("the {} of {} can't be watched: {reason}", K::plural(&()), space.name);
            seen.send_modify(|seen| seen.error = Some(reason));
            sleep(AGAIN).await;
        }
    }
}

/// Until the server ends the watch.
async fn follow_once<K: Followed>(space: &Space, seen: &watch::Sender<Seen>) -> Result<(), String> {
    let all = space.all::<K>();
    let action = format!("list {}", K::plural(&()));
    let list = space.ask(&action, all.list(&ListParams::default())).await.map_err(|error| error_text(&error))?;
    let version = list.metadata.resource_version.unwrap_or_default();
    seen.send_modify(|seen| {
        seen.error = None;
        K::all(seen, list.items);
    });
    let watch = space.ask("be watched", all.watch(&WatchParams::default(), &version)).await;
    let watch = watch.map_err(|error| error_text(&error))?;
    let mut changes = std::pin::pin!(watch);
    while let Ok(change) = timeout(WATCH, changes.try_next()).await {
        match change.map_err(|error| error_text(&error))? {
            Some(WatchEvent::Added(one) | WatchEvent::Modified(one)) => seen.send_modify(|seen| K::one(seen, one)),
            Some(WatchEvent::Deleted(one)) => seen.send_modify(|seen| K::gone(seen, one)),
            Some(WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(status)) => return Err(status.to_string()),
            None => break,
        }
    }
    Ok(())
}
