//! Bounded waits: polls a condition until it holds, and reports the last observed state on timeout.
//!
//! Every wait has a timeout, and no wait guesses a time to sleep. The caller defines the condition.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Pause after the first poll. It doubles with each poll, up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// Longest pause between two polls.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The result of one poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Poll<T> {
    /// The condition holds, with this result.
    Ready(T),
    /// The condition does not hold yet. The text is the observed state.
    NotYet(String),
}

/// Why a wait failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError<E> {
    /// The timeout was reached.
    #[error("{0}")]
    TimedOut(TimedOut),
    /// The poll itself failed, so waiting is pointless.
    #[error(transparent)]
    Failed(E),
}

/// A wait that timed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: timed out after {after:.1?}; last seen: {last}{}", log_lines(log))]
pub struct TimedOut {
    /// The condition, such as `orderer.example.com answers`.
    pub what: String,
    /// The timeout.
    pub after: Duration,
    /// The last observed state.
    pub last: String,
    /// The last lines of the log of what was waited for; empty if there is none.
    pub log: String,
}

/// A log's last lines as the end of an error message, indented; empty if there are none.
pub(crate) fn log_lines(log: &str) -> String {
    if log.trim().is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = log.lines().collect();
    format!("\n  last lines of its log:\n    {}", lines.join("\n    "))
}

/// Polls until the result is [`Poll::Ready`], for at most `bound` in total.
///
/// A poll that takes longer than the remaining time is dropped, so it must be safe to drop. Between
/// polls there is a pause of 2 ms that grows to 10 ms.
///
/// # Errors
///
/// [`WaitError::TimedOut`] with the last observed state; [`WaitError::Failed`] if the poll failed.
pub(crate) async fn until<T, E, F>(what: &str, bound: Duration, poll: impl FnMut() -> F) -> Result<T, WaitError<E>>
where
    F: Future<Output = Result<Poll<T>, E>>,
{
    until_with_log(what, bound, poll, || std::future::ready(String::new())).await
}

/// As [`until`], with the last lines of a log in the error. `log` is called only on timeout.
///
/// # Errors
///
/// As [`until`].
pub(crate) async fn until_with_log<T, E, F, L>(
    what: &str,
    bound: Duration,
    mut poll: impl FnMut() -> F,
    log: impl FnOnce() -> L,
) -> Result<T, WaitError<E>>
where
    F: Future<Output = Result<Poll<T>, E>>,
    L: Future<Output = String>,
{
    let deadline = Instant::now() + bound;
    let mut last = "no answer".to_owned();
    let mut pause = SHORTEST_PAUSE;
    loop {
        match timeout_at(deadline, poll()).await {
            Ok(Ok(Poll::Ready(value))) => return Ok(value),
            Ok(Ok(Poll::NotYet(seen))) => last = seen,
            Ok(Err(error)) => return Err(WaitError::Failed(error)),
            Err(_) => break,
        }
        if Instant::now() + pause >= deadline {
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let log = log().await;
    Err(WaitError::TimedOut(TimedOut { what: what.to_owned(), after: bound, last, log }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn the_first_ready_result_ends_the_wait() {
        let mut asked = 0;
        let value = until::<_, Infallible, _>("three", Duration::from_secs(1), || {
            asked += 1;
            let answer = if asked == 3 { Poll::Ready(asked) } else { Poll::NotYet("no".into()) };
            async move { Ok(answer) }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_reports_the_last_observed_state_and_the_log() {
        let mut asked = 0;
        let error = until_with_log::<(), Infallible, _, _>(
            "peer0 answers",
            Duration::from_secs(3),
            || {
                asked += 1;
                let seen = format!("refused {asked} times");
                async move { Ok(Poll::NotYet(seen)) }
            },
            || async { "one\ntwo".to_owned() },
        )
        .await
        .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("peer0 answers: timed out after 3.0s; last seen: refused "), "{text}");
        assert!(text.ends_with("\n  last lines of its log:\n    one\n    two"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_never_returns_is_bounded() {
        let started = Instant::now();
        let error =
            until::<(), Infallible, _>("silence", Duration::from_secs(2), std::future::pending).await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        assert!(error.to_string().contains("last seen: no answer"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_poll_ends_the_wait_immediately() {
        let started = Instant::now();
        let error = until::<(), _, _>("x", Duration::from_secs(9), || async { Err("broken") }).await;
        assert!(matches!(error, Err(WaitError::Failed("broken"))));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
