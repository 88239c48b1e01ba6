//! A Kubernetes cluster, and the removal of the namespaces of runs from it.
//!
//! Each removal creates its own client of the cluster, since it also happens where the client of the run is of no
//! use: while an asynchronous runtime shuts down, or in another process. What is in a namespace is not known here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Error as KubeError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::cleanup::labels::{RUN_LABEL, run_label};
use crate::cleanup::{Aftermath, DIRECTORY_PREFIX, Leftover, ResourceKind, Resources, RunGuard, ShellRemoval};
use crate::console::error_text;

/// How long a cluster may take to answer at all.
pub const ANSWER: Duration = Duration::from_secs(5);

/// How long a cluster may take to do one thing, such as creating an object.
const ACTION: Duration = Duration::from_secs(30);

/// How long the removal of a namespace may take.
const REMOVAL: Duration = Duration::from_secs(90);

/// After this long, a warning says that the removal takes long.
const LONG: Duration = Duration::from_secs(10);

/// Before checking again whether a namespace is gone.
const AGAIN: Duration = Duration::from_millis(100);

/// How long after the harness has exited the cluster may still carry out its last request.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Between SIGTERM and SIGKILL of the pods in a namespace that is removed, in seconds.
const GRACE: u32 = 1;

/// A cluster, by a context of the user's kubeconfig. Not a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The files of the kubeconfig. The first has precedence.
    pub kubeconfig: Vec<PathBuf>,
    /// The context's name.
    pub context: String,
}

/// A namespace of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace's name.
    pub namespace: String,
}

