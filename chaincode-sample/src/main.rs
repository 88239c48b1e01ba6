//! The program `chaincode-sample`: serves the asset-transfer contract.

use std::process::ExitCode;

use chaincode_shim::Options;
use clap::Parser;

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
    chaincode_sample::program::run(chaincode_sample::contract(), command_line.options)
}
