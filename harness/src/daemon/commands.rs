//! The commands for a running persistent network: `down`, `status`, `logs`, `restart`,
//! `stop`, `kill`, `start`, `snapshot`, `restore`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::control::{Answer, Answers, Request, Status, ask};
use super::directory::{daemon_of, ended, lives, remove_dead};
use super::options::{ControlOptions, LogsOptions, SnapshotOptions, StateOptions, StatusOptions};
use crate::console::{ExitCode, could_not_run, print};
use crate::runtime::Action;

/// Timeout of an answer. A restart waits for a node, which may take a minute.
const ANSWER_BOUND: Duration = Duration::from_mins(5);

/// Timeout of the daemon's clean-up.
const END_BOUND: Duration = Duration::from_mins(1);

/// Timeout after SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// Stops and removes the network. If there is none, it succeeds.
pub(crate) async fn down(options: &StateOptions) -> ExitCode {
    let state = options.state.as_path();
    if !lives(state) {
        return match remove_dead(state) {
            Ok(true) => passed(&format!(
                "no network is running; removed the leftovers of a previous one in {}",
                state.display()
            )),
            Ok(false) => passed(&format!("no network is running in {}", state.display())),
            Err(error) => could_not_run(&format!("--state {}: {error}", state.display())),
        };
    }
    let left = tokio::time::timeout(END_BOUND, asked_to_end(state)).await;
    if !matches!(left, Ok(Ok(_))) {
        // It is still starting, or hangs.
        signal(state, Signal::TERM);
    }
    if !ended(state, END_BOUND).await {
        signal(state, Signal::KILL);
        if !ended(state, KILL_BOUND).await {
            return could_not_run("the daemon did not exit, even after SIGKILL");
        }
    }
    let Ok(Ok(left)) = left else {
        // The daemon exited without an answer. Its reaper removes what it has not.
        return match remove_dead(state) {
            Ok(_) if state.exists() => {
                could_not_run(&format!("--state {}: the directory is still there", state.display()))
            }
            Ok(_) => passed("the daemon exited before it had removed everything; its reaper removes the rest"),
            Err(error) => could_not_run(&format!("--state {}: {error}", state.display())),
        };
    };
    for left in &left {
        eprintln!("warning: leftover: {left}");
    }
    if left.is_empty() { passed("stopped the network and removed everything") } else { ExitCode::Failed }
}

async fn asked_to_end(state: &Path) -> io::Result<Vec<String>> {
    let mut answers = ask(state, &Request::Down).await?;
    let Some(Answer::Ended { left }) = answers.next().await? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    // The daemon closes the connection by exiting.
    while answers.next().await?.is_some() {}
    Ok(left)
}

fn signal(state: &Path, signal: Signal) {
    let daemon = daemon_of(state).filter(|daemon| !daemon.is_known_dead());
    let number = daemon.and_then(|daemon| i32::try_from(daemon.process).ok()).and_then(Pid::from_raw);
    if let Some(number) = number {
        // Fails only if it has exited.
        let _ = kill_process(number, signal);
    }
}

fn passed(text: &str) -> ExitCode {
    print(text);
    ExitCode::Passed
}

/// Prints the network's status.
pub(crate) async fn status(options: &StatusOptions) -> ExitCode {
    let state = options.state.state.as_path();
    let asked = async { first(state, &Request::Status).await };
    let status = match asked.await {
        Ok(Answer::Status(status)) => status,
        Ok(other) => return unexpected(&other),
        Err(reason) if options.json => {
            print(serde_json::json!({"up": false, "reason": reason}));
            return ExitCode::CouldNotRun;
        }
        Err(reason) => return could_not_run(&reason),
    };
    if options.json {
        match serde_json::to_value(&status) {
            Ok(mut value) => {
                value["up"] = true.into();
                print(format_args!("{value:#}"));
            }
            Err(error) => return could_not_run(&error.to_string()),
        }
    } else {
        print(status_text(&status));
    }
    if status.is_well() { ExitCode::Passed } else { ExitCode::Failed }
}

