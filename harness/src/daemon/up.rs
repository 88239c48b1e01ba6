//! The command `up`: starts the daemon, which writes to the same output until the network is ready, and
//! prints how to use the network.

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

/// Timeout of the daemon's clean-up after a signal.
const END_BOUND: Duration = Duration::from_mins(2);

/// The hidden command that runs the daemon.
pub(super) const DAEMON: &str = "daemon";

/// Starts a persistent network.
pub(crate) async fn up(options: &UpOptions) -> ExitCode {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return could_not_run(&format!("cannot handle signals: {error}")),
    };
    let (mut child, socket) = match start() {
        Ok(started) => started,
        Err(error) => return could_not_run(&format!("cannot start the daemon: {error}")),
    };
    tokio::select! {
        message = read_all(socket) => {
            if message.is_ok_and(|message| message == UP) {
                return print_summary(&options.state.state);
            }
            // It has printed the reason.
            match tokio::time::timeout(END_BOUND, child.wait()).await {
                Ok(Ok(status)) if status.code() == Some(2) => ExitCode::CouldNotRun,
                Ok(Ok(status)) => could_not_run(&format!("the daemon exited: {status}")),
                Ok(Err(error)) => could_not_run(&error.to_string()),
                Err(_) => could_not_run("the daemon did not exit"),
            }
        }
        signal = interrupt.received() => {
            end(&mut child).await;
            could_not_run(&format!("ended by {signal}"))
        }
    }
}

/// Starts this program as the daemon, with the options of this process. Returns the socket on which it
/// reports that the network is ready.
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

async fn read_all(mut socket: tokio::net::UnixStream) -> io::Result<String> {
    let mut message = String::new();
    (&mut socket).take(64).read_to_string(&mut message).await?;
    Ok(message)
}

async fn end(child: &mut Child) {
    let number = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(number) = number {
        let _ = kill_process(number, Signal::TERM);
    }
    if tokio::time::timeout(END_BOUND, child.wait()).await.is_err() {
        // Its reaper cleans up.
        let _ = child.kill().await;
    }
}

/// Prints the network and how to use it.
fn print_summary(state: &Path) -> ExitCode {
    match read(state) {
        Ok(description) => {
            print(format_args!("\n{}\n{}", description.text(), description.usage()));
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
