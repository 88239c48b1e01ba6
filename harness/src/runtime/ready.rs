//! The wait for a node that was started: until it answers, or has ended.

use super::{Death, RunningNode, RuntimeError, RuntimeOptions};
use crate::wait::{Poll, WaitError, until_with_log};

/// Waits until the node answers, or until `death`, which is its end. `log` is the end of its log, for
/// the error of a node that does neither in time.
pub(super) async fn ready<L: Future<Output = String>>(
    options: &RuntimeOptions,
    node: &RunningNode,
    death: impl Future<Output = Death>,
    log: impl FnOnce() -> L,
) -> Result<(), RuntimeError> {
    let what = format!("{} answers at {}", node.name, node.grpc.uri);
    let answers = until_with_log(
        &what,
        options.timeout,
        || async {
            match (options.readiness)(node.clone()).await {
                Ok(()) => Ok(Poll::Ready(())),
                Err(seen) => Ok(Poll::NotYet(seen)),
            }
        },
        log,
    );
    tokio::select! {
        death = death => Err(RuntimeError::Died(death)),
        answer = answers => answer.map_err(wait_error),
    }
}

/// The error of a wait whose question can't fail.
pub(super) fn wait_error(error: WaitError<std::convert::Infallible>) -> RuntimeError {
    match error {
        WaitError::TimedOut(timed_out) => RuntimeError::Silent(timed_out),
        WaitError::Failed(never) => match never {},
    }
}
