//! What is kept of a run: the nodes' logs, their configuration, the package, and the report.
//! Private keys are never among it.

use fabric_network::bundle::Bundle;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The evidence of one run, gathered before the network is stopped.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Paths within the evidence, and what is written there.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Evidence that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the evidence can't be written to {}", path.display())]
pub struct EvidenceError {
    /// The file or directory in question.
    path: PathBuf,
    /// Why not.
    #[source]
    source: io::Error,
}

impl Evidence {
    /// Adds a file under a relative path.
    pub fn add(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.files.push((path.into(), bytes.into()));
    }

    /// Adds the files of another.
    pub fn append(&mut self, other: Self) {
        self.files.extend(other.files);
    }

    /// Adds every file of the bundle that is no secret: those that others than their owner may read.
    pub fn add_configuration(&mut self, bundle: &Bundle) {
        for (path, file) in bundle.files.iter().filter(|(_, file)| file.mode & 0o044 != 0) {
            self.add(path, file.bytes.clone());
        }
    }

    /// Adds the log of each node and server, under its name.
    pub fn add_logs(&mut self, logs: BTreeMap<String, String>) {
        for (name, text) in logs {
            self.add(format!("logs/{name}.log"), text);
        }
    }

    /// The logs among it, by file name.
    pub fn logs(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let logs = self.files.iter().filter(|(path, _)| path.starts_with("logs"));
        logs.map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
    }

    /// Prints the logs to stderr.
    pub fn print_logs(&self) {
        for (path, text) in self.logs() {
            eprintln!("\n==> {}\n{}", path.display(), String::from_utf8_lossy(text));
        }
    }

    /// Writes everything into a new directory below `parent`, named after the time and the runtime.
    ///
    /// # Errors
    ///
    /// When a file or directory can't be made.
    pub fn write_to(&self, parent: &Path, runtime: &str) -> Result<PathBuf, EvidenceError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EvidenceError { path, source }
        };
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let directory = new_directory(parent, runtime).map_err(failed(parent))?;
        for (path, bytes) in &self.files {
            let path = directory.join(path);
            let folder = path.parent().unwrap_or(&directory);
            fs::create_dir_all(folder).map_err(failed(folder))?;
            fs::write(&path, bytes).map_err(failed(&path))?;
        }
        Ok(directory)
    }
}

/// `2026-01-31T12-00-00-process`, or with `-2`, `-3` … when two runs begin within a second.
fn new_directory(parent: &Path, runtime: &str) -> io::Result<PathBuf> {
    let now = time::OffsetDateTime::from(SystemTime::now());
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]");
    let stem = format!("{}-{runtime}", now.format(format).map_err(io::Error::other)?);
    let mut directory = parent.join(&stem);
    for count in 2.. {
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                directory = parent.join(format!("{stem}-{count}"));
            }
            result => return result.map(|()| directory),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_within_a_second_have_a_directory_each() {
        let parent = tempfile::tempdir().unwrap();
        let mut evidence = Evidence::default();
        evidence.add("logs/peer0.log", "text");
        let first = evidence.write_to(parent.path(), "process").unwrap();
        let second = evidence.write_to(parent.path(), "process").unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read_to_string(second.join("logs/peer0.log")).unwrap(), "text");
    }

    #[test]
    fn evidence_that_cannot_be_written_names_the_place() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Evidence::default().write_to(&file, "process").unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
