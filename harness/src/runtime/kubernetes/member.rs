//! The pod of a node or chaincode server: waited for, watched, and asked for its log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{AttachParams, LogParams};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

use super::space::Space;
use super::state;
use super::watch::{Seen, Watched};
use crate::cleanup::cluster::ClusterError;
use crate::console::error_text;
use crate::runtime::{Death, RuntimeError, log};
use crate::wait::TimedOut;

/// How long the cluster may take to pull an image, on top of everything else.
const PULL: Duration = Duration::from_mins(10);

/// How long a pod may be without a place on any of the cluster's nodes: another run's may just be about
/// to be free.
const UNPLACED: Duration = Duration::from_secs(10);

/// A node or chaincode server in the cluster.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// That of its objects.
    pub(super) instance: String,
    /// The container that is it.
    pub(super) container: &'static str,
    pub(super) space: Space,
    pub(super) watched: Arc<Watched>,
    /// The logs of its containers that the cluster has forgotten, or is about to.
    past: Mutex<String>,
}

/// What a look at a pod has shown.
enum Look<T> {
    Found(T),
    /// It can't come up.
    Refused(String),
    Died,
    NotYet {
        last: String,
        /// The cluster is at something that takes its time, and will come to an end.
        is_at_work: bool,
        /// Why no node of the cluster takes it.
        unplaced: Option<String>,
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

    /// How often it has ended by itself until now.
    pub(super) fn count_of_ends(&self) -> usize {
        self.watched.now().ends_of(&self.instance).count()
    }

    /// Its pod, unless that is about to go.
    pub(super) fn pod(&self) -> Option<Pod> {
        let seen = self.watched.now();
        seen.pods_of(&self.instance).find(|pod| pod.metadata.deletion_timestamp.is_none()).cloned()
    }

    /// Waits until its pod is so, and fails as soon as it can't become so; or when it ends more often
    /// than `ends`. An image that is being pulled has time of its own, and so has a node that the cluster
    /// adds to itself.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        bound: Duration,
        ends: usize,
        is_so: impl Fn(&Pod) -> Option<T>,
    ) -> Result<T, RuntimeError> {
        let begin = Instant::now();
        let mut changes = self.watched.subscribe();
        let (mut deadline, mut unplaced_since) = (begin + bound, None);
        loop {
            let look = self.look(&changes.borrow_and_update(), ends, &is_so);
            let (last, is_at_work, unplaced) = match look {
                Look::Found(found) => return Ok(found),
                Look::Refused(reason) => return Err(self.refused(reason)),
                Look::Died => return Err(RuntimeError::Died(self.last_death().await)),
                Look::NotYet { last, is_at_work, unplaced } => (last, is_at_work, unplaced),
            };
            let now = Instant::now();
            unplaced_since = unplaced.as_ref().map(|_| unplaced_since.unwrap_or(now));
            let patience = unplaced_since.map_or(deadline, |since| since + UNPLACED);
            let latest = begin + bound + PULL;
            let until = if is_at_work { latest } else { deadline.min(patience) };
            let woken = timeout_at(until, changes.changed()).await;
            if is_at_work {
                deadline = latest.min(Instant::now() + bound);
            }
            match (woken, unplaced) {
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

    fn look<T>(&self, seen: &Seen, ends: usize, is_so: impl Fn(&Pod) -> Option<T>) -> Look<T> {
        let pod = seen.pods_of(&self.instance).find(|pod| pod.metadata.deletion_timestamp.is_none());
        if let Some(found) = pod.and_then(is_so) {
            return Look::Found(found);
        }
        let about = seen.events().filter(|event| state::is_about(event, &self.instance));
        let refused = about.filter_map(state::rejection).last().filter(|_| pod.is_none());
        if let Some(reason) = refused.or_else(|| pod.and_then(state::trouble)) {
            return Look::Refused(reason);
        }
        if seen.ends_of(&self.instance).count() > ends {
            return Look::Died;
        }
        let last = pod.map_or_else(|| "it has no pod yet".to_owned(), state::seen);
        let last = seen.error.as_ref().map_or(last, |error| format!("the cluster does not tell: {error}"));
        let unplaced = pod.and_then(state::unplaced);
        let is_at_work = match unplaced {
            Some(_) => seen.events().any(|event| state::is_about(event, &self.instance) && state::makes_room(event)),
            None => self.is_pulling(seen),
        };
        Look::NotYet { last, is_at_work, unplaced }
    }

    /// Whether the last that is known of its images is that one is being pulled.
    fn is_pulling(&self, seen: &Seen) -> bool {
        let of_images = seen.events().filter(|event| state::is_about(event, &self.instance)).filter(|event| {
            matches!(event.reason.as_deref(), Some("Pulling" | "Pulled" | "Failed" | "Created" | "Started"))
        });
        let last = of_images.max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        last.is_some_and(|event| event.reason.as_deref() == Some("Pulling"))
    }

    /// Waits until it has ended more often than that by itself.
    pub(super) async fn death(&self, ends: usize) -> Death {
        let mut changes = self.watched.subscribe();
        let ended = changes.wait_for(|seen| seen.ends_of(&self.instance).count() > ends).await.is_ok();
        if !ended {
            // Nobody watches any more.
            return std::future::pending().await;
        }
        self.last_death().await
    }

    async fn last_death(&self) -> Death {
        let last = self.watched.now().ends_of(&self.instance).last().map(|end| end.how.clone());
        Death::new(&self.name, last.unwrap_or_default(), self.log_tail().await)
    }

    /// How it has ended by itself, each time that it did.
    pub(super) async fn deaths(&self) -> Vec<Death> {
        let ends: Vec<String> = self.watched.now().ends_of(&self.instance).map(|end| end.how.clone()).collect();
        if ends.is_empty() {
            return Vec::new();
        }
        let log = self.log_tail().await;
        ends.into_iter().map(|how| Death::new(&self.name, how, log.clone())).collect()
    }

    /// Says that what runs now is told to end; its identifier.
    pub(super) fn tell_to_end(&self) -> Option<String> {
        let id = state::id_of(&self.pod()?, self.container)?;
        self.watched.tell_to_end(id.clone());
        Some(id)
    }

    /// Runs a command in its container. `Err` has what it says.
    pub(super) async fn execute(&self, pod: &str, command: &[&str]) -> Result<(), String> {
        let streams = AttachParams::default().container(self.container).stdout(false).stderr(true);
        let pods = self.space.all::<Pod>();
        let started = self.space.ask("run a command in a pod", pods.exec(pod, command.to_vec(), &streams)).await;
        let mut process = started.map_err(|error| error_text(&error))?;
        let mut said = String::new();
        if let Some(complaints) = process.stderr() {
            let _ = complaints.take(4096).read_to_string(&mut said).await;
        }
        let status = match process.take_status() {
            Some(status) => status.await,
            None => None,
        };
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
            status => Err(format!("{} {}", said.trim(), status.and_then(|status| status.message).unwrap_or_default())),
        }
    }

    /// Keeps the log of what runs, which goes with its pod.
    pub(super) async fn keep_log(&self) {
        let Some(pod) = self.pod() else { return };
        let log = self.of_pod(&pod, None).await;
        self.add_to_past(&log);
    }

    /// Keeps the log of the container that was before the one that runs.
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

    /// The whole log, of all its containers that are known of.
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

    /// The log of a pod's container, and before it that of the one which ended by itself, if one did.
    async fn of_pod(&self, pod: &Pod, lines: Option<i64>) -> String {
        let Some(status) = state::container(pod, self.container) else { return String::new() };
        let former = status.last_state.as_ref().and_then(|last| last.terminated.as_ref()?.container_id.clone());
        let by_itself = former.is_some_and(|id| self.watched.now().ends_of(&self.instance).any(|end| end.id == id));
        let name = pod.name_any();
        let parts = [by_itself.then_some(true), Some(false)].into_iter().flatten();
        let read = join_all(parts.map(|previous| self.read(&name, previous, lines))).await;
        let text = |part: Result<String, ClusterError>| match part {
            Ok(text) => text,
            // There is none yet.
            Err(error) if error.status().is_some_and(|status| matches!(status.code, 400 | 404)) => String::new(),
            Err(error) => format!("\n(the log can't be read: {})\n", error_text(&error)),
        };
        read.into_iter().map(text).collect()
    }

    async fn read(&self, pod: &str, previous: bool, lines: Option<i64>) -> Result<String, ClusterError> {
        let parameters = LogParams {
            container: Some(self.container.to_owned()),
            previous,
            tail_lines: lines,
            limit_bytes: i64::try_from(log::LIMIT).ok(),
            ..LogParams::default()
        };
        self.space.ask("show a log", self.space.all::<Pod>().logs(pod, &parameters)).await
    }
}
