//! The pod of a node or chaincode server: waits for it, its exits, and its log.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::AsyncReadExt as _;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, LogParams};
use kube::{Api, ResourceExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

use super::cluster::ClusterError;
use super::space::Space;
use super::state;
use super::watch::{Seen, Watched};
use crate::console::error_text;
use crate::runtime::{RuntimeError, UnexpectedExit, log};
use crate::wait::TimedOut;

/// How long the cluster may take to pull an image, in addition to the timeout.
const PULL: Duration = Duration::from_mins(10);

/// How long a pod may be unschedulable: another run may be about to free what it needs.
const UNSCHEDULABLE: Duration = Duration::from_secs(10);

/// A node or chaincode server in the cluster.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// The name of its objects.
    pub(super) instance: String,
    /// The container that is the node or server.
    pub(super) container: &'static str,
    pub(super) space: Space,
    pub(super) watched: Arc<Watched>,
    /// The logs of its former containers, which the cluster does not keep.
    past: Mutex<String>,
}

/// The state of a pod that is waited for.
enum Look<T> {
    Found(T),
    /// It will not start, and why.
    Refused(String),
    Exited,
    NotYet {
        last: String,
        /// The cluster pulls an image or adds a node, which takes long.
        is_at_work: bool,
        /// Why it is unschedulable.
        unschedulable: Option<String>,
    },
}

impl Member {
    pub(super) fn new(
        name: &str,
        instance: String,
        container: &'static str,
        space: &Space,
        watched: &Arc<Watched>,
    ) -> Self {
        let (space, watched) = (space.clone(), Arc::clone(watched));
        Self { name: name.to_owned(), instance, container, space, watched, past: Mutex::default() }
    }

    /// The number of its unexpected exits.
    pub(super) fn exit_count(&self) -> usize {
        self.watched.now().exits_of(&self.instance).count()
    }

    /// Its pod, unless that is being deleted.
    pub(super) fn pod(&self) -> Option<Pod> {
        let seen = self.watched.now();
        seen.pods_of(&self.instance).find(|pod| pod.metadata.deletion_timestamp.is_none()).cloned()
    }