fn status_text(status: &Status) -> String {
    let network = &status.network;
    let age = network.age().as_secs();
    let age = match age {
        0..120 => format!("{age} s"),
        120..7200 => format!("{} min", age / 60),
        _ => format!("{} h", age / 3600),
    };
    let mut text = format!(
        "up since {} ({age}): {}, {}, topology {}, owned by process {}\n{}",
        network.since,
        network.runtime,
        network.fabric,
        network.topology,
        network.process,
        network.text()
    );
    let width = status.members.keys().map(String::len).max().unwrap_or_default();
    for (name, member) in &status.members {
        let mark = if member.alive || member.stopped { ' ' } else { '!' };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark} {name:<width$}  {}", member.how);
    }
    if !status.snapshots.is_empty() {
        let _ = writeln!(text, "  snapshots: {}", status.snapshots.join(", "));
    }
    text.trim_end().to_owned()
}

/// Prints the logs.
pub(crate) async fn logs(options: &LogsOptions) -> ExitCode {
    let state = options.state.state.as_path();
    let request = Request::Logs { names: options.names.clone(), follow: options.follow };
    let mut answers = match connect(state, &request).await {
        Ok(answers) => answers,
        Err(reason) => return could_not_run(&reason),
    };
    let (mut last, mut seen) = (String::new(), std::collections::BTreeSet::new());
    loop {
        let (name, text) = match answers.next().await {
            Ok(Some(Answer::Log { name, text })) => (name, text),
            Ok(Some(other)) => return unexpected(&other),
            Ok(None) => return ExitCode::Passed,
            Err(error) => return could_not_run(&error.to_string()),
        };
        let limit = options.lines.filter(|_| seen.insert(name.clone()));
        if name != last && options.names.len() != 1 {
            print(format_args!("==> {name}"));
        }
        last = name;
        let text = limit.map_or(text.as_str(), |limit| last_lines(&text, limit));
        if !text.is_empty() {
            print(text.strip_suffix('\n').unwrap_or(text));
        }
    }
}

fn last_lines(text: &str, count: usize) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    if count == 0 {
        return "";
    }
    body.rmatch_indices('\n').nth(count - 1).map_or(text, |(at, _)| &text[at + 1..])
}

/// Restarts, stops, kills or starts the chaincode server or a node.
pub(crate) async fn control(action: Action, options: &ControlOptions) -> ExitCode {
    done(&options.state.state, &Request::Control { action, name: options.name.clone() }).await
}

/// Takes a snapshot of the network.
pub(crate) async fn snapshot(options: &SnapshotOptions) -> ExitCode {
    done(&options.state.state, &Request::Snapshot { name: options.name.clone() }).await
}

/// Restores a snapshot.
pub(crate) async fn restore(options: &SnapshotOptions) -> ExitCode {
    done(&options.state.state, &Request::Restore { name: options.name.clone() }).await
}

async fn done(state: &Path, request: &Request) -> ExitCode {
    match first(state, request).await {
        Ok(Answer::Done(text)) => passed(&text),
        Ok(other) => unexpected(&other),
        Err(reason) => could_not_run(&reason),
    }
}

fn unexpected(answer: &Answer) -> ExitCode {
    match answer {
        Answer::Refused(reason) => {
            eprintln!("error: {reason}");
            ExitCode::Failed
        }
        other => could_not_run(&format!("unexpected answer of the daemon, which may have another version: {other:?}")),
    }
}

async fn first(state: &Path, request: &Request) -> Result<Answer, String> {
    let mut answers = connect(state, request).await?;
    let answer = tokio::time::timeout(ANSWER_BOUND, answers.next()).await;
    let answer =
        answer.map_err(|_| format!("timed out after {} s waiting for the daemon's answer", ANSWER_BOUND.as_secs()))?;
    answer.map_err(|error| error.to_string())?.ok_or_else(|| "the daemon has exited".to_owned())
}

async fn connect(state: &Path, request: &Request) -> Result<Answers, String> {
    if !lives(state) {
        return Err(format!("no network is running in {}; start one with `up`", state.display()));
    }
    ask(state, request).await.map_err(|error| format!("the network in {} is not ready yet: {error}", state.display()))
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn last_lines_are_complete() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a\n");
        assert_eq!(last_lines("a\n", 0), "");
        assert_eq!(last_lines("", 3), "");
    }
}
