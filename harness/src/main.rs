//! The `fabric-harness` program: the command line in front of the library.

/// The nodes of an embedded network make and free much on different threads: the system's allocator
/// would take a quarter of the processor time of a transaction.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fabric_harness::program::main()
}
