//! The daemon process of a persistent network: it owns the nodes, answers the commands, and stops
//! everything on `down` or a signal.
//!
//! `up` starts it with a socket as its standard input. The daemon sends one word when the network is ready;
//! if `up` closes the socket before, the daemon exits. Until then it writes to the output of `up`.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::control::{self, Answer, Request};
use super::description::Description;
use super::directory::StateDirectory;
use super::files;
use super::managed_network::ManagedNetwork;
use super::options::UpOptions;
use crate::console::timeline::Timeline;
use crate::console::{self, ExitCode, could_not_run, error_text, print};
use crate::evidence::Evidence;
use crate::interrupt::Interrupt;
use crate::network::Network;
use crate::network::choice::choose_and_print;
use crate::plan::NetworkPlan;
use crate::runtime::Runtime;

/// The message to `up` when the network is ready.
pub(super) const UP: &str = "up\n";

/// File with the description of the network. It exists once the network is ready.
pub(super) const DESCRIPTION: &str = "network.json";

/// The daemon's log, once `up` has exited.
const LOG: &str = "network.log";

/// Maximum number of concurrent clients.
const MOST_CLIENTS: usize = 100;

/// Starts the network and runs it until `down` or a signal.
pub(crate) async fn run(options: &UpOptions) -> ExitCode {
    // Ctrl-C is for `up`, which forwards it, and the terminal may close. It fails for the leader of a
    // process group, which was started by hand.
    let _ = rustix::process::setsid();
    console::log(options.network.verbose);
    let waiting = match socket_to_up() {
        Ok(waiting) => waiting,
        Err(error) => return could_not_run(&format!("only `up` starts this command: {error}")),
    };
    let mut plan =
        match NetworkPlan::resolve(&options.network, None, crate::check::definition::ChaincodeSection::default()) {
            Ok(plan) => plan,
            Err(mistakes) => return could_not_run(&mistakes.to_string()),
        };
    let state = match StateDirectory::claim(&options.state.state) {
        Ok(state) => state,
        Err(error) => return could_not_run(&error_text(&error)),
    };
    files::give_directory(&mut plan.server.source, plan.chaincode.name(), state.path());
    let ended = Box::pin(run_in(&plan, options.network.verbose, &state, waiting)).await;
    let removed = state.remove().map_err(|error| format!("cannot remove the state directory: {error}"));
    match ended {
        Ok(Shutdown { asked, mut left }) => {
            left.extend(removed.err());
            if let Some(mut asked) = asked {
                let _ = control::send(&mut asked, &Answer::Ended { left }).await;
            }
            ExitCode::Passed
        }
        Err(reason) => could_not_run(&reason),
    }
}

/// The result of a shutdown.
struct Shutdown {
    /// The client that requested it, unless it was a signal.
    asked: Option<UnixStream>,
    /// Leftovers: what could not be removed.
    left: Vec<String>,
}

/// The socket to `up`: the standard input.
fn socket_to_up() -> io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

async fn run_in(
    plan: &NetworkPlan,
    verbosity: u8,
    state: &StateDirectory,
    mut waiting: UnixStream,
) -> Result<Shutdown, String> {
    let interrupt = Interrupt::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let in_state = |error: io::Error| format!("--state {}: {error}", state.path().display());
    let for_user = files::user_started(plan, state.path());
    files::write(&for_user, state.path()).map_err(in_state)?;
    for name in for_user.keys() {
        let file = state.path().join(name);
        print(format_args!("you start the chaincode server, in another terminal:  . {} && SERVER", file.display()));
    }
    let reap = ["reap".as_ref(), "--state".as_ref(), state.path().as_os_str()];
    let up = async {
        let runtime = choose_and_print(plan, false, &interrupt, &reap).await.map_err(|error| error_text(&error))?;
        let network = Box::pin(start(plan, &*runtime, verbosity, &interrupt)).await?;
        let description = Description::new(plan, &*runtime, &network, state.path());
        Ok::<_, String>(ManagedNetwork::new(network, description))
    };
    let network = tokio::select! {
        up = up => up?,
        () = closed(&mut waiting) => return Err("`up` has exited".to_owned()),
    };
    let listener = match write(&network, state.path()).and_then(|()| control::listen(state.path())) {
        Ok(listener) => listener,
        Err(error) => {
            stop(network).await;
            return Err(in_state(error));
        }
    };
    if let Err(error) = detach(state.path()) {
        stop(network).await;
        return Err(in_state(error));
    }
    // From here on the network does not depend on `up`.
    let _ = waiting.write_all(UP.as_bytes()).await;
    drop(waiting);
    Ok(Box::pin(serve(network, &listener, &interrupt)).await)
}

