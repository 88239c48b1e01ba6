//! The namespaces of runs in Kubernetes clusters: where they are, how a client of the cluster is made,
//! and how a namespace is removed, with all that is in it.
//!
//! As with containers, a client is made for each removal, since removal also happens where that of the
//! run is of no use any more. What is put into a namespace is not known here.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Error as KubeError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::containers::RUN_LABEL;
use super::workspace::{Owner, Workspace};
use crate::console::error_text;

/// How long a cluster may take to answer at all.
pub const ANSWER: Duration = Duration::from_secs(5);

/// How long a cluster may take to do one thing, such as creating an object.
const ACTION: Duration = Duration::from_secs(30);

/// How long the removal of a namespace may take.
const REMOVAL: Duration = Duration::from_secs(90);

/// After this long, its removal is told of.
const LONG: Duration = Duration::from_secs(10);

/// Before looking whether a namespace is gone.
const AGAIN: Duration = Duration::from_millis(100);

/// How long after the harness's death the cluster may still carry out its last request.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Between SIGTERM and SIGKILL of what is in a namespace that goes, in seconds.
const GRACE: u32 = 1;

/// A cluster, by a context of the user's kubeconfig. Nothing is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The files of the kubeconfig, the first of which wins.
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

/// What a cluster, or the way to it, said.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig.
    #[error(
        "there is no kubeconfig: {} does not exist; set KUBECONFIG, or make one by your cluster's own means",
        list(looked)
    )]
    NoKubeconfig {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// It can't be used.
    #[error("the kubeconfig {} can't be used", list(files))]
    Kubeconfig {
        /// Its files.
        files: Vec<PathBuf>,
        /// Why not.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// It has no current context.
    #[error("the kubeconfig has no current context; choose one by --kube-context: {}", names(known))]
    NoContext {
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// It has no such context.
    #[error("--kube-context {context}: the kubeconfig has no such context; it has {}", names(known))]
    UnknownContext {
        /// The one that was asked for.
        context: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// It does not answer.
    #[error("the cluster of context {context} does not answer: {reason}; choose another by --kube-context")]
    NoAnswer {
        /// The context.
        context: String,
        /// What came instead.
        reason: String,
    },
    /// It refused.
    #[error("the cluster of context {context} could not {action}")]
    Refused {
        /// The context.
        context: String,
        /// What was asked of it.
        action: String,
        /// What it said.
        #[source]
        source: Box<KubeError>,
    },
    /// It took too long.
    #[error("the cluster of context {context} did not {action} within {} s", bound.as_secs())]
    Late {
        /// The context.
        context: String,
        /// What was asked of it.
        action: String,
        /// How long it had.
        bound: Duration,
    },
    /// The thread that asked it panicked.
    #[error("the clean-up of a namespace panicked")]
    Panicked,
}

impl ClusterError {
    /// The API server's own answer, if it gave one.
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

/// The files of the kubeconfig that `kubectl` takes.
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

    /// A client of the cluster, and the version of its server, which is asked for an answer.
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
            // A program of the user's may have to be asked for credentials, which blocks.
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

    /// Asks the cluster for something, for a bounded time.
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

/// The name of a run's namespace that nobody has chosen.
pub(crate) fn namespace_of(id: &str) -> String {
    format!("{}{}", super::workspace::PREFIX, id.to_lowercase())
}

/// Marks a namespace as a run's.
pub(crate) fn mark(namespace: &mut Namespace, workspace: &Workspace, owner: &Owner) {
    let labels = super::containers::labels(workspace, owner);
    // The others are no values that a label can have.
    let (label, annotations): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(name, _)| name == RUN_LABEL);
    namespace.metadata.labels.get_or_insert_default().extend(label);
    namespace.metadata.annotations.get_or_insert_default().extend(annotations);
}

/// Removes the namespace of a run, with all that is in it, and waits until it is gone. One that is not
/// this run's is left alone. It blocks; it may be called anywhere.
///
/// With `aftermath`, it looks again a little later: the cluster finishes what was last asked of it even
/// when nobody waits for the answer.
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
        // A program that is asked for credentials, and never answers, is not waited for.
        runtime.shutdown_background();
        removed
    };
    // A thread of its own, because within an asynchronous runtime no other one can be waited on.
    std::thread::spawn(task).join().unwrap_or(Err(ClusterError::Panicked))
}

async fn remove(place: &Place, client: Client, id: &str, aftermath: bool) -> Result<(), ClusterError> {
    let (cluster, name) = (&place.cluster, place.namespace.as_str());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client, name);
    let begin = Instant::now();
    let (mut looks, mut told) = (u32::from(aftermath), false);
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
        // Those of a namespace that goes would have their own, longer time to end.
        let now = DeleteParams::default().grace_period(GRACE);
        let all = ListParams::default();
        let delete = pods.delete_collection(&now, &all);
        gone_is_fine(cluster.ask("delete the pods of a namespace", delete).await.map(drop))?;
        if begin.elapsed() > REMOVAL {
            let action = format!("remove the namespace {name}");
            return Err(ClusterError::Late { context: cluster.context.clone(), action, bound: REMOVAL });
        }
        if begin.elapsed() > LONG && !told {
            told = true;
            let bound = REMOVAL.as_secs();
            tracing::warn!("the cluster still removes the namespace {name}; it is waited for, up to {bound} s");
        }
        sleep(AGAIN).await;
    }
}

/// 404: gone. 409: another one of this name by now, or another removal of it is under way.
fn gone_is_fine(answer: Result<(), ClusterError>) -> Result<(), ClusterError> {
    match answer {
        Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(()),
        answer => answer,
    }
}
