//! `cargo xtask test`: every check of the repository, then the tests of every tier that this
//! machine can run.
//!
//! Tests that need something a bare machine lacks are ignored, and named after their tier. The
//! harness tells which tiers' needs are met.

use crate::build;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo xtask test [OPTION…]

  --fabric-bin DIR   directory of Fabric's programs; once for each version (default: FABRIC_BIN, PATH)
  --bare             only the tests that need nothing but Rust and a C compiler
";

/// The tests that a bare machine can't run: what their names contain, and the runtime of the harness
/// (or the release's other programs) whose needs they share.
const TIERS: [(&str, &str); 9] = [
    ("needs_fabric", "process"),
    ("needs_release", "release"),
    ("needs_discover", "discover"),
    ("needs_node", "node"),
    ("needs_docker", "docker"),
    ("needs_compose", "compose"),
    ("needs_couchdb", "couchdb"),
    ("needs_kubernetes", "kubernetes"),
    ("needs_images", "images"),
];

/// What each command of a test run covers. The generated code is checked by a test behind a feature;
/// and a dependency is built again for each set of its features that is asked for.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

struct Options {
    fabric_bin: Vec<PathBuf>,
    bare: bool,
}

/// A tier, with one set of Fabric's programs, and why it is run or not.
struct Tier {
    name: &'static str,
    fabric_bin: Option<PathBuf>,
    possible: bool,
    why: String,
}

pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let begin = Instant::now();
    repository_checks()?;
    install_nextest()?;

    step("tests");
    let programs = build::dist()?;
    let nextest = |filter: &[&str]| {
        let mut command = build::cargo();
        command.args(["nextest", "run"]).args(EVERYTHING).args(filter).current_dir(build::workspace());
        // The program under test would lie elsewhere.
        command.env_remove("CARGO_BUILD_TARGET");
        programs.tell(&mut command);
        command
    };
    build::must(&mut nextest(&[]), "a test")?;
    build::must(build::cargo().args(["test", "--quiet", "--doc"]).args(EVERYTHING), "a documentation test")?;

    let tiers = if options.bare { Vec::new() } else { tiers(&options)? };
    let mut failed = Vec::new();
    for tier in tiers.iter().filter(|tier| tier.possible) {
        step(&format!("tests of tier {}: {}", tier.name, tier.why));
        let filter = format!("test(/{}/)", tier.name);
        let mut tests = nextest(&["--run-ignored=only", "--filterset", &filter]);
        if let Some(directory) = &tier.fabric_bin {
            tests.env("FABRIC_BIN", directory);
        }
        // An image is made of it, and nothing else takes it: its build takes minutes.
        if tier.name == "needs_compose" {
            tests.env("FABRIC_HARNESS_STATIC", build::static_harness()?);
        }
        if build::must(&mut tests, "a test").is_err() {
            failed.push(format!("{} ({})", tier.name, tier.why));
        }
    }

    println!("\ntiers, after {:.0} s:", begin.elapsed().as_secs_f32());
    println!("  ran      bare: needs nothing but Rust and a C compiler; end to end on embedded peers, not on Fabric");
    if options.bare {
        println!("  not run  every other tier: --bare");
    }
    for tier in &tiers {
        println!("  {} {}: {}", if tier.possible { "ran     " } else { "not run " }, tier.name, tier.why);
    }
    if !failed.is_empty() {
        bail!("tests failed in {}", failed.join(", "));
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
    programs(Path::new(value.context("--fabric-bin: give a directory")?))
}

/// The directory itself, or its `bin`, absolute: nextest runs a test in its crate's directory.
fn programs(directory: &Path) -> Result<PathBuf> {
    let absolute = directory.canonicalize().with_context(|| format!("--fabric-bin {}", directory.display()))?;
    let bin = absolute.join("bin");
    Ok(if bin.is_dir() { bin } else { absolute })
}

fn repository_checks() -> Result<()> {
    step("formatting");
    build::must(build::cargo().args(["fmt", "--all", "--check"]), "`cargo fmt --all --check`")?;
    step("lints");
    let mut clippy = build::cargo();
    clippy.args(["clippy", "--quiet", "--all-targets"]).args(EVERYTHING).args(["--", "-D", "warnings"]);
    build::must(&mut clippy, "clippy")?;
    step("documentation");
    let mut doc = build::cargo();
    doc.args(["doc", "--quiet", "--no-deps"]).args(EVERYTHING).env("RUSTDOCFLAGS", "-D warnings");
    build::must(&mut doc, "the documentation")
}

/// Installs cargo-nextest when it is missing.
fn install_nextest() -> Result<()> {
    let there = build::cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    if there {
        return Ok(());
    }
    step("cargo-nextest is missing: installing it");
    let mut install = build::cargo();
    // Its build takes minutes; debug information and optimization would add to them.
    install.args(["install", "--locked", "cargo-nextest", "--debug"]).env("CARGO_PROFILE_DEV_DEBUG", "0");
    build::must(&mut install, "installing cargo-nextest")
}

/// Asks the harness which runtimes are possible here, with each set of Fabric's programs.
fn tiers(options: &Options) -> Result<Vec<Tier>> {
    // The tests were built with it.
    let harness = build::harness_path()?;
    let mut tiers = Vec::new();
    for (name, runtime) in TIERS {
        // These take images, whatever programs there are.
        let with_images = matches!(runtime, "docker" | "compose" | "kubernetes" | "images");
        let with_programs = !with_images && !options.fabric_bin.is_empty();
        let sets = if with_programs { options.fabric_bin.iter().cloned().map(Some).collect() } else { vec![None] };
        for fabric_bin in sets {
            let (possible, why) = probe(&harness, runtime, fabric_bin.as_deref())?;
            tiers.push(Tier { name, fabric_bin, possible, why });
        }
    }
    Ok(tiers)
}

fn probe(harness: &Path, runtime: &str, fabric_bin: Option<&Path>) -> Result<(bool, String)> {
    let mut command = Command::new(harness);
    command.arg("probe");
    if let Some(directory) = fabric_bin {
        command.arg("--fabric-bin").arg(directory);
    }
    let output = command.output().with_context(|| format!("{} can't be run", harness.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(runtime)?.strip_prefix('\t')?.split_once('\t'));
    let (possible, why) = line.with_context(|| {
        format!("`fabric-harness probe` says nothing of {runtime}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((possible == "yes", why.to_owned()))
}

fn step(what: &str) {
    println!("\n== {what}");
}
