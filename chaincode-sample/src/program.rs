//! A chaincode server as a program: environment and flags to server.
//!
//! Prints `listening on ADDRESS` to stderr when peers can connect. Exit code
//! 0: stopped by SIGTERM or SIGINT; 1: could not serve; 2: the command line
//! or the environment is wrong.

use std::error::Error;
use std::process::ExitCode;

use chaincode_shim::{Chaincode, Options, Server, ServerError};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// Serves until a signal comes. Log lines go to stderr; the variable
/// `RUST_LOG` says which (default: info).
pub fn run(chaincode: impl Chaincode, options: Options) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let config = match options.into_config() {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let served = runtime.block_on(async {
        let server = Server::builder(chaincode, config).bind().await?;
        eprintln!("listening on {}", server.local_addr());
        server.serve().await
    });
    // Transactions had their time; one that blocks a thread must not keep the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::<ServerError>(&error, 1),
    }
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
