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
  up [OPTION…]        start a network that stays; then status, logs, restart, snapshot, restore, down
  doctor [OPTION…]    look at this machine, and say what to do
  bundle, package, inspect, explain, completions, …
                      every other command of the harness (harness --help lists them)
  test [OPTION…]      formatting, lints, documentation, tests (test --help)
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
        "e2e" => with_defaults(arguments, &[Default::Builder, Default::Chaincode, Default::Evidence]),
        "up" | "doctor" => with_defaults(arguments, &[Default::Builder, Default::Chaincode, Default::State]),
        "down" | "status" | "logs" | "restart" | "snapshot" | "restore" => with_defaults(arguments, &[Default::State]),
        "bundle" | "completions" | "deploy" | "explain" | "inspect" | "package" | "probe" => {
            with_defaults(arguments, &[])
        }
        "harness" => with_defaults(rest, &[]),
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

/// What the harness is given here when the caller gives nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Default {
    /// The external builder, built.
    Builder,
    /// The sample, built.
    Chaincode,
    /// Where reports go: the program's own default is relative to wherever the caller is.
    Evidence,
    /// Where the state of a network that stays is, for the same reason.
    State,
}

impl Default {
    fn option(self) -> &'static str {
        match self {
            Self::Builder => "--builder",
            Self::Chaincode => "--chaincode",
            Self::Evidence => "--evidence",
            Self::State => "--state",
        }
    }
}

/// Becomes the harness, with these arguments. Nothing is built that is not needed.
fn with_defaults(arguments: &[String], defaults: &[Default]) -> Result<ExitCode> {
    let harness = build::harness()?;
    let mut command = std::process::Command::new(&harness);
    command.args(arguments);
    let given = |option: &str| {
        let with_value = format!("{option}=");
        arguments.iter().any(|argument| argument == option || argument.starts_with(&with_value))
    };
    let missing: Vec<Default> = defaults.iter().copied().filter(|default| !given(default.option())).collect();
    if !(given("-h") || given("--help")) {
        let travels = |default: &Default| matches!(default, Default::Builder | Default::Chaincode);
        let programs = if missing.iter().any(travels) { Some(build::dist()?) } else { None };
        for default in missing {
            let value = match (default, &programs) {
                (Default::Evidence, _) => build::evidence()?,
                (Default::State, _) => build::state()?,
                (Default::Builder, Some(programs)) => programs.builder.clone(),
                (Default::Chaincode, Some(programs)) => programs.chaincode.clone(),
                (_, None) => continue,
            };
            command.arg(default.option()).arg(value);
        }
    }
    become_program(command).with_context(|| format!("{} can't be run", harness.display()))
}

/// Lets the program take this one's place, so that signals and the exit code are its own.
fn become_program(mut command: std::process::Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec().into())
}
