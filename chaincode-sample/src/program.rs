//! A chaincode server as a program: environment and flags to server.
//!
//! Prints `listening on ADDRESS` to stderr when peers can connect. Exit code
//! 0: stopped by SIGTERM or SIGINT; 1: could not serve; 2: the command line
//! or the environment is wrong.

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use chaincode_shim::{Chaincode, Options, Server, ServerError};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// How long after the transactions' own time the process may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves until a signal comes. Log lines go to stderr; the variable
/// `RUST_LOG` says which (default: info).
///
/// Everything runs on one thread: the functions of these contracts wait for the
/// ledger, and no message has to wake another thread. A contract that computes
/// for long wants a runtime of several.
pub fn run(chaincode: impl Chaincode, options: Options) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let config = match options.into_config() {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    let (stop, stopped) = oneshot::channel();
    let (ended, end) = mpsc::channel();
    let patience = config.stop_timeout + PATIENCE;
    if let Err(error) = watch(stop, end, patience) {
        return fail(&ServerError::Signals(error), 1);
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let served = runtime.block_on(async {
        let shutdown = async {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let server = Server::builder(chaincode, config).shutdown(shutdown).bind().await?;
        eprintln!("listening on {}", server.local_addr());
        server.serve().await
    });
    drop(ended);
    // Transactions had their time; one that blocks a thread must not keep the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::<ServerError>(&error, 1),
    }
}

/// Has a thread of its own wait for SIGTERM and SIGINT, and end the process if a function that
/// computes without end keeps the server from ending.
fn watch(stop: oneshot::Sender<()>, end: mpsc::Receiver<()>, patience: Duration) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // The server may have ended by itself.
        let _ = stop.send(());
        if end.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a transaction keeps its thread: ended without it");
            std::process::exit(0);
        }
    })?;
    Ok(())
}

/// Prints an error and its causes.
fn fail<E: Error>(error: &E, code: u8) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    eprintln!("error: {text}");
    ExitCode::from(code)
}
