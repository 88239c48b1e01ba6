//! From the start of the harness's process to the first query's answer: network, package, deployment.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fabric_harness::network::nodes::FIRST_QUERY;

use crate::{Result, network};

/// Prints the medians of embedded nodes and, when they are given, of Fabric's.
pub(crate) fn table(fabric_bin: Option<&Path>, rounds: usize) -> Result<()> {
    println!("process start to first query, chaincode TLS both ways, default batches, median of {rounds}");
    println!("| nodes | ms |\n|---|---|");
    let (mut embedded, mut fabric) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        embedded.push(first_query(&["--runtime", "embedded"])?);
        if let Some(directory) = fabric_bin {
            let directory = directory.display().to_string();
            fabric.push(first_query(&["--runtime", "process", "--fabric-bin", &directory])?);
        }
    }
    for (name, mut times) in [("embedded", embedded), ("Fabric", fabric)] {
        times.sort();
        if let Some(median) = times.get(times.len() / 2) {
            println!("| {name} | {:.1} |", median.as_secs_f64() * 1000.0);
        }
    }
    Ok(())
}

fn first_query(arguments: &[&str]) -> Result<Duration> {
    let scratch = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_fabric-harness"));
    command.arg("e2e").args(arguments).args(["--keep", "never"]).current_dir(scratch.path());
    command.arg("--builder").arg(network::program("CCAAS_BUILDER")?);
    command.arg("--chaincode").arg(network::program("CHAINCODE_SAMPLE")?);
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let (mut answered, mut printed) = (None, String::new());
    for line in output.lines() {
        let line = line?;
        if line.ends_with(&format!("ms  {FIRST_QUERY}")) {
            answered = Some(begin.elapsed());
        }
        printed += &line;
        printed.push('\n');
    }
    if !child.wait()?.success() {
        return Err(format!("a case failed:\n{printed}").into());
    }
    answered.ok_or_else(|| format!("no first query:\n{printed}").into())
}
