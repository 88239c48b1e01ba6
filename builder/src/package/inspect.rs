//! Describes a package for an operator, without a peer's settings, expanded templates or private keys.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Opened, PackageError};
use crate::connection::{self, Draft, Field};
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::explain::{Explanation, explain};
use crate::metadata;
use crate::quote::{quoted, shown_path};
use crate::staging::{PUBLIC, Staging};
use crate::tls::{self, Validity};

impl Opened {
    /// Describes the package; `now` is the time for the validity of certificates.
    pub fn describe(&self, now: SystemTime) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "package ID  {}", self.id);
        let _ = writeln!(text, "label       {}", self.metadata.label);
        let _ = writeln!(text, "type        {}", quoted(&self.metadata.kind));
        for (path, bytes) in &self.files {
            let _ = writeln!(text, "file        {} ({} bytes)", shown_path(path), bytes.len());
        }
        for name in &self.ignored {
            let _ = writeln!(text, "ignored     {}", shown_path(Path::new(name)));
        }
        match self.files.get(Path::new(connection::FILE)).map(|bytes| Draft::parse(bytes)) {
            None => text.push_str("connection  not found: not a package for this builder\n"),
            Some(Err(findings)) => {
                for finding in findings {
                    let _ = writeln!(text, "connection  {finding}");
                }
            }
            Some(Ok(draft)) => describe_connection(&mut text, &draft, now),
        }
        text
    }

    /// Explains what detect, build and release would do with the package on this peer. Unpacks it to a
    /// temporary directory and removes that.
    ///
    /// # Errors
    /// The errors of [`build`](crate::build()).
    pub fn explain(&self, environment: &Environment) -> Result<Explanation, PackageError> {
        let scratch = Scratch::new().map_err(PackageError::File)?;
        let mut source = Staging::begin(&scratch.0.join("src"))?;
        for (path, bytes) in &self.files {
            source.write(path, bytes.as_slice(), PUBLIC)?;
        }
        source.publish(connection::FILE)?;
        let mut metadata = Staging::begin(&scratch.0.join("metadata"))?;
        metadata.write(Path::new(metadata::FILE), self.metadata_bytes.as_slice(), PUBLIC)?;
        metadata.publish(metadata::FILE)?;
        Ok(explain(&scratch.0, environment)?)
    }
}

fn describe_connection(text: &mut String, draft: &Draft, now: SystemTime) {
    for field in Field::ALL {
        let Some(value) = draft.text(field) else { continue };
        let shown = if value.contains("{{") {
            "a template".to_owned()
        } else if field == Field::ClientKey || value.contains("PRIVATE KEY") {
            "a private key, which everyone with the package has".to_owned()
        } else if field.is_pem() {
            match tls::certificates(value) {
                Ok(certificates) => {
                    let each = certificates.iter().map(|certificate| describe_certificate(certificate, now));
                    each.collect::<Vec<_>>().join("; ")
                }
                Err(problem) => format!("{problem}, expected a PEM CERTIFICATE"),
            }
        } else {
            quoted(value)
        };
        let _ = writeln!(text, "connection  {:<21} {shown}", field.name());
    }
    for name in draft.other.keys() {
        let _ = writeln!(text, "connection  {:<21} unknown to Fabric", shown_path(Path::new(name)));
    }
}

fn describe_certificate(certificate: &tls::Certificate, now: SystemTime) -> String {
    let validity = match certificate.validity(now) {
        Validity::Valid => format!("valid until {}", certificate.not_after()),
        Validity::Expired(end) => format!("EXPIRED at {end}"),
        Validity::NotYet(start) => format!("NOT VALID before {start}"),
    };
    let names = if certificate.names.is_empty() {
        String::new()
    } else {
        format!(", for {}", quoted(&certificate.names.join(", ")))
    };
    format!("{}{names}, {validity}", quoted(&certificate.subject))
}

/// A temporary directory that only this user can read; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, BuilderError> {
        use std::os::unix::fs::DirBuilderExt;
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let name = format!("ccaas-builder-{}-{}", std::process::id(), age.as_nanos());
        let path = std::env::temp_dir().join(name);
        // Fails if it exists: it could be another user's.
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(BuilderError::write(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
