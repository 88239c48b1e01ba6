//! The program `chaincode-sample`: serves the asset-transfer contract.

use std::process::ExitCode;

use chaincode_sample::program::{self, Options};
use clap::Parser;

/// Serve the asset-transfer chaincode to Hyperledger Fabric peers.
///
/// Logs to stderr; the variable `RUST_LOG` sets the log filter (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    program::run(chaincode_sample::contract(), &CommandLine::parse().options)
}
