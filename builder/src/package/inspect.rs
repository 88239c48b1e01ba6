//! Describes a package for an operator, without a peer's settings, expanded templates or private keys.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use super::{Opened, PackageError};
use crate::connection::{self, Draft, Field};
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::explain::{Explanation, explain_source, findings};
use crate::finding::Finding;
use crate::metadata;
use crate::quote::{quoted, shown_path};
use crate::tls::{self, Validity};
use crate::tree::{self, Source};

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

    /// Explains what detect, build and release would do with the package on this peer.
    ///
    /// # Errors
    /// The errors of [`build`](crate::build()).
    pub fn explain(&self, environment: &Environment) -> Result<Explanation, PackageError> {
        environment.types.check(&self.metadata)?;
        Ok(explain_source(self.source()?, self.metadata.clone(), &self.ignored, environment)?)
    }

    /// Every finding about the package on a peer with these settings: the errors and warnings of a build, and
    /// those about files that a build does not read.
    ///
    /// # Errors
    /// If a file exceeds its limit, so that peers reject the package.
    pub fn findings(&self, environment: &Environment) -> Result<Vec<Finding>, PackageError> {
        Ok(findings(self.source()?, &self.metadata, &self.ignored, environment)?)
    }

    fn source(&self) -> Result<Source<'_>, BuilderError> {
        if self.metadata_bytes.len() as u64 > tree::MAX_METADATA {
            return Err(tree::too_large(Path::new(metadata::FILE), tree::MAX_METADATA));
        }
        Ok(Source::Files(&self.files))
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