/// A request to a cluster that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There is no kubeconfig.
    #[error("no kubeconfig: {} does not exist; set KUBECONFIG, or create one with your cluster's tools", list(looked))]
    NoKubeconfig {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The kubeconfig is invalid.
    #[error("invalid kubeconfig {}", list(files))]
    Kubeconfig {
        /// Its files.
        files: Vec<PathBuf>,
        /// Why not.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// It has no current context.
    #[error("the kubeconfig has no current context; choose one with --kube-context: {}", names(known))]
    NoContext {
        /// The contexts of the kubeconfig.
        known: Vec<String>,
    },
    /// It has no such context.
    #[error("--kube-context {context}: unknown context; the kubeconfig has {}", names(known))]
    UnknownContext {
        /// The context that was given.
        context: String,
        /// The contexts of the kubeconfig.
        known: Vec<String>,
    },
    /// It does not answer.
    #[error("the cluster of context {context} does not answer: {reason}; choose another with --kube-context")]
    NoAnswer {
        /// The context.
        context: String,
        /// What happened instead.
        reason: String,
    },
    /// It refused.
    #[error("the cluster of context {context} could not {action}")]
    Refused {
        /// The context.
        context: String,
        /// The request.
        action: String,
        /// Its error.
        #[source]
        source: Box<KubeError>,
    },
    /// It took too long.
    #[error("timed out after {} s waiting for the cluster of context {context} to {action}", bound.as_secs())]
    Late {
        /// The context.
        context: String,
        /// The request.
        action: String,
        /// How long it had.
        bound: Duration,
    },
    /// The thread of the request panicked.
    #[error("the removal of a namespace panicked")]
    Panicked,
}

impl ClusterError {
    /// The API server's answer, if there is one.
    pub(crate) fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                KubeError::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn names(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// The files of the kubeconfig that `kubectl` reads.
fn files() -> Vec<PathBuf> {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let files: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).map(absolute).collect();
    if !files.is_empty() {
        return files;
    }
    std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect()
}

impl Cluster {
    /// The cluster of a context of the user's kubeconfig, or of its current one.
    ///
    /// # Errors
    ///
    /// When there is no kubeconfig, or no such context in it.
    pub fn find(context: Option<&str>) -> Result<Self, ClusterError> {
        let looked = files();
        let kubeconfig: Vec<PathBuf> = looked.iter().filter(|path| path.exists()).cloned().collect();
        if kubeconfig.is_empty() {
            return Err(ClusterError::NoKubeconfig { looked });
        }
        let read = read(&kubeconfig)?;
        let known: Vec<String> = read.contexts.iter().map(|context| context.name.clone()).collect();
        let current = read.current_context.filter(|context| !context.is_empty());
        let Some(context) = context.map(str::to_owned).or(current) else {
            return Err(ClusterError::NoContext { known });
        };
        if !known.contains(&context) {
            return Err(ClusterError::UnknownContext { context, known });
        }
        Ok(Self { kubeconfig, context })
    }

    /// A client of the cluster, and the version of its server, which shows that it answers.
    ///
    /// # Errors
    ///
    /// Within [`ANSWER`], when it does not answer.
    pub async fn connect(&self) -> Result<(Client, String), ClusterError> {
        let no_answer = |reason: String| ClusterError::NoAnswer { context: self.context.clone(), reason };
        let answer = async {
            let options = KubeConfigOptions { context: Some(self.context.clone()), ..KubeConfigOptions::default() };
            let config = Config::from_custom_kubeconfig(read(&self.kubeconfig)?, &options).await;
            let config = config.map_err(|source| self.unusable(source))?;
            // May run a program of the user for credentials, which blocks.
            let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
            let client = made.map_err(|error| no_answer(error.to_string()))?;
            let client = client.map_err(|error| no_answer(error_text(&error)))?;
            let version = client.apiserver_version().await.map_err(|error| no_answer(error_text(&error)))?;
            Ok((client, version.git_version))
        };
        let late = || Err(no_answer(format!("nothing within {} s", ANSWER.as_secs())));
        timeout(ANSWER, answer).await.unwrap_or_else(|_| late())
    }

    fn unusable(&self, source: KubeconfigError) -> ClusterError {
        ClusterError::Kubeconfig { files: self.kubeconfig.clone(), source: Box::new(source) }
    }

    /// Sends a request to the cluster, with a timeout.
    pub(crate) async fn ask<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, KubeError>>,
    ) -> Result<T, ClusterError> {
        let (context, action) = (self.context.clone(), action.to_owned());
        match timeout(ACTION, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(ClusterError::Refused { context, action, source: Box::new(source) }),
            Err(_) => Err(ClusterError::Late { context, action, bound: ACTION }),
        }
    }
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig, ClusterError> {
    let unusable = |source| ClusterError::Kubeconfig { files: files.to_owned(), source: Box::new(source) };
    files
        .iter()
        .try_fold(Kubeconfig::default(), |merged, path| Kubeconfig::read_from(path).and_then(|next| merged.merge(next)))
        .map_err(unusable)
}

/// The default name of a run's namespace.
pub(super) fn namespace_of(id: &str) -> String {
    format!("{DIRECTORY_PREFIX}{}", id.to_lowercase())
}

/// Marks a namespace as a run's.
pub(super) fn mark(namespace: &mut Namespace, guard: &RunGuard) {
    // The values of the others are not valid in a label.
    let (label, annotations): (Vec<_>, Vec<_>) = guard.labels().into_iter().partition(|(name, _)| name == RUN_LABEL);
    namespace.metadata.labels.get_or_insert_default().extend(label);
    namespace.metadata.annotations.get_or_insert_default().extend(annotations);
}

/// The kind of a run's namespace, for the clean-up. It is found only by the record of its run.
pub(super) static NAMESPACE: ResourceKind =
    ResourceKind { key: "cluster", read: |record| Some(Arc::new(Place::deserialize(record).ok()?)), current: || None };

impl Resources for Place {
    fn kind(&self) -> &'static ResourceKind {
        &NAMESPACE
    }

    fn to_record(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A record names the files of the kubeconfig, which are of this machine.
    fn is_local(&self) -> bool {
        true
    }

    fn remove(&self, id: &str, aftermath: &Aftermath) -> Result<(), Leftover> {
        remove_run_blocking(self, id, aftermath.possible).map_err(|source| {
            let Self { cluster: Cluster { context, .. }, namespace } = self;
            let text = format!(
                "the namespace {namespace} is left; remove it with `kubectl --context {context} delete namespace \
                 {namespace}`"
            );
            Leftover::Resources { text, source: Box::new(source) }
        })
    }

    /// Asks the cluster twice, since it carries out the last request even if nobody waits for the answer.
    fn shell_removal(&self, id: &str) -> ShellRemoval {
        const SCRIPT: &str = r#"
for pause in 0.3 0; do
    kubectl --context "$2" --request-timeout=30s delete namespaces -l "$1" --wait=false || exit 1
    sleep "$pause"
done
"#;
        // The shell works in another directory, where a relative path leads elsewhere.
        let files = std::env::join_paths(&self.cluster.kubeconfig).ok();
        ShellRemoval {
            script: SCRIPT,
            arguments: vec![run_label(id), self.cluster.context.clone()],
            environment: files.map(|files| ("KUBECONFIG", files)).into_iter().collect(),
        }
    }
}

/// Removes the namespace of a run, with everything in it, and waits until it is gone. Keeps a namespace of another
/// run. Blocks; may be called anywhere.
///
/// With `aftermath` it looks again a little later: the cluster carries out the last request even if nobody waits for
/// the answer.
pub(crate) fn remove_run_blocking(place: &Place, id: &str, aftermath: bool) -> Result<(), ClusterError> {
    let (place, id) = (place.clone(), id.to_owned());
    let task = move || {
        let context = place.cluster.context.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClusterError::NoAnswer { context, reason: error.to_string() })?;
        let removed = runtime.block_on(async {
            let (client, _) = place.cluster.connect().await?;
            remove(&place, client, &id, aftermath).await
        });
        // Does not wait for a program that is asked for credentials and never answers.
        runtime.shutdown_background();
        removed
    };
    // In another thread, since an asynchronous runtime cannot block on another one.
    std::thread::spawn(task).join().unwrap_or(Err(ClusterError::Panicked))
}

async fn remove(place: &Place, client: Client, id: &str, aftermath: bool) -> Result<(), ClusterError> {
    let (cluster, name) = (&place.cluster, place.namespace.as_str());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client, name);
    let begin = Instant::now();
    let (mut looks, mut has_warned) = (u32::from(aftermath), false);
    loop {
        let found = cluster.ask("look for a namespace", namespaces.get_opt(name)).await?;
        let ours = found.filter(|found| {
            found.metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL)).is_some_and(|run| run == id)
        });
        let Some(found) = ours else {
            if looks == 0 {
                return Ok(());
            }
            looks -= 1;
            sleep(AFTERMATH).await;
            continue;
        };
        looks = 0;
        if found.metadata.deletion_timestamp.is_none() {
            let this = Preconditions { uid: found.metadata.uid, resource_version: None };
            let only_this = DeleteParams::default().preconditions(this);
            let delete = namespaces.delete(name, &only_this);
            gone_is_fine(cluster.ask("delete a namespace", delete).await.map(drop))?;
        }
        // The pods would have a longer grace of their own.
        let now = DeleteParams::default().grace_period(GRACE);
        let all = ListParams::default();
        let delete = pods.delete_collection(&now, &all);
        gone_is_fine(cluster.ask("delete the pods of a namespace", delete).await.map(drop))?;
        if begin.elapsed() > REMOVAL {
            let action = format!("remove the namespace {name}");
            return Err(ClusterError::Late { context: cluster.context.clone(), action, bound: REMOVAL });
        }
        if begin.elapsed() > LONG && !has_warned {
            has_warned = true;
            let bound = REMOVAL.as_secs();
            tracing::warn!("waiting up to {bound} s for the cluster to remove the namespace {name}");
        }
        sleep(AGAIN).await;
    }
}

