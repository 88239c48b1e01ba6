//! Watches the namespace's pods and events.
//!
//! Two tasks watch them as long as the network runs, and wake whoever waits for a change. They keep every exit of
//! a container, since the cluster keeps only the last one.

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

/// The pause before a failed watch is started again.
const AGAIN: Duration = Duration::from_millis(300);

/// Longer than the server's own limit of a watch.
const WATCH: Duration = Duration::from_mins(5);

/// An exit of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    /// The name of its node's or server's objects.
    pub(super) instance: String,
    /// The container's ID.
    pub(super) id: String,
    pub(super) how: String,
}

/// The state of the namespace, as last seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By name.
    pods: BTreeMap<String, Pod>,
    /// By their IDs.
    events: BTreeMap<String, Event>,
    exits: Vec<Exit>,
    /// The IDs of containers whose exit is expected.
    expected: BTreeSet<String>,
    /// Why the watch failed.
    pub(super) error: Option<String>,
}

impl Seen {
    /// The pods of a node or server, usually one.
    pub(super) fn pods_of<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| state::instance(pod) == Some(instance))
    }

    /// The unexpected exits of its containers.
    pub(super) fn exits_of<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = &'a Exit> {
        self.exits.iter().filter(move |exit| exit.instance == instance && !self.expected.contains(&exit.id))
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// Whether the container of this ID has exited.
    pub(super) fn has_ended(&self, id: &str) -> bool {
        self.exits.iter().any(|exit| exit.id == id)
    }

    fn remember(&mut self, pod: &Pod) {
        let Some(instance) = state::instance(pod) else { return };
        for (id, how) in state::exits(pod) {
            if !self.has_ended(&id) {
                self.exits.push(Exit { instance: instance.to_owned(), id, how });
            }
        }
    }

    fn gone(&mut self, pod: &Pod) {
        self.remember(pod);
        let Some(instance) = state::instance(pod).map(str::to_owned) else { return };
        let ids = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        for id in ids.filter_map(|status| status.container_id.clone()) {
            if !self.has_ended(&id) {
                self.exits.push(Exit { instance: instance.clone(), id, how: "its pod was deleted".to_owned() });
            }
        }
    }
}

/// A kind that is watched.
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

    // The cluster drops events after a while; they are kept here.
    fn gone(_: &mut Seen, _: Self) {}
}

/// The tasks that watch. Dropping it stops them.
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

    /// The state as last seen.
    pub(super) fn now(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// Marks all exits of a node or server after the first so many as expected: its pods were removed meanwhile,
    /// with whatever containers they had by then.
    pub(super) fn expect_since(&self, instance: &str, exits: usize) {
        self.seen.send_if_modified(|seen| {
            let later: Vec<String> = seen.exits_of(instance).skip(exits).map(|exit| exit.id.clone()).collect();
            seen.expected.extend(later);
            false
        });
    }

    /// Marks the exit of the container of this ID as expected.
    pub(super) fn expect(&self, id: String) {
        self.seen.send_if_modified(|seen| {
            seen.expected.insert(id);
            false
        });
    }
}

async fn follow<K: Followed>(space: Space, seen: watch::Sender<Seen>) {
    loop {
        if let Err(reason) = follow_once::<K>(&space, &seen).await {
            tracing::debug!("cannot watch the {} of {}: {reason}", K::plural(&()), space.name);
            seen.send_modify(|seen| seen.error = Some(reason));
            sleep(AGAIN).await;
        }
    }
}

/// Watches until the server ends the watch.
async fn follow_once<K: Followed>(space: &Space, seen: &watch::Sender<Seen>) -> Result<(), String> {
    let all = space.all::<K>();
    let action = format!("list {}", K::plural(&()));
    let list = space.ask(&action, all.list(&ListParams::default())).await.map_err(|error| error_text(&error))?;
    let version = list.metadata.resource_version.unwrap_or_default();
    seen.send_modify(|seen| {
        seen.error = None;
        K::all(seen, list.items);
    });
    let watch = space.ask("start a watch", all.watch(&WatchParams::default(), &version)).await;
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
