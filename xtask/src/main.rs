//! `cargo xtask …`: builds what is needed, then runs the programs of other crates.
//!
//! This crate knows nothing about Fabric. `e2e` and similar commands build the harness and the static
//! programs, and then execute the harness. `test` runs all checks and tests.

mod build;
mod probe;
mod test;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND [OPTION…]

Commands:
  e2e [OPTION…]       Start a network, deploy the chaincode and check it
  up [OPTION…]        Start a persistent network; see also status, logs, restart, stop, kill,
                      start, snapshot, restore, down
  doctor [OPTION…]    Check this machine
  bundle, package, inspect, explain, completions, …
                      Run another command of the harness; `harness --help` lists them
  test [OPTION…]      Check formatting and lints, and run the tests
  bench NAME [OPT…]   Run a benchmark with the static programs
  codegen [--check]   Generate the bindings of the .proto files, or check that they are up to date
  dist                Build the static programs and print their paths

`COMMAND --help` lists the options of a command.
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
    // Paths in options are relative to the caller's directory; build paths are absolute.
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    match command.as_str() {
        "e2e" => harness(arguments, &[Supplied::Builder, Supplied::Chaincode, Supplied::Evidence]),
        "up" | "doctor" => harness(arguments, &[Supplied::Builder, Supplied::Chaincode, Supplied::State]),
        "down" | "status" | "logs" | "restart" | "stop" | "kill" | "start" | "snapshot" | "restore" => {
            harness(arguments, &[Supplied::State])
        }
        "bundle" | "completions" | "deploy" | "explain" | "inspect" | "package" | "probe" => harness(arguments, &[]),
        "harness" => harness(rest, &[]),
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

/// The arguments of cargo that generate the bindings.
const CODEGEN: [&str; 9] =
    ["run", "--quiet", "--package", "fabric-protos", "--features", "codegen", "--bin", "fabric-protos-codegen", "--"];

/// Runs the benchmark with this name in any crate.
fn bench(arguments: &[String]) -> Result<ExitCode> {
    let (name, options) = arguments.split_first().context("bench: missing NAME; give the name of a benchmark")?;
    let programs = build::dist()?;
    let mut command = build::cargo();
    command.args(["bench", "--quiet", "--workspace", "--bench", name, "--"]).args(options);
    command.current_dir(build::workspace());
    programs.set_environment(&mut command);
    // Cargo runs a benchmark in its crate's directory; paths in options are relative to the caller's.
    command.env("BENCH_DIRECTORY", std::env::current_dir().context("cannot determine the current directory")?);
    build::run(&mut command)
}

/// An option that is passed to the harness unless the caller passes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supplied {
    /// The external builder.
    Builder,
    /// The sample chaincode.
    Chaincode,
    /// The directory for reports: the harness's default is relative to the caller's directory.
    Evidence,
    /// The directory for the state of a persistent network, for the same reason.
    State,
}

impl Supplied {
    fn option(self) -> &'static str {
        match self {
            Self::Builder => "--builder",
            Self::Chaincode => "--chaincode",
            Self::Evidence => "--evidence",
            Self::State => "--state",
        }
    }
}

/// Executes the harness with these arguments. Builds only what is needed.
fn harness(arguments: &[String], defaults: &[Supplied]) -> Result<ExitCode> {
    let program = build::harness()?;
    let mut command = std::process::Command::new(&program);
    command.args(arguments);
    let given = |option: &str| {
        let with_value = format!("{option}=");
        arguments.iter().any(|argument| argument == option || argument.starts_with(&with_value))
    };
    let missing: Vec<Supplied> = defaults.iter().copied().filter(|default| !given(default.option())).collect();
    if !(given("-h") || given("--help")) {
        let is_program = |default: &Supplied| matches!(default, Supplied::Builder | Supplied::Chaincode);
        // They take minutes to build; outside of containers, the harness is both.
        let is_needed = missing.iter().any(is_program) && probe::needs_static_programs(&program, arguments)?;
        let programs = if is_needed { Some(build::dist()?) } else { None };
        for default in missing {
            let value = match (default, &programs) {
                (Supplied::Evidence, _) => build::evidence()?,
                (Supplied::State, _) => build::state()?,
                (Supplied::Builder, Some(programs)) => programs.builder.clone(),
                (Supplied::Chaincode, Some(programs)) => programs.chaincode.clone(),
                (_, None) => continue,
            };
            command.arg(default.option()).arg(value);
        }
    }
    exec(command).with_context(|| format!("cannot execute {}", program.display()))
}

/// Replaces this process with the program, which then receives signals and sets the exit code.
fn exec(mut command: std::process::Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}