/// Waits until the other side has closed the socket.
async fn closed(waiting: &mut UnixStream) {
    let mut bytes = [0; 16];
    while matches!(waiting.read(&mut bytes).await, Ok(1..)) {}
}

async fn start(
    plan: &NetworkPlan,
    runtime: &dyn Runtime,
    verbosity: u8,
    interrupt: &Interrupt,
) -> Result<Network, String> {
    let timeline = Timeline::begin(false);
    let mut evidence = Evidence::default();
    let started = Box::pin(Network::start(plan, runtime, &timeline, &mut evidence, interrupt)).await;
    started.map_err(|error| {
        if verbosity > 0 {
            evidence.print_logs();
        }
        let logs: Vec<(String, String)> = evidence
            .logs()
            .map(|(path, text)| (path.display().to_string(), String::from_utf8_lossy(text).into_owned()))
            .collect();
        for finding in crate::explain::find(logs.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
            print(format_args!("\nlikely cause: {}\n  fix: {}", finding.cause, finding.fix));
        }
        error_text(&error)
    })
}

/// Writes the files of the state directory. The description is the last one.
fn write(network: &ManagedNetwork, state: &Path) -> io::Result<()> {
    network.network.nodes().bundle.write_to(state).map_err(|error| io::Error::other(error_text(&error)))?;
    files::write(&files::files(&network.network, &network.description), state)?;
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    file.write_all(&serde_json::to_vec_pretty(&network.description)?)?;
    file.persist(state.join(DESCRIPTION))?;
    Ok(())
}

/// Detaches from the output of `up`. From now on the output goes to a log file.
fn detach(state: &Path) -> io::Result<()> {
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(state.join(LOG))?;
    let nothing = std::fs::File::open("/dev/null")?;
    io::stdout().flush()?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}

/// Answers requests until `down` or a signal, then stops everything.
async fn serve(network: ManagedNetwork, listener: &UnixListener, interrupt: &Interrupt) -> Shutdown {
    let network = Arc::new(network);
    let (end, mut ending) = mpsc::channel(1);
    let mut clients = JoinSet::new();
    let asked = loop {
        tokio::select! {
            asked = ending.recv() => break asked,
            signal = interrupt.received() => {
                print(format_args!("ended by {signal}"));
                break None;
            }
            Some(_) = clients.join_next() => {}
            connected = listener.accept(), if clients.len() < MOST_CLIENTS => {
                if let Ok((stream, _)) = connected {
                    clients.spawn(answer(Arc::clone(&network), stream, end.clone()));
                }
            }
        }
    };
    clients.shutdown().await;
    let left = match Arc::into_inner(network) {
        Some(network) => stop(network).await,
        None => Vec::new(),
    };
    Shutdown { asked, left }
}

async fn answer(network: Arc<ManagedNetwork>, mut stream: UnixStream, end: mpsc::Sender<UnixStream>) {
    let answered = match control::receive(&mut stream).await {
        Ok(Some(Request::Down)) => {
            let _ = end.send(stream).await;
            return;
        }
        Ok(Some(request)) => network.answer(request, &mut stream).await,
        Ok(None) => Ok(()),
        Err(error) => control::send(&mut stream, &Answer::Refused(format!("invalid request: {error}"))).await,
    };
    if let Err(error) = answered {
        tracing::debug!("a client disconnected: {error}");
    }
}

/// Stops everything. Returns what could not be removed.
async fn stop(network: ManagedNetwork) -> Vec<String> {
    let left = network.network.stop().await.err().map(|error| error.leftovers).unwrap_or_default();
    crate::network::error::warn_of(&left);
    left
}
