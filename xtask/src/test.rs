//! `cargo xtask test`: runs all checks, then the tests of every tier that this machine supports.
//!
//! Tests with special requirements are ignored by default, and named after their tier. The harness reports
//! which tiers this machine supports.

use crate::build;
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

/// The scope of each cargo command. It is the same for all, because cargo rebuilds dependencies for other
/// features.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

struct Options {
    fabric_bin: Vec<PathBuf>,
    bare: bool,
}

/// A tier with one set of Fabric's programs.
struct Tier {
    name: &'static str,
    fabric_bin: Option<PathBuf>,
    supported: bool,
    reason: String,
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
    let programs = build::dist()?;
    let nextest = |filter: &[&str]| {
        let mut command = build::cargo();
        command.args(["nextest", "run"]).args(EVERYTHING).args(filter).current_dir(build::workspace());
        // Cargo would put the program under test in another directory.
        command.env_remove("CARGO_BUILD_TARGET");
        programs.set_environment(&mut command);
        command
    };
    build::must(&mut nextest(&[]), "tests")?;
    build::must(build::cargo().args(["test", "--quiet", "--doc"]).args(EVERYTHING), "documentation tests")?;

    let tiers = if options.bare { Vec::new() } else { tiers(&options)? };
    let mut failed = Vec::new();
    for tier in tiers.iter().filter(|tier| tier.supported) {
        step(&format!("tests of tier {}: {}", tier.name, tier.reason));
        let filter = format!("test(/{}/)", tier.name);
        let mut tests = nextest(&["--run-ignored=only", "--filterset", &filter]);
        if let Some(directory) = &tier.fabric_bin {
            tests.env("FABRIC_BIN", directory);
        }
        // Needed only for the image in these tests, and takes minutes to build.
        if tier.name == "needs_compose" {
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

/// Asks the harness which tiers this machine supports, for each set of Fabric's programs.
fn tiers(options: &Options) -> Result<Vec<Tier>> {
    // Built together with the tests.
    let harness = build::harness_path()?;
    let mut tiers = Vec::new();
    for (name, runtime) in TIERS {
        // These use images instead of programs.
        let with_images = matches!(runtime, "docker" | "compose" | "kubernetes" | "images");
        let with_programs = !with_images && !options.fabric_bin.is_empty();
        let sets = if with_programs { options.fabric_bin.iter().cloned().map(Some).collect() } else { vec![None] };
        for fabric_bin in sets {
            let (supported, reason) = probe(&harness, runtime, fabric_bin.as_deref())?;
            tiers.push(Tier { name, fabric_bin, supported, reason });
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
    let output = command.output().with_context(|| format!("cannot run {}", harness.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(runtime)?.strip_prefix('\t')?.split_once('\t'));
    let (supported, reason) = line.with_context(|| {
        format!("`fabric-harness probe` does not report {runtime}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((supported == "yes", reason.to_owned()))
}

fn step(name: &str) {
    println!("\n== {name}");
}