/// 404: removed. 409: being removed, or another namespace of this name.
fn gone_is_fine(answer: Result<(), ClusterError>) -> Result<(), ClusterError> {
    match answer {
        Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::reaper::{Reaper, Running};
    use kube::api::PostParams;

    /// With the kubeconfig of the cluster, not that of the environment.
    #[tokio::test]
    #[ignore = "needs a Kubernetes cluster, and the kubectl command: FABRIC_HARNESS_KUBE_CONTEXT"]
    async fn needs_kubernetes_the_shell_script_removes_a_namespace() {
        let context = std::env::var("FABRIC_HARNESS_KUBE_CONTEXT").unwrap();
        let found = Cluster::find(Some(&context)).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let workspace = crate::cleanup::made_in(parent.path());
        let files = parent.path().join("kubeconfig");
        let mut config = Kubeconfig::read_from(&found.kubeconfig[0]).unwrap();
        let only_here = "context-of-this-test";
        config
            .contexts
            .iter_mut()
            .filter(|named| named.name == context)
            .for_each(|named| named.name = only_here.into());
        std::fs::write(&files, serde_json::to_vec(&config).unwrap()).unwrap();
        let cluster = Cluster { kubeconfig: vec![files], context: only_here.to_owned() };
        let (client, _) = cluster.connect().await.unwrap();
        let place = Place { cluster, namespace: namespace_of(workspace.id()) };
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(place.namespace.clone());
        namespace.metadata.labels = Some([(RUN_LABEL.to_owned(), workspace.id().to_owned())].into());
        let namespaces: Api<Namespace> = Api::all(client);
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let removal = place.shell_removal(workspace.id());
        Running::start(&Reaper::Shell, workspace.directory(), Some(&removal)).unwrap().finish();
        let label = run_label(workspace.id());
        let left = namespaces.list(&ListParams::default().labels(&label)).await.unwrap();
        assert!(left.items.iter().all(|namespace| namespace.metadata.deletion_timestamp.is_some()), "{left:?}");
        assert!(!workspace.directory().exists());
    }
}
