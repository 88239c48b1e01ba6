//! The `fabric-harness` program: the command line in front of the library.

use clap::Parser;
use fabric_harness::options::Cli;
use fabric_harness::program::program;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    Box::pin(program(Cli::parse())).await.into()
}
