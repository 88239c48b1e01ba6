//! `cargo xtask …`: builds what is needed, then runs other crates' programs.
//!
//! Nothing about Fabric is known here. `e2e` builds the harness and the static programs that it
//! takes along, and becomes the harness; `test` runs every check of the repository, and then the
//! tests whose needs, as the harness tells them, this machine meets.

mod build;
mod test;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND [OPTION…]

  e2e [OPTION…]       start a network, deploy the chaincode, check it (e2e --help lists the options)
  bundle [OPTION…]    render the network for an operator (bundle --help)
  test [OPTION…]      formatting, lints, generated code, documentation, tests (test --help)
  bench NAME [OPT…]   run the benchmark of that name, with the static programs
  codegen [--check]   generate the bindings of the .proto files, or tell whether they are current
  dist                build the static programs, and print where they are
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    // Paths in options are the caller's; everything built here is the workspace's.
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    match command.as_str() {
        "e2e" => e2e(rest),
        "bundle" => harness(arguments),
        "test" => test::run(rest),
        "bench" => bench(rest),
        "codegen" => build::run(build::cargo().args(CODEGEN).args(rest)),
        "dist" => {
            let programs = build::dist()?;
            for program in [programs.builder, programs.chaincode, programs.conformance] {
                println!("{}", program.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("unknown command `{other}`\n\n{USAGE}"),
    }
}

/// Arguments of cargo that generate the bindings.
const CODEGEN: [&str; 9] =
    ["run", "--quiet", "--package", "fabric-protos", "--features", "codegen", "--bin", "fabric-protos-codegen", "--"];

/// Runs the benchmark of that name, of whichever crate has one.
fn bench(arguments: &[String]) -> Result<ExitCode> {
    let (name, options) = arguments.split_first().context("bench: give the name of a benchmark")?;
    let programs = build::dist()?;
    let mut command = build::cargo();
    command.args(["bench", "--quiet", "--workspace", "--bench", name, "--"]).args(options);
    command.current_dir(build::workspace());
    programs.tell(&mut command);
    // Cargo runs a benchmark in its crate's directory; paths among the options are the caller's.
    command.env("BENCH_DIRECTORY", std::env::current_dir().context("the current directory is unknown")?);
    build::run(&mut command)
}

fn e2e(arguments: &[String]) -> Result<ExitCode> {
    let harness = build::harness()?;
    let mut command = std::process::Command::new(&harness);
    command.arg("e2e").args(arguments);
    let given = |option: &str| {
        let with_value = format!("{option}=");
        arguments.iter().any(|argument| argument == option || argument.starts_with(&with_value))
    };
    let is_complete = given("--builder") && given("--chaincode");
    if !(is_complete || given("-h") || given("--help")) {
        let programs = build::dist()?;
        for (option, program) in [("--builder", programs.builder), ("--chaincode", programs.chaincode)] {
            if !given(option) {
                command.arg(option).arg(program);
            }
        }
    }
    if !given("--evidence") {
        // The default of the program itself is relative to wherever the caller is.
        command.arg("--evidence").arg(build::evidence()?);
    }
    become_program(command).with_context(|| format!("{} can't be run", harness.display()))
}

/// Becomes the harness, with these arguments.
fn harness(arguments: &[String]) -> Result<ExitCode> {
    let harness = build::harness()?;
    let mut command = std::process::Command::new(&harness);
    command.args(arguments);
    become_program(command).with_context(|| format!("{} can't be run", harness.display()))
}

/// Lets the program take this one's place, so that signals and the exit code are its own.
fn become_program(mut command: std::process::Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}
