//! The `fabric-harness` program: the command line in front of the library.

use clap::Parser;
use fabric_harness::program::cli::Cli;
use fabric_harness::program::program;

/// The nodes of an embedded network make and free much on different threads: the system's allocator
/// would take a quarter of the processor time of a transaction.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    Box::pin(program(Cli::parse())).await.into()
}
