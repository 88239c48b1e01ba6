//! A chaincode server as a program: command line and environment, signals, exit codes.
//!
//! Prints `listening on ADDRESS` to stderr when peers can connect. Exit codes: 0 stopped by SIGTERM
//! or SIGINT, 1 failed to serve, 2 invalid command line or environment.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use chaincode_shim::{Chaincode, Config, ConfigError, Server, ServerError, variable};
use clap::Args;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// The time that the process has to exit, in addition to the server's own stop timeout.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The server's configuration. A flag overrides its environment variable; an empty value counts as
/// missing.
#[derive(Debug, Args)]
pub struct Options {
    /// Package ID of the chaincode, as printed by the peer on install
    #[arg(long, env = variable::CHAINCODE_ID, value_name = "ID")]
    chaincode_id: Option<OsString>,
    /// Address to listen on; `:PORT` listens on all interfaces, port 0 selects a free port
    #[arg(long, env = variable::SERVER_ADDRESS, value_name = "HOST:PORT")]
    address: Option<OsString>,
    /// Disable TLS and ignore the files below: true (default) or false
    #[arg(
        long, env = variable::TLS_DISABLED, value_name = "BOOL",
        num_args = 0..=1, default_missing_value = "true"
    )]
    tls_disabled: Option<OsString>,
    /// Private key of the server, a PEM file
    #[arg(long, env = variable::TLS_KEY, value_name = "FILE")]
    tls_key: Option<OsString>,
    /// Certificate of the server and its chain, a PEM file
    #[arg(long, env = variable::TLS_CERT, value_name = "FILE")]
    tls_cert: Option<OsString>,
    /// CA certificates of the peers, a PEM file; if given, peers must present a client certificate
    #[arg(long, env = variable::CLIENT_CA_CERT, value_name = "FILE")]
    client_ca_cert: Option<OsString>,
}

impl Options {
    fn config(&self) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            let value = match name {
                variable::CHAINCODE_ID => &self.chaincode_id,
                variable::SERVER_ADDRESS => &self.address,
                variable::TLS_DISABLED => &self.tls_disabled,
                variable::TLS_KEY => &self.tls_key,
                variable::TLS_CERT => &self.tls_cert,
                variable::CLIENT_CA_CERT => &self.client_ca_cert,
                _ => &None,
            };
            value.clone()
        })
    }
}

/// Serves the chaincode until a signal arrives. Logs to stderr; the variable `RUST_LOG` sets the log
/// filter (default: info).
///
/// Everything runs on one thread, which is the fastest for contracts that mostly wait for the ledger.
/// A contract with long computations needs a multi-threaded runtime.
pub fn run(chaincode: impl Chaincode, options: &Options) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let config = match options.config() {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    let (stop, stopped) = oneshot::channel();
    let (ended, end) = mpsc::channel();
    if let Err(error) = handle_signals(stop, end, config.stop_timeout + EXIT_TIMEOUT) {
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
    // A transaction that blocks its thread must not delay the exit.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::<ServerError>(&error, 1),
    }
}

/// Starts a thread that waits for SIGTERM or SIGINT and sends `stop`. It ends the process if the
/// server has not ended within `timeout`, which happens when a transaction blocks the server's
/// thread.
fn handle_signals(stop: oneshot::Sender<()>, end: mpsc::Receiver<()>, timeout: Duration) -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // Fails if the server has already ended.
        let _ = stop.send(());
        if end.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a transaction blocks the server's thread: exiting without it");
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
