//! A chaincode server as a container, in the network of the nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::DockerRuntime;
use super::container::{self, Container, Request};
use super::listening::Listening;
use super::pod::Started;
use crate::cleanup::RunGuard;
use crate::runtime::{ChaincodeServer, RuntimeError, UnexpectedExit};
use crate::wait::TimedOut;

/// A chaincode server as a container.
#[derive(Debug)]
pub(super) struct Server {
    runtime: DockerRuntime,
    pod: String,
    port: u16,
    bound: Duration,
    container: Container,
    guard: Arc<RunGuard>,
}

impl Server {
    /// Creates the container, starts it, and waits until the server listens on its port.
    pub(super) async fn start_new(
        runtime: &DockerRuntime,
        guard: &Arc<RunGuard>,
        pod: &Started,
        request: Request,
        port: u16,
        bound: Duration,
    ) -> Result<Self, RuntimeError> {
        let listening = Listening::begin(runtime, &pod.id, port);
        let container = Container::start(runtime, guard, pod, request).await?;
        let (runtime, pod, guard) = (runtime.clone(), pod.id.clone(), Arc::clone(guard));
        let server = Self { runtime, pod, port, bound, container, guard };
        server.listens(listening).await?;
        Ok(server)
    }

    /// Waits until it listens or exits.
    async fn listens(&self, mut listening: Listening) -> Result<(), RuntimeError> {
        let name = self.name().to_owned();
        tokio::select! {
            exit = self.container.exit() => Err(RuntimeError::Exited(exit)),
            seen = tokio::time::timeout(self.bound, listening.seen()) => match seen {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reason)) => Err(RuntimeError::Container { name, reason }),
                Err(_) => Err(RuntimeError::Silent(TimedOut {
                    what: format!("{name} listens on port {}", self.port),
                    after: self.bound,
                    last: "nothing listens there".to_owned(),
                    log: self.log_tail().await,
                })),
            },
        }
    }
}

#[async_trait]
impl ChaincodeServer for Server {
    fn name(&self) -> &str {
        self.container.name()
    }

    async fn start(&self) -> Result<(), RuntimeError> {
        if self.guard.has_ended() {
            return Err(RuntimeError::Ended);
        }
        let listening = Listening::begin(&self.runtime, &self.pod, self.port);
        self.container.start_again().await?;
        self.listens(listening).await
    }

    async fn stop(&self) -> Result<(), RuntimeError> {
        self.container.stop(container::GRACE).await
    }

    async fn kill(&self) -> Result<(), RuntimeError> {
        self.container.kill().await
    }

    async fn log(&self) -> Option<String> {
        Some(self.container.log(None).await)
    }

    async fn log_tail(&self) -> String {
        self.container.log_tail().await
    }

    async fn exits(&self) -> Vec<UnexpectedExit> {
        self.container.exits().await
    }
}
