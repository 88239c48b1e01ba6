//! What every runtime needs to know, whichever it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::RunningNode;
use crate::cleanup::Reaper;

/// Asks a node once whether it answers. The text says what came instead.
pub type ReadinessCheck = Arc<dyn Fn(RunningNode) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What every runtime needs to know.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// The `ccaas-builder` program, static, that peers use as their external builder.
    pub builder: PathBuf,
    /// Parent of the run's directory. Default: the system's directory for temporary files.
    pub parent: PathBuf,
    /// What cleans up when this program is killed. Default: [`Reaper::Shell`].
    pub reaper: Reaper,
    /// How long everything may take to be ready once it is started. Default: 60 s.
    pub timeout: Duration,
    /// Whether what passes between peers and chaincode servers shall be seen, by a [`Tap`](crate::tap::Tap)
    /// between them where there is no other way. Default: no.
    pub tap: bool,
    /// How a node is asked. Default: a gRPC call over TLS.
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

/// An open port is no answer: a container's port is open before anything listens behind it.
async fn answers_a_call(node: RunningNode) -> Result<(), String> {
    use crate::client::readiness::answers;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let client = crate::client::Node::connect(&node.name, &node.grpc, None).await.map_err(|error| error.to_string())?;
    answers(&client, deadline).await.map_err(|error| error.to_string())
}
