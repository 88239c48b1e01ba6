//! Serves the asset-transfer contract: environment and flags to server.
//!
//! Prints `listening on ADDRESS` to stderr when peers can connect. Exit code
//! 0: stopped by SIGTERM or SIGINT; 1: could not serve; 2: the command line
//! or the environment is wrong.

use std::error::Error;
use std::process::ExitCode;

use chaincode_shim::{Config, Options, Server, ServerError};
use clap::Parser;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// The asset-transfer chaincode, as a service for Hyperledger Fabric peers.
///
/// Log lines go to stderr; the variable `RUST_LOG` says which (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let config = match command_line.options.into_config() {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let served = runtime.block_on(serve(config));
    // Transactions had their time; one that blocks a thread must not keep the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

async fn serve(config: Config) -> Result<(), ServerError> {
    let server = Server::builder(chaincode_sample::contract(), config).bind().await?;
    eprintln!("listening on {}", server.local_addr());
    server.serve().await
}

/// Prints an error and its causes.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
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
