//! The program `ccaas-builder`.

fn main() -> std::process::ExitCode {
    ccaas_builder::program::main(std::env::args_os().collect())
}
