//! Waiting with a bound: asks again and again until something is so, and says what was last seen.
//!
//! There is no waiting without a bound here, and nothing that sleeps a guessed time in the hope that
//! something will be ready by then. What is asked, and what the answer means, is the caller's.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Pause after the first answer that was "not yet"; it doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// Longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll<T> {
    /// It is so, and this came of it.
    Ready(T),
    /// Not yet; the text is what was seen instead.
    NotYet(String),
}

/// Why a wait ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum WaitError<E> {
    /// The bound was reached.
    #[error("{0}")]
    TimedOut(TimedOut),
    /// Waiting on is pointless: the question itself failed for good.
    #[error(transparent)]
    Failed(E),
}

/// What a wait that reached its bound has to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: not so within {after:.1?}; last seen: {last}{}", log_lines(log))]
pub struct TimedOut {
    /// What was waited for, such as `orderer.example.com answers`.
    pub what: String,
    /// The bound.
    pub after: Duration,
    /// What the last question saw.
    pub last: String,
    /// The end of the log of what was waited for; empty when there is none.
    pub log: String,
}

/// A log's last lines as the end of an error's message, indented; nothing when there are none.
pub(crate) fn log_lines(log: &str) -> String {
    if log.trim().is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = log.lines().collect();
    format!("\n  last lines of its log:\n    {}", lines.join("\n    "))
}

/// Asks until the answer is [`Poll::Ready`], for at most `bound` in all.
///
/// A question that takes longer than what is left of the bound is dropped, so it must be safe to
/// drop. Between questions there is a pause of 2 ms that grows to 10 ms.
///
/// # Errors
///
/// [`WaitError::TimedOut`] with what was last seen; [`WaitError::Failed`] when the question failed.
pub async fn until<T, E, F>(what: &str, bound: Duration, question: impl FnMut() -> F) -> Result<T, WaitError<E>>
where
    F: Future<Output = Result<Poll<T>, E>>,
{
    until_with_log(what, bound, question, || std::future::ready(String::new())).await
}

/// As [`until`], with the end of a log in the error. `log` is asked only when the bound is reached.
///
/// # Errors
///
/// As [`until`].
pub async fn until_with_log<T, E, F, L>(
    what: &str,
    bound: Duration,
    mut question: impl FnMut() -> F,
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
        match timeout_at(deadline, question()).await {
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
    async fn the_first_ready_answer_ends_the_wait() {
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
    async fn the_bound_ends_in_an_error_with_what_was_last_seen_and_the_log() {
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
        assert!(text.starts_with("peer0 answers: not so within 3.0s; last seen: refused "), "{text}");
        assert!(text.ends_with("\n  last lines of its log:\n    one\n    two"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_never_answers_is_bounded_too() {
        let started = Instant::now();
        let error =
            until::<(), Infallible, _>("silence", Duration::from_secs(2), std::future::pending).await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        assert!(error.to_string().contains("last seen: no answer"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_question_ends_the_wait_at_once() {
        let started = Instant::now();
        let error = until::<(), _, _>("x", Duration::from_secs(9), || async { Err("broken") }).await;
        assert!(matches!(error, Err(WaitError::Failed("broken"))));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
