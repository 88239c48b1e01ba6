//! The tasks of a node, which end with it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of tasks that can be stopped together. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifetime {
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Lifetime {
    /// Runs a task until it completes or is stopped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            ending.run_until_cancelled_owned(work).await;
        });
    }

    /// Starts to stop all tasks.
    pub(crate) fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
    }

    /// Waits until all tasks have stopped; `false` if that takes longer than `bound`.
    pub(crate) async fn ended(&self, bound: Duration) -> bool {
        tokio::time::timeout(bound, self.tasks.wait()).await.is_ok()
    }
}

/// HTTP/2 streams stop with their node, and not only with their connection.
impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Lifetime {
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}