    /// Waits until `is_so` returns something for its pod. Fails as soon as that has become impossible, or when it
    /// has exited more than `exits` times. Pulling an image, or adding a node to the cluster, extends the time.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        bound: Duration,
        exits: usize,
        is_so: impl Fn(&Pod) -> Option<T>,
    ) -> Result<T, RuntimeError> {
        let begin = Instant::now();
        let mut changes = self.watched.subscribe();
        let (mut deadline, mut unschedulable_since) = (begin + bound, None);
        loop {
            let look = self.look(&changes.borrow_and_update(), exits, &is_so);
            let (last, is_at_work, unschedulable) = match look {
                Look::Found(found) => return Ok(found),
                Look::Refused(reason) => return Err(self.refused(reason)),
                Look::Exited => return Err(RuntimeError::Exited(self.last_exit().await)),
                Look::NotYet { last, is_at_work, unschedulable } => (last, is_at_work, unschedulable),
            };
            let now = Instant::now();
            unschedulable_since = unschedulable.as_ref().map(|_| unschedulable_since.unwrap_or(now));
            let patience = unschedulable_since.map_or(deadline, |since| since + UNSCHEDULABLE);
            let latest = begin + bound + PULL;
            let until = if is_at_work { latest } else { deadline.min(patience) };
            let woken = timeout_at(until, changes.changed()).await;
            if is_at_work {
                deadline = latest.min(Instant::now() + bound);
            }
            match (woken, unschedulable) {
                (Ok(Ok(())), _) => {}
                (Ok(Err(_)), _) => return Err(RuntimeError::Ended),
                (Err(_), Some(reason)) => return Err(self.refused(reason)),
                (Err(_), None) => {
                    let log = self.log_tail().await;
                    let after = begin.elapsed();
                    return Err(RuntimeError::Silent(TimedOut { what: what.to_owned(), after, last, log }));
                }
            }
        }
    }

    fn refused(&self, reason: String) -> RuntimeError {
        RuntimeError::Container { name: self.name.clone(), reason }
    }

    fn look<T>(&self, seen: &Seen, exits: usize, is_so: impl Fn(&Pod) -> Option<T>) -> Look<T> {
        let pod = seen.pods_of(&self.instance).find(|pod| pod.metadata.deletion_timestamp.is_none());
        if let Some(found) = pod.and_then(is_so) {
            return Look::Found(found);
        }
        let about = seen.events().filter(|event| state::is_about(event, &self.instance));
        let refused = about.filter_map(state::rejection).last().filter(|_| pod.is_none());
        if let Some(reason) = refused.or_else(|| pod.and_then(state::trouble)) {
            return Look::Refused(reason);
        }
        if seen.exits_of(&self.instance).count() > exits {
            return Look::Exited;
        }
        let last = pod.map_or_else(|| "it has no pod yet".to_owned(), state::summary);
        let last = seen.error.as_ref().map_or(last, |error| format!("the cluster cannot be watched: {error}"));
        let unschedulable = pod.and_then(state::unschedulable);
        let is_at_work = match unschedulable {
            Some(_) => seen.events().any(|event| state::is_about(event, &self.instance) && state::adds_node(event)),
            None => self.is_pulling(seen),
        };
        Look::NotYet { last, is_at_work, unschedulable }
    }

    /// Whether the last event of its images is that one is being pulled.
    fn is_pulling(&self, seen: &Seen) -> bool {
        let of_images = seen.events().filter(|event| state::is_about(event, &self.instance)).filter(|event| {
            matches!(event.reason.as_deref(), Some("Pulling" | "Pulled" | "Failed" | "Created" | "Started"))
        });
        let last = of_images.max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        last.is_some_and(|event| event.reason.as_deref() == Some("Pulling"))
    }

    /// Waits until it has exited unexpectedly more than `exits` times.
    pub(super) async fn exit(&self, exits: usize) -> UnexpectedExit {
        let mut changes = self.watched.subscribe();
        let ended = changes.wait_for(|seen| seen.exits_of(&self.instance).count() > exits).await.is_ok();
        if !ended {
            // The watch has ended.
            return std::future::pending().await;
        }
        self.last_exit().await
    }

    async fn last_exit(&self) -> UnexpectedExit {
        let last = self.watched.now().exits_of(&self.instance).last().map(|exit| exit.how.clone());
        UnexpectedExit::new(&self.name, last.unwrap_or_default(), self.log_tail().await)
    }

    /// Every unexpected exit.
    pub(super) async fn exits(&self) -> Vec<UnexpectedExit> {
        let exits: Vec<String> = self.watched.now().exits_of(&self.instance).map(|exit| exit.how.clone()).collect();
        if exits.is_empty() {
            return Vec::new();
        }
        let log = self.log_tail().await;
        exits.into_iter().map(|how| UnexpectedExit::new(&self.name, how, log.clone())).collect()
    }

    /// Marks the exit of the running container as expected. Returns its ID.
    pub(super) fn expect_exit(&self) -> Option<String> {
        let id = state::id_of(&self.pod()?, self.container)?;
        self.watched.expect(id.clone());
        Some(id)
    }

    /// Runs a command in its container. The error is what it prints to stderr.
    pub(super) async fn execute(&self, pod: &str, command: &[&str]) -> Result<(), String> {
        let streams = AttachParams::default().container(self.container).stdout(false).stderr(true);
        let pods = self.space.all::<Pod>();
        let started = self.space.ask("run a command in a pod", pods.exec(pod, command.to_vec(), &streams)).await;
        let mut process = started.map_err(|error| error_text(&error))?;
        let mut printed = String::new();
        if let Some(errors) = process.stderr() {
            let _ = errors.take(4096).read_to_string(&mut printed).await;
        }
        let status = match process.take_status() {
            Some(status) => status.await,
            None => None,
        };
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
            status => {
                Err(format!("{} {}", printed.trim(), status.and_then(|status| status.message).unwrap_or_default()))
            }
        }
    }

    /// Keeps the log of the running container, which is removed with its pod.
    pub(super) async fn keep_log(&self) {
        let Some(pod) = self.pod() else { return };
        let log = self.of_pod(&pod, None).await;
        self.add_to_past(&log);
    }

    /// Keeps the log of the container before the running one.
    pub(super) async fn keep_former_log(&self) {
        let Some(pod) = self.pod() else { return };
        let log = self.read(&pod.name_any(), true, None).await.unwrap_or_default();
        self.add_to_past(&log);
    }

    fn add_to_past(&self, log: &str) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() + log.len() <= log::LIMIT {
            past.push_str(log);
        }
    }

    /// The whole log of all its containers.
    pub(super) async fn log(&self) -> String {
        let mut whole = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pod) = self.pod() {
            whole.push_str(&self.of_pod(&pod, None).await);
        }
        log::without_escapes(&whole)
    }

    pub(super) async fn log_tail(&self) -> String {
        let lines = i64::try_from(10 * log::LINES).ok();
        let now = match self.pod() {
            Some(pod) => self.of_pod(&pod, lines).await,
            None => String::new(),
        };
        if now.trim().is_empty() {
            return log::last_lines(&self.past.lock().unwrap_or_else(PoisonError::into_inner));
        }
        log::last_lines(&now)
    }

    /// The log of a pod's container, after that of the one before, if it exited unexpectedly.
    async fn of_pod(&self, pod: &Pod, lines: Option<i64>) -> String {
        let Some(status) = state::container(pod, self.container) else { return String::new() };
        let former = status.last_state.as_ref().and_then(|last| last.terminated.as_ref()?.container_id.clone());
        let was_unexpected =
            former.is_some_and(|id| self.watched.now().exits_of(&self.instance).any(|exit| exit.id == id));
        let name = pod.name_any();
        let parts = [was_unexpected.then_some(true), Some(false)].into_iter().flatten();
        let read = join_all(parts.map(|previous| self.read(&name, previous, lines))).await;
        let text = |part: Result<String, ClusterError>| match part {
            Ok(text) => text,
            // There is no log yet.
            Err(error) if error.status().is_some_and(|status| matches!(status.code, 400 | 404)) => String::new(),
            Err(error) => format!("\n(cannot read the log: {})\n", error_text(&error)),
        };
        read.into_iter().map(text).collect()
    }

    async fn read(&self, pod: &str, previous: bool, lines: Option<i64>) -> Result<String, ClusterError> {
        let parameters = LogParams {
            container: Some(self.container.to_owned()),
            previous,
            tail_lines: lines,
            ..LogParams::default()
        };
        self.space.ask("return a log", received(self.space.all::<Pod>(), pod, &parameters)).await
    }
}

/// A log; of a long one, both ends.
async fn received(pods: Api<Pod>, pod: &str, parameters: &LogParams) -> kube::Result<String> {
    let mut stream = pin!(pods.log_stream(pod, parameters).await?);
    let mut received = log::Received::default();
    let mut part = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut part).await.map_err(kube::Error::ReadEvents)? {
            0 => return Ok(received.text()),
            length => received.add(&part[..length]),
        }
    }
}
