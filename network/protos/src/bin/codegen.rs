//! Writes `src/generated/` from `proto/`, or with `--check` only compares.
//!
//! Exit codes: 0, the files are written or current; 1, with `--check`, a file is stale, and its name is printed;
//! 2, an error.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use fabric_protos::codegen;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(root),
        ["--check"] => check(root),
        _ => {
            eprintln!("error: unexpected arguments; the only option is --check");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
        ExitCode::from(2)
    })
}

fn check(root: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let stale = codegen::stale(root)?;
    for name in &stale {
        eprintln!("stale: network/protos/src/generated/{name}");
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("run `cargo xtask codegen` and commit the result");
    Ok(ExitCode::from(1))
}

fn write(root: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let directory = root.join("src/generated");
    fs::create_dir_all(&directory)?;
    let wanted = codegen::generate(root)?;
    for name in codegen::committed(root)?.into_keys().filter(|name| !wanted.contains_key(name)) {
        fs::remove_file(directory.join(name))?;
    }
    for (name, text) in wanted {
        fs::write(directory.join(name), text)?;
    }
    Ok(ExitCode::SUCCESS)
}
