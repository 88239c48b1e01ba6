//! The program `chaincode-conformance`: serves the conformance chaincode.

use std::process::ExitCode;

use chaincode_sample::conformance;
use chaincode_sample::program::{self, Options};
use clap::Parser;

/// Serve the conformance chaincode, which makes every call of the stub, to Hyperledger Fabric peers.
///
/// Logs to stderr; the variable `RUST_LOG` sets the log filter (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    program::run(conformance::chaincode(), &CommandLine::parse().options)
}
