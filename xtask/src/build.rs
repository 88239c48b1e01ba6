//! Runs cargo to build the harness and the static programs.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The programs that a network needs besides the harness. Static ones run in a peer or in any container image.
pub(crate) struct Programs {
    /// The external builder.
    pub(crate) builder: PathBuf,
    /// The chaincode server.
    pub(crate) chaincode: PathBuf,
    /// The chaincode server of the conformance cases.
    pub(crate) conformance: PathBuf,
}

impl Programs {
    fn in_directory(directory: &Path) -> Self {
        Self {
            builder: directory.join("ccaas-builder"),
            chaincode: directory.join("chaincode-sample"),
            conformance: directory.join("chaincode-conformance"),
        }
    }

    /// Sets the variables with the programs' paths for a test or benchmark.
    pub(crate) fn set_environment(&self, command: &mut Command) {
        command.env("CCAAS_BUILDER", &self.builder).env("CHAINCODE_SAMPLE", &self.chaincode);
        command.env("CHAINCODE_CONFORMANCE", &self.conformance);
    }
}

/// A command for cargo.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("--color=auto");
    command
}

/// Runs a command and returns its exit code.
pub(crate) fn run(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs a command that must succeed.
pub(crate) fn must(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { bail!("{what} failed ({status})") }
}

/// The directory for reports.
pub(crate) fn evidence() -> Result<PathBuf> {
    Ok(target_directory()?.join("e2e"))
}

/// The directory for the state of a persistent network.
pub(crate) fn state() -> Result<PathBuf> {
    Ok(target_directory()?.join("network"))
}

/// The directory of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The absolute target directory: `CARGO_TARGET_DIR` or `target`.
fn target_directory() -> Result<PathBuf> {
    let directory = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    std::path::absolute(&directory).with_context(|| format!("CARGO_TARGET_DIR {}", directory.display()))
}

/// The programs of the debug build, which every run without containers can use.
pub(crate) fn debug() -> Result<Programs> {
    Ok(Programs::in_directory(&target_directory()?.join("debug")))
}

/// The path of the harness.
pub(crate) fn harness_path() -> Result<PathBuf> {
    Ok(target_directory()?.join("debug").join("fabric-harness"))
}

/// Builds the harness and returns its path.
pub(crate) fn harness() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--package", "fabric-harness", "--target-dir"]).arg(target_directory()?);
    build.env_remove("CARGO_BUILD_TARGET").current_dir(workspace());
    must(&mut build, "building the harness")?;
    harness_path()
}

/// Builds the harness as a static program for any container image, and returns its path.
pub(crate) fn static_harness() -> Result<PathBuf> {
    let (target, directory) = (static_target()?, target_directory()?);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default() + " -C target-feature=+crt-static";
    let mut build = cargo();
    build.args(["build", "--package", "fabric-harness", "--target", &target, "--target-dir"]).arg(&directory);
    // Keeps the program small, since it is sent to a Docker engine.
    build.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "true");
    build.env("RUSTFLAGS", flags).env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(workspace());
    must(&mut build, "building the harness as a static program")?;
    Ok(directory.join(target).join("debug").join("fabric-harness"))
}

/// Builds the static programs and returns their paths.
pub(crate) fn dist() -> Result<Programs> {
    let (target, directory) = (static_target()?, target_directory()?);
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    // Avoids relocations at start: a peer starts the builder three times for each package.
    flags.push_str(" -C target-feature=+crt-static -C relocation-model=static");
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--package", "ccaas-builder", "--package", "chaincode-sample"]);
    build.args(["--target", &target, "--target-dir"]).arg(&directory);
    // CARGO_ENCODED_RUSTFLAGS would override RUSTFLAGS.
    build.env("RUSTFLAGS", flags).env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(workspace());
    must(&mut build, "building the static programs").context(
        "they need a static C library; install that of glibc (libc6-dev, glibc-static), \
         or musl (`rustup target add`, and musl-gcc)",
    )?;
    Ok(Programs::in_directory(&directory.join(target).join("dist")))
}

/// The Linux target for this architecture: musl if its standard library and a C compiler are installed,
/// otherwise glibc.
fn static_target() -> Result<String> {
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let has_compiler = std::env::var_os(format!("CC_{}", musl.replace('-', "_"))).is_some()
        || Command::new("musl-gcc").arg("--version").output().is_ok_and(|output| output.status.success());
    if has_compiler && has_standard_library(&musl)? {
        return Ok(musl);
    }
    if cfg!(target_os = "linux") {
        return Ok(format!("{arch}-unknown-linux-gnu"));
    }
    bail!(
        "cannot build the static programs, which run on Linux: \
         run `rustup target add {musl}` and install a C compiler for it"
    )
}

fn has_standard_library(target: &str) -> Result<bool> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("cannot run rustc")?;
    let directory = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(directory.trim()).is_dir())
}
