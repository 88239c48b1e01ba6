//! Asks the harness which runtimes this machine has, and what they need.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tier with one set of Fabric's programs.
pub(crate) struct Tier {
    /// Part of the name of each of its tests.
    pub(crate) name: String,
    pub(crate) fabric_bin: Option<PathBuf>,
    /// `programs`: those of `--fabric-bin`. `static`: static builds of builder and chaincode. `static-harness`: one of
    /// the harness as well.
    pub(crate) uses: String,
    pub(crate) supported: bool,
    pub(crate) reason: String,
}

/// The tiers of the tests, with these programs of Fabric.
pub(crate) fn probe(harness: &Path, fabric_bin: Option<&Path>) -> Result<Vec<Tier>> {
    let mut command = Command::new(harness);
    command.args(["probe", "--tests"]);
    if let Some(directory) = fabric_bin {
        command.arg("--fabric-bin").arg(directory);
    }
    let output = command.output().with_context(|| format!("cannot run {}", harness.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tier = |line: &str| {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [name, uses, supported, reason] = fields.try_into().ok()?;
        Some(Tier {
            name: name.to_owned(),
            fabric_bin: fabric_bin.map(Path::to_owned),
            uses: uses.to_owned(),
            supported: supported == "yes",
            reason: reason.to_owned(),
        })
    };
    let tiers: Option<Vec<Tier>> = text.lines().map(tier).collect();
    tiers
        .filter(|tiers| output.status.success() && !tiers.is_empty())
        .with_context(|| format!("`fabric-harness probe` failed: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Whether the command with these arguments runs programs in containers.
pub(crate) fn needs_static_programs(harness: &Path, arguments: &[String]) -> Result<bool> {
    let given = arguments.iter().enumerate().find_map(|(number, argument)| match argument.strip_prefix("--runtime") {
        Some("") => arguments.get(number + 1).map(String::as_str),
        Some(value) => value.strip_prefix('='),
        None => None,
    });
    let is_possible = |tier: &Tier| match given {
        None | Some("auto") => tier.name == "needs_docker" && tier.supported,
        Some(runtime) => tier.name.strip_prefix("needs_") == Some(runtime),
    };
    Ok(probe(harness, None)?.iter().any(|tier| tier.uses == "static" && is_possible(tier)))
}
