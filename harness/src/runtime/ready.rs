//! The wait for a node that was started, until it answers or exits.

use super::{RunningNode, RuntimeError, RuntimeOptions, UnexpectedExit};
use crate::wait::{Poll, WaitError, until_with_log};

/// Waits until the node answers. Fails with `exit` as soon as that is there, or after the timeout with the
/// end of its `log`.
pub(super) async fn ready<L: Future<Output = String>>(
    options: &RuntimeOptions,
    node: &RunningNode,
    exit: impl Future<Output = UnexpectedExit>,
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
        exit = exit => Err(RuntimeError::Exited(exit)),
        answer = answers => answer.map_err(wait_error),
    }
}

/// The error of a wait whose question cannot fail.
pub(super) fn wait_error(error: WaitError<std::convert::Infallible>) -> RuntimeError {
    match error {
        WaitError::TimedOut(timed_out) => RuntimeError::Silent(timed_out),
        WaitError::Failed(never) => match never {},
    }
}
