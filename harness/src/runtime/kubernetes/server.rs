//! A chaincode server in the cluster. To stop it, its Deployment is scaled to 0; the Service stays, and with it
//! the address.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fabric_network::render::operator::kubernetes::objects::{CHAINCODE_CONTAINER, RECEIVER, Upload};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::cluster::ClusterError;
use super::member::Member;
use super::reach::wait_until_reached;
use super::state;
use super::upload::Archive;
use crate::cleanup::RunGuard;
use crate::runtime::{ChaincodeServer, RuntimeError, UnexpectedExit};

/// Between SIGTERM and SIGKILL, in seconds.
const GRACE: u32 = 2;

/// The same for `kill`: the minimum of a cluster.
const SHORTEST_GRACE: u32 = 1;

/// How long a busy cluster may take to report the exit of a container.
const REPORTED: Duration = Duration::from_secs(30);

/// How long the removal of a pod may take, after its grace.
const REMOVED: Duration = Duration::from_secs(30);

/// A chaincode server in the cluster.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) member: Arc<Member>,
    pub(super) port: u16,
    /// How long it may take to listen.
    pub(super) bound: Duration,
    /// Its program, if that is not in its image.
    pub(super) program: Option<(Archive, Upload)>,
    /// The peers that must reach it.
    pub(super) peers: Vec<Arc<Member>>,
    pub(super) guard: Arc<RunGuard>,
}

impl Server {
    async fn end(&self, grace: u32) -> Result<(), RuntimeError> {
        let member = &self.member;
        let exits = member.exit_count();
        member.expect_exit();
        member.keep_log().await;
        self.scale(0).await?;
        let removed = self.remove_pods(grace).await;
        member.watched.expect_since(&member.instance, exits);
        removed
    }

    /// Removes its pods, and waits until they are gone. The cluster may create another pod when it notices the
    /// removal of a pod before the new scale.
    async fn remove_pods(&self, grace: u32) -> Result<(), RuntimeError> {
        let member = &self.member;
        let all = member.space.all::<Pod>();
        let soon = DeleteParams::default().grace_period(grace);
        let deadline = Instant::now() + REMOVED;
        let mut changes = member.watched.subscribe();
        let mut deleted = BTreeSet::new();
        loop {
            let pods: Vec<String> = changes.borrow_and_update().pods_of(&member.instance).map(Pod::name_any).collect();
            if pods.is_empty() {
                return Ok(());
            }
            for pod in pods.into_iter().filter(|pod| deleted.insert(pod.clone())) {
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
                    let (context, action) =
                        (member.space.cluster.context.clone(), format!("remove the pods of {}", self.name()));
                    return Err(ClusterError::Late { context, action, bound: REMOVED }.into());
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

    /// `HOST:PORT` that its peers dial.
    pub(super) fn target(&self) -> String {
        format!("{}:{}", self.member.instance, self.port)
    }

    /// Uploads its program, if it needs one, and waits until it listens.
    pub(super) async fn wait_until_ready(&self, exits: usize) -> Result<(), RuntimeError> {
        if let Some((archive, to)) = &self.program {
            upload(&self.member, self.bound, exits, archive, *to).await?;
        }
        self.listens(exits).await
    }

    async fn listens(&self, exits: usize) -> Result<(), RuntimeError> {
        let what = format!("{} listens in its pod", self.name());
        self.member.wait(&what, self.bound, exits, |pod| state::is_ready(pod).then_some(())).await
    }
}

#[async_trait]
impl ChaincodeServer for Server {
    fn name(&self) -> &str {
        &self.member.name
    }

    async fn start(&self) -> Result<(), RuntimeError> {
        if self.guard.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let exits = self.member.exit_count();
        let runs = self.member.pod().is_some_and(|pod| state::runs(&pod, CHAINCODE_CONTAINER));
        if runs {
            return self.listens(exits).await;
        }
        // The cluster restarts a container that exited with growing delays.
        self.end(SHORTEST_GRACE).await?;
        self.scale(1).await?;
        self.wait_until_ready(exits).await?;
        let peers = self.peers.iter().map(Arc::as_ref);
        wait_until_reached(peers, &[self.target()], self.bound).await
    }

    async fn stop(&self) -> Result<(), RuntimeError> {
        self.end(GRACE).await
    }

    async fn kill(&self) -> Result<(), RuntimeError> {
        self.end(SHORTEST_GRACE).await
    }

    async fn log(&self) -> Option<String> {
        Some(self.member.log().await)
    }

    async fn log_tail(&self) -> String {
        self.member.log_tail().await
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        self.member.exits().await
    }
}

/// Waits until a pod can receive an upload, and uploads the archive.
pub(super) async fn upload(
    member: &Member,
    bound: Duration,
    exits: usize,
    archive: &Archive,
    to: Upload,
) -> Result<(), RuntimeError> {
    let what = format!("the pod of {} receives a program", member.name);
    let pod = member.wait(&what, bound, exits, |pod| state::runs(pod, RECEIVER).then(|| pod.name_any())).await?;
    let Err(reason) = archive.upload(&member.space, &pod, to).await else { return Ok(()) };
    // The container exits as soon as it has everything, and with it the command that would report success.
    let what = format!("the upload into the pod of {} is complete", member.name);
    let has_all = |pod: &Pod| {
        let end = state::container(pod, RECEIVER)?.state.as_ref()?.terminated.as_ref()?;
        (end.exit_code == 0).then_some(())
    };
    match member.wait(&what, REPORTED, exits, has_all).await {
        Err(RuntimeError::Silent(_)) => {
            let reason = format!("cannot upload its program: {reason}");
            Err(RuntimeError::Container { name: member.name.clone(), reason })
        }
        answer => answer,
    }
}
