//! `explain [LOG…]`: prints the known failures in logs, with cause and fix.

use super::{Finding, find};
use crate::console::{ExitCode, print, read_file};
use std::io::{self, Read as _};
use std::path::PathBuf;

/// The size limit of a log, in bytes.
const LIMIT: u64 = 256 * 1024 * 1024;

/// The options of `explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainOptions {
    /// Logs of peers, orderers, chaincode servers or clients. A directory means the files in it and in
    /// its `logs`. Default: standard input.
    #[arg(value_name = "LOG")]
    pub logs: Vec<PathBuf>,
}

/// Explains the logs. Ends with [`ExitCode::Passed`] when a known failure was found,
/// [`ExitCode::Failed`] when none was, [`ExitCode::CouldNotRun`] when a log cannot be read.
pub fn explain(options: &ExplainOptions) -> ExitCode {
    let texts = match read(&options.logs) {
        Ok(texts) => texts,
        Err(reason) => {
            eprintln!("error: {reason}");
            return ExitCode::CouldNotRun;
        }
    };
    let found = find(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    if found.is_empty() {
        let lines: usize = texts.iter().map(|(_, text)| text.lines().count()).sum();
        print(format_args!("no known failure in {lines} lines"));
        return ExitCode::Failed;
    }
    for finding in &found {
        print(text_of(finding));
    }
    ExitCode::Passed
}

/// A finding as it is printed: place, line, cause, fix.
fn text_of(finding: &Finding) -> String {
    let Finding { name, place, line, excerpt, cause, fix } = finding;
    format!("{place}:{line}: {name}\n  {excerpt}\n  cause: {cause}\n  fix:   {fix}\n")
}

fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
    if paths.is_empty() {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read standard input: {error}"))?;
        if bytes.len() as u64 > LIMIT {
            return Err(format!("standard input: larger than {} MiB", LIMIT / (1024 * 1024)));
        }
        return Ok(vec![("standard input".to_owned(), text(bytes))]);
    }
    let mut texts = Vec::new();
    for path in paths {
        let unreadable = |error: io::Error| format!("{}: {error}", path.display());
        if !path.is_dir() {
            let log = read_file(path, LIMIT).map(text).map_err(unreadable)?;
            texts.push((path.display().to_string(), log));
            continue;
        }
        let before = texts.len();
        for directory in [path.clone(), path.join("logs")].iter().filter(|directory| directory.is_dir()) {
            let entries = directory.read_dir().and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
            let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
            files.sort();
            for file in files.iter().filter(|file| is_log(file)) {
                let log = read_file(file, LIMIT).map(text);
                let log = log.map_err(|error| format!("{}: {error}", file.display()))?;
                texts.push((file.display().to_string(), log));
            }
        }
        if texts.len() == before {
            return Err(format!("{}: no .log or .txt files, also not in its logs", path.display()));
        }
    }
    Ok(texts)
}

fn is_log(path: &std::path::Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "log" || extension == "txt")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
