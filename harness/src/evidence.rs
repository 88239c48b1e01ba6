//! The evidence of a run: the nodes' logs and configuration, the package and the report, as files.
//! Private keys are never part of it.

use fabric_network::bundle::Bundle;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The evidence of a run, collected before the network is stopped.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Relative paths and contents.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// An error while writing evidence.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the evidence to {}", path.display())]
pub struct EvidenceError {
    /// The file or directory.
    path: PathBuf,
    /// The cause.
    #[source]
    source: io::Error,
}

impl Evidence {
    /// Adds a file under a relative path.
    pub fn add(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.files.push((path.into(), bytes.into()));
    }

    /// Adds all files of `other`.
    pub fn append(&mut self, other: Self) {
        self.files.extend(other.files);
    }

    /// Adds the bundle's files, except secrets: files that only their owner may read.
    pub fn add_configuration(&mut self, bundle: &Bundle) {
        for (path, file) in bundle.files.iter().filter(|(_, file)| file.mode & 0o044 != 0) {
            self.add(path, file.bytes.clone());
        }
    }

    /// Adds the log of each node and server, as `logs/NAME.log`.
    pub fn add_logs(&mut self, logs: BTreeMap<String, String>) {
        for (name, text) in logs {
            self.add(format!("logs/{name}.log"), text);
        }
    }

    /// The logs: paths and contents.
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

    /// Writes all files to a new directory in `parent`, named after the time and the runtime. A file is never there in
    /// part: it is written under another name first.
    ///
    /// # Errors
    ///
    /// A file or directory that cannot be written. The other files are written all the same.
    pub fn write_to(&self, parent: &Path, runtime: &str) -> Result<PathBuf, EvidenceError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EvidenceError { path, source }
        };
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let directory = new_directory(parent, runtime).map_err(failed(parent))?;
        let mut first_error = None;
        for (path, bytes) in &self.files {
            let path = directory.join(path);
            if let Err(source) = write(&path, bytes) {
                first_error = first_error.or(Some(failed(&path)(source)));
            }
        }
        first_error.map_or(Ok(directory), Err)
    }
}

/// Writes a file and its directories. After an error there is no such file.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Creates `2026-01-31T12-00-00-process`, with a suffix `-2`, `-3` … if it already exists.
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
    fn a_file_that_cannot_be_written_is_not_there_and_the_others_are() {
        let parent = tempfile::tempdir().unwrap();
        let mut evidence = Evidence::default();
        // `file` cannot be a directory as well.
        for path in ["file", "file/report.json", "junit.xml"] {
            evidence.add(path, "text");
        }
        let error = evidence.write_to(parent.path(), "process").unwrap_err();
        assert!(error.path.ends_with("file/report.json"), "{error}");
        let directory = fs::read_dir(parent.path()).unwrap().next().unwrap().unwrap().path();
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "junit.xml"]);
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
