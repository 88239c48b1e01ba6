//! `cargo xtask test`: checks formatting and lints, then runs the tests of every tier that this machine supports.
//!
//! Tests with special requirements are ignored by default, and named after their tier. The harness reports
//! which tiers this machine supports.

use crate::build;
use crate::probe::{Tier, probe};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
Usage: cargo xtask test [OPTION…]

Options:
  --fabric-bin DIR   Use Fabric's programs in DIR; repeat for other versions [default: FABRIC_BIN, PATH]
  --bare             Run only tests that need nothing but Rust and a C compiler
  -h, --help         Print help
";

/// The scope of each cargo command. It is the same for all, because cargo rebuilds dependencies for other
/// features.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

struct Options {
    fabric_bin: Vec<PathBuf>,
    bare: bool,
}

pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let start = Instant::now();
    repository_checks()?;
    install_nextest()?;

    step("tests");
    let nextest = |programs: &build::Programs, filter: &[&str]| {
        let mut command = linting();
        command.args(["nextest", "run"]).args(EVERYTHING).args(filter).current_dir(build::workspace());
        programs.set_environment(&mut command);
        command
    };
    let programs = build::debug()?;
    build::must(&mut nextest(&programs, &[]), "tests")?;
    build::must(linting().args(["test", "--quiet", "--doc"]).args(EVERYTHING), "documentation tests")?;

    let tiers = if options.bare { Vec::new() } else { tiers(&options)? };
    let mut failed = Vec::new();
    for tier in tiers.iter().filter(|tier| tier.supported) {
        step(&format!("tests of tier {}: {}", tier.name, tier.reason));
        let filter = format!("test(/{}/)", tier.name);
        // Take minutes to build.
        let is_static = tier.uses.starts_with("static");
        let programs = if is_static { &build::dist()? } else { &programs };
        let mut tests = nextest(programs, &["--run-ignored=only", "--filterset", &filter]);
        if let Some(directory) = &tier.fabric_bin {
            tests.env("FABRIC_BIN", directory);
        }
        if tier.uses == "static-harness" {
            tests.env("FABRIC_HARNESS_STATIC", build::static_harness()?);
        }
        if build::must(&mut tests, "tests").is_err() {
            failed.push(format!("{} ({})", tier.name, tier.reason));
        }
    }

    println!("\ntiers (total time {:.0} s):", start.elapsed().as_secs_f32());
    println!("  ran      bare: needs only Rust and a C compiler; end-to-end tests use embedded peers, not Fabric");
    if options.bare {
        println!("  skipped  all other tiers: --bare");
    }
    for tier in &tiers {
        println!("  {} {}: {}", if tier.supported { "ran     " } else { "skipped " }, tier.name, tier.reason);
    }
    if !failed.is_empty() {
        bail!("tests failed in tiers: {}", failed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(arguments: &[String]) -> Result<Option<Options>> {
    let mut options = Options { fabric_bin: Vec::new(), bare: false };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bare" => options.bare = true,
            "--fabric-bin" => options.fabric_bin.push(directory(arguments.next())?),
            "-h" | "--help" => return Ok(None),
            other => bail!("unknown option `{other}`\n\n{USAGE}"),
        }
    }
    if let Some(directories) = std::env::var_os("FABRIC_BIN")
        && options.fabric_bin.is_empty()
    {
        options.fabric_bin = std::env::split_paths(&directories).map(|path| programs(&path)).collect::<Result<_>>()?;
    }
    Ok(Some(options))
}

fn directory(value: Option<&String>) -> Result<PathBuf> {
    programs(Path::new(value.context("--fabric-bin: missing DIR")?))
}

/// The absolute path of the directory, or of its `bin`; nextest runs tests in the directory of their crate.
fn programs(directory: &Path) -> Result<PathBuf> {
    let absolute = directory
        .canonicalize()
        .with_context(|| format!("--fabric-bin {}: cannot open the directory", directory.display()))?;
    let bin = absolute.join("bin");
    Ok(if bin.is_dir() { bin } else { absolute })
}

fn repository_checks() -> Result<()> {
    step("formatting");
    build::must(build::cargo().args(["fmt", "--all", "--check"]), "`cargo fmt --all --check`")?;
    step("build, with lints");
    build::must(linting().args(["build", "--quiet", "--all-targets"]).args(EVERYTHING), "the build with clippy's lints")
}

/// A command for cargo that compiles the workspace with clippy. `cargo clippy` would compile each dependency once more.
fn linting() -> Command {
    let mut command = build::cargo();
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env("CLIPPY_ARGS", "-Dwarnings");
    // Cargo would put the programs under test in another directory.
    command.env_remove("CARGO_BUILD_TARGET");
    command
}

/// Installs cargo-nextest when it is missing.
fn install_nextest() -> Result<()> {
    let installed = build::cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    if installed {
        return Ok(());
    }
    step("install cargo-nextest");
    let mut install = build::cargo();
    // Without debug information and optimization, to save minutes.
    install.args(["install", "--locked", "cargo-nextest", "--debug"]).env("CARGO_PROFILE_DEV_DEBUG", "0");
    build::must(&mut install, "installation of cargo-nextest")
}

/// Asks the harness which tiers can run, with each set of Fabric's programs.
fn tiers(options: &Options) -> Result<Vec<Tier>> {
    // Built together with the tests.
    let harness = build::harness_path()?;
    let mut tiers = probe(&harness, None)?;
    if !options.fabric_bin.is_empty() {
        // Those of a given directory, not of PATH.
        tiers.retain(|tier| tier.uses != "programs");
    }
    for directory in &options.fabric_bin {
        tiers.extend(probe(&harness, Some(directory))?.into_iter().filter(|tier| tier.uses == "programs"));
    }
    Ok(tiers)
}

fn step(name: &str) {
    println!("\n== {name}");
}
