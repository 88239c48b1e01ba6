//! The program `chaincode-conformance`: serves the contract that makes every
//! call of the stub.

use std::process::ExitCode;

use chaincode_shim::Options;
use clap::Parser;

/// The conformance chaincode: every call of the stub, for checks against a real peer.
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
    chaincode_sample::program::run(chaincode_sample::conformance::chaincode(), command_line.options)
}
