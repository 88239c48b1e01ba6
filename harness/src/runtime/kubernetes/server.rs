//! A chaincode server in the cluster. To end it, its Deployment is scaled to nothing; the Service stays,
//! and with it the address.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fabric_network::render::operator::kubernetes::objects::{CHAINCODE_CONTAINER, RECEIVER, Upload};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::member::Member;
use super::places::CHAINCODE_PORT;
use super::reach::reached;
use super::state;
use super::upload::Archive;
use crate::cleanup::Custody;
use crate::cleanup::cluster::ClusterError;
use crate::runtime::{Death, RuntimeError};

/// Between SIGTERM and SIGKILL, in seconds.
const GRACE: u32 = 2;

/// The same, when it is killed: a cluster takes no less.
const SHORTEST_GRACE: u32 = 1;

/// How long a busy cluster may take to say that a container has ended.
const SAID: Duration = Duration::from_secs(30);

/// How long a pod may take to go, after its grace.
const GONE: Duration = Duration::from_secs(30);

/// A chaincode server in the cluster.
#[derive(Debug)]
pub(in crate::runtime) struct Server {
    pub(super) member: Arc<Member>,
    /// How long it may take to listen.
    pub(super) bound: Duration,
    /// Its program, if that is not of its image.
    pub(super) program: Option<(Archive, Upload)>,
    /// Who must reach it.
    pub(super) peers: Vec<Arc<Member>>,
    pub(super) custody: Arc<Custody>,
}

impl Server {
    pub(in crate::runtime) fn name(&self) -> &str {
        &self.member.name
    }

    pub(in crate::runtime) async fn stop(&self) -> Result<(), RuntimeError> {
        self.end(GRACE).await
    }

    pub(in crate::runtime) async fn kill(&self) -> Result<(), RuntimeError> {
        self.end(SHORTEST_GRACE).await
    }

    async fn end(&self, grace: u32) -> Result<(), RuntimeError> {
        let member = &self.member;
        let ends = member.count_of_ends();
        member.tell_to_end();
        member.keep_log().await;
        self.scale(0).await?;
        let removed = self.remove_pods(grace).await;
        member.watched.told_since(&member.instance, ends);
        removed
    }

    /// Removes its pods, and waits until they are gone: those as well that the cluster makes because it
    /// sees that a pod has gone before it sees that none is wanted.
    async fn remove_pods(&self, grace: u32) -> Result<(), RuntimeError> {
        let member = &self.member;
        let all = member.space.all::<Pod>();
        let soon = DeleteParams::default().grace_period(grace);
        let deadline = Instant::now() + GONE;
        let mut changes = member.watched.subscribe();
        let mut told = BTreeSet::new();
        loop {
            let pods: Vec<String> = changes.borrow_and_update().pods_of(&member.instance).map(Pod::name_any).collect();
            if pods.is_empty() {
                return Ok(());
            }
            for pod in pods.into_iter().filter(|pod| told.insert(pod.clone())) {
                let delete = all.delete(&pod, &soon);
                match member.space.ask("delete a pod", delete).await {
                    Err(error) if error.status().is_some_and(|status| status.code == 404) => {}
                    answer => answer.map(drop)?,
                }
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(RuntimeError::Ended),
                Err(_) => {
                    let (context, action) = (member.space.cluster.context.clone(), format!("end {}", self.name()));
                    return Err(ClusterError::Late { context, action, bound: GONE }.into());
                }
            }
        }
    }

    async fn scale(&self, replicas: u32) -> Result<(), ClusterError> {
        let member = &self.member;
        let all = member.space.all::<Deployment>();
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let action = format!("scale {} to {replicas}", self.name());
        member.space.ask(&action, all.patch(&member.instance, &PatchParams::default(), &patch)).await.map(drop)
    }

    pub(in crate::runtime) async fn start(&self) -> Result<(), RuntimeError> {
        if self.custody.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let ends = self.member.count_of_ends();
        let runs = self.member.pod().is_some_and(|pod| state::runs(&pod, CHAINCODE_CONTAINER));
        if runs {
            return self.listens(ends).await;
        }
        // One that ended by itself would be started again later and later.
        self.end(SHORTEST_GRACE).await?;
        self.scale(1).await?;
        self.comes_up(ends).await?;
        let peers = self.peers.iter().map(Arc::as_ref);
        reached(peers, &[self.target()], self.bound).await
    }

    /// Where its peers find it.
    pub(super) fn target(&self) -> String {
        format!("{}:{CHAINCODE_PORT}", self.member.instance)
    }

    /// Waits until it listens, and gives it its program meanwhile.
    pub(super) async fn comes_up(&self, ends: usize) -> Result<(), RuntimeError> {
        if let Some((archive, to)) = &self.program {
            receive(&self.member, self.bound, ends, archive, *to).await?;
        }
        self.listens(ends).await
    }

    async fn listens(&self, ends: usize) -> Result<(), RuntimeError> {
        let what = format!("{} listens in its pod", self.name());
        self.member.wait(&what, self.bound, ends, |pod| state::is_ready(pod).then_some(())).await
    }

    pub(in crate::runtime) async fn log_tail(&self) -> String {
        self.member.log_tail().await
    }

    pub(in crate::runtime) async fn log(&self) -> String {
        self.member.log().await
    }

    pub(in crate::runtime) async fn deaths(&self) -> Vec<Death> {
        self.member.deaths().await
    }
}

/// Waits until a pod can take an upload, and gives it.
pub(super) async fn receive(
    member: &Member,
    bound: Duration,
    ends: usize,
    archive: &Archive,
    to: Upload,
) -> Result<(), RuntimeError> {
    let what = format!("the pod of {} takes a program", member.name);
    let pod = member.wait(&what, bound, ends, |pod| state::runs(pod, RECEIVER).then(|| pod.name_any())).await?;
    let Err(reason) = archive.upload(&member.space, &pod, to).await else { return Ok(()) };
    // As soon as everything is there the container ends, and with it whoever would have said so.
    let what = format!("the upload into the pod of {} is done", member.name);
    let has_all = |pod: &Pod| {
        let end = state::container(pod, RECEIVER)?.state.as_ref()?.terminated.as_ref()?;
        (end.exit_code == 0).then_some(())
    };
    match member.wait(&what, SAID, ends, has_all).await {
        Err(RuntimeError::Silent(_)) => {
            let reason = format!("its program can't be uploaded: {reason}");
            Err(RuntimeError::Container { name: member.name.clone(), reason })
        }
        answer => answer,
    }
}
