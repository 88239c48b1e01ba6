//! The options of a runtime: those that every runtime has, and where in a cluster.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::RunningNode;
use crate::cleanup::Reaper;

/// Asks a node once whether it answers. The error is what it did instead.
pub type ReadinessCheck = Arc<dyn Fn(RunningNode) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Where, in a Kubernetes cluster, a network runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The context of the kubeconfig. Default: its current one.
    pub context: Option<String>,
    /// The namespace, which must not exist. Default: named after the run.
    pub namespace: Option<String>,
    /// An image of the external builder that peers take, as an operator's do, instead of
    /// [`RuntimeOptions::builder`].
    pub builder_image: Option<String>,
}

/// The options that every runtime has.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// The `ccaas-builder` program, linked statically, which peers use as their external builder.
    pub builder: PathBuf,
    /// Parent of the run's directory. Default: the system's directory for temporary files.
    pub parent: PathBuf,
    /// What cleans up if this program is killed. Default: [`Reaper::Shell`].
    pub reaper: Reaper,
    /// How long nodes and servers may take to be ready. Default: 60 s.
    pub timeout: Duration,
    /// Whether the messages between peers and chaincode servers are recorded, with a
    /// tap between them if there is no other way. Default: no.
    pub tap: bool,
    /// How a node is asked whether it is ready. Default: a gRPC call over TLS.
    pub readiness: ReadinessCheck,
}

impl RuntimeOptions {
    /// The defaults, with this external builder.
    pub fn new(builder: impl Into<PathBuf>) -> Self {
        Self {
            builder: builder.into(),
            parent: std::env::temp_dir(),
            reaper: Reaper::default(),
            timeout: Duration::from_mins(1),
            tap: false,
            readiness: Arc::new(|node| Box::pin(answers_a_call(node))),
        }
    }
}

impl fmt::Debug for RuntimeOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RuntimeOptions")
            .field("builder", &self.builder)
            .field("parent", &self.parent)
            .field("reaper", &self.reaper)
            .field("timeout", &self.timeout)
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}

/// An open port is no answer: an engine opens a container's port before the container listens.
async fn answers_a_call(node: RunningNode) -> Result<(), String> {
    use crate::client::readiness::answers;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let client = crate::client::Node::connect(&node.name, &node.grpc, None).await.map_err(|error| error.to_string())?;
    answers(&client, deadline).await.map_err(|error| error.to_string())
}
