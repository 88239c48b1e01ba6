//! `up`: starts the daemon, lets it write to our own output until the network is up, and says how to go
//! on.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::description::Description;
use super::options::UpOptions;
use super::process::{DESCRIPTION, UP};
use crate::console::{ExitCode, could_not_run, print};
use crate::interrupt::Interrupt;

/// How long the daemon may take to end everything after a signal.
const END_BOUND: Duration = Duration::from_mins(2);

/// The subcommand that the daemon runs.
pub(super) const DAEMON: &str = "daemon";

/// Brings a network up that stays.
pub(crate) async fn up(options: &UpOptions) -> ExitCode {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return could_not_run(&format!("signals can't be awaited: {error}")),
    };
    let (mut child, news) = match start() {
        Ok(started) => started,
        Err(error) => return could_not_run(&format!("the background process can't be started: {error}")),
    };
    tokio::select! {
        said = all_of(news) => {
            if said.is_ok_and(|said| said == UP) {
                return tell(&options.state.state);
            }
            // It has said why.
            match tokio::time::timeout(END_BOUND, child.wait()).await {
                Ok(Ok(status)) if status.code() == Some(2) => ExitCode::CouldNotRun,
                Ok(Ok(status)) => could_not_run(&format!("the background process ended: {status}")),
                Ok(Err(error)) => could_not_run(&error.to_string()),
                Err(_) => could_not_run("the background process does not end"),
            }
        }
        signal = interrupt.received() => {
            end(&mut child).await;
            could_not_run(&format!("ended by {signal}"))
        }
    }
}

/// This program as the daemon, with our own options, and the socket by which it tells that it is up.
fn start() -> io::Result<(Child, tokio::net::UnixStream)> {
    let (ours, its) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let own = Path::new("/proc/self/exe");
    let program = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
    let mut is_given = false;
    let arguments = std::env::args_os().skip(1).map(|argument| {
        if !is_given && argument == "up" {
            is_given = true;
            return DAEMON.into();
        }
        argument
    });
    let mut command = Command::new(program);
    command.arg0("fabric-harness").args(arguments).stdin(OwnedFd::from(its));
    Ok((command.spawn()?, tokio::net::UnixStream::from_std(ours)?))
}

async fn all_of(mut news: tokio::net::UnixStream) -> io::Result<String> {
    let mut said = String::new();
    (&mut news).take(64).read_to_string(&mut said).await?;
    Ok(said)
}

async fn end(child: &mut Child) {
    let number = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(number) = number {
        let _ = kill_process(number, Signal::TERM);
    }
    if tokio::time::timeout(END_BOUND, child.wait()).await.is_err() {
        // Its reaper does the rest.
        let _ = child.kill().await;
    }
}

/// What there is now, and what to do with it.
fn tell(state: &Path) -> ExitCode {
    match read(state) {
        Ok(description) => {
            print(format_args!("\n{}\n{}", description.text(), description.how_to_go_on()));
            ExitCode::Passed
        }
        Err(error) => could_not_run(&format!("{}: {error}", state.join(DESCRIPTION).display())),
    }
}

fn read(state: &Path) -> io::Result<Description> {
    let mut text = String::new();
    std::fs::File::open(state.join(DESCRIPTION))?.take(16 * 1024 * 1024).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
