//! What detect, build and release would do with a package on this peer, the origin of each field, and the
//! resulting connection.json with private keys masked; and every finding about a package, for `explain`,
//! `inspect` and `package`. Writes nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::{INDEX_DIRECTORIES, Plan, STATEDB, plan};
use crate::connection::{self, Draft, Field};
use crate::detect;
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::metadata::{self, Metadata};
use crate::quote::{quoted, shown_path};
use crate::release::SERVER;
use crate::tree::{self, Entry, Source};

/// Replaces private keys.
const MASKED: &str = "(masked)";
/// Limit on printed ignored files.
const MAX_IGNORED: usize = 20;

/// The result of [`explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Lines for an operator, without private keys.
    pub text: String,
    /// Warnings about the package and the peer's settings: those of the build, and those about files that
    /// the build does not read.
    pub warnings: Vec<Finding>,
}

/// Explains the package that is unpacked in a directory: either in `src` and `metadata`, as a peer does
/// it, or with metadata.json and connection.json in one directory.
///
/// # Errors
/// The errors of [`build`](crate::build()).
pub fn explain(directory: &Path, environment: &Environment) -> Result<Explanation, BuilderError> {
    let has_peer_layout = directory.join("metadata").join(metadata::FILE).is_file();
    let (source, metadata) = if has_peer_layout {
        (directory.join("src"), directory.join("metadata"))
    } else {
        (directory.to_owned(), directory.to_owned())
    };
    let metadata = detect::read(&metadata)?.1;
    environment.types.check(&metadata)?;
    explain_source(Source::Directory(&source), metadata, &[], environment)
}

/// Explains a package of any type. `outside` are the files outside code.tar.gz.
pub(crate) fn explain_source(
    source: Source<'_>,
    metadata: Metadata,
    outside: &[String],
    environment: &Environment,
) -> Result<Explanation, BuilderError> {
    let mut further: Vec<Finding> = absent_tls_required(source, &metadata, environment).into_iter().collect();
    let others: Vec<Entry> = source.files(Path::new("")).unwrap_or_else(|error| {
        // A build does not look at them.
        further.push(Finding::advice("other files", "", error.to_string(), "files that can be checked, too"));
        Vec::new()
    });
    for Entry { path, size } in others.iter().filter(|other| other.path != Path::new(connection::FILE)) {
        if is_ignored(path) {
            further.extend(misplaced_index(path, shown_path(path)));
        }
        further.extend(private_key(source, path, *size));
    }
    for name in outside {
        further
            .extend(misplaced_index(Path::new(name), format!("{} outside code.tar.gz", shown_path(Path::new(name)))));
    }
    match plan(source, metadata, environment) {
        Ok(plan) => {
            let ignored = others.iter().map(|other| other.path.as_path()).filter(|path| is_ignored(path));
            let text = text(&plan, ignored.chain(outside.iter().map(Path::new)));
            let mut warnings = plan.built.warnings;
            warnings.append(&mut further);
            Ok(Explanation { text, warnings })
        }
        Err(BuilderError::Connection(mut findings)) => {
            findings.append(&mut further);
            Err(BuilderError::Connection(findings))
        }
        Err(error) => Err(error),
    }
}

/// Every finding about a package of any type, errors included.
///
/// # Errors
/// What is wrong with the package, if it cannot be examined further.
#[cfg(feature = "package")]
pub(crate) fn findings(
    source: Source<'_>,
    metadata: &Metadata,
    outside: &[String],
    environment: &Environment,
) -> Result<Vec<Finding>, BuilderError> {
    let mut findings = match explain_source(source, metadata.clone(), outside, environment) {
        Ok(explanation) => explanation.warnings,
        Err(BuilderError::Connection(findings)) => findings,
        Err(error) => return Err(error),
    };
    if environment.types.check(metadata).is_err() {
        let expected = "ccaas or external; peers support other types only if CORE_PEER_CC_BUILDER_TYPES lists them";
        findings.push(Finding::warning(metadata::FILE, "type", quoted(&metadata.kind), expected));
    }
    Ok(findings)
}

/// Whether peers ignore a file of code.tar.gz.
fn is_ignored(path: &Path) -> bool {
    let used = [connection::FILE, metadata::FILE].map(Path::new);
    !used.contains(&path) && !INDEX_DIRECTORIES.iter().any(|directory| path.starts_with(directory))
}

/// A warning for an ignored file that was meant as an index.
fn misplaced_index(path: &Path, place: String) -> Option<Finding> {
    let is_meant =
        |step: &std::ffi::OsStr| ["META-INF", STATEDB, "couchdb", "indexes"].iter().any(|name| step == *name);
    let expected = format!("indexes in META-INF/{STATEDB}/couchdb/, at the top level of code.tar.gz");
    let found = path.extension() == Some("json".as_ref()) && path.iter().any(is_meant);
    found.then(|| Finding::warning(place, "", "a file that peers ignore", expected))
}

/// A private key in a file other than connection.json, which has its own findings.
fn private_key(source: Source<'_>, path: &Path, size: u64) -> Option<Finding> {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let bytes = source.read(path, size).ok()?;
    let expected = "none, because everyone with the package has the key";
    let found = bytes.windows(MARK.len()).any(|window| window == MARK);
    found.then(|| Finding::advice(shown_path(path), "", "a private key in the package", expected))
}

/// With a `root_cert`, the build itself warns.
fn absent_tls_required(source: Source<'_>, metadata: &Metadata, environment: &Environment) -> Option<Finding> {
    let draft = Draft::parse(&source.read(Path::new(connection::FILE), tree::MAX_CONNECTION).ok()?).ok()?;
    let is_set = environment
        .for_package(metadata)
        .is_ok_and(|(environment, _)| environment.overrides.get(Field::TlsRequired).is_some());
    let expected = "true or false; peers do not use TLS without it, although Fabric's documentation says that they do";
    let absent = !is_set && [Field::TlsRequired, Field::RootCert].iter().all(|field| draft.text(*field).is_none());
    absent.then(|| Finding::advice(connection::FILE, Field::TlsRequired.name(), "nothing", expected))
}

fn text<'a>(plan: &Plan, ignored: impl Iterator<Item = &'a Path>) -> String {
    let Plan { built, sources, .. } = plan;
    let mode = if built.connection.has_key() { "0600 (contains a private key)" } else { "0644" };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "detect   accepts {} of type {}", built.metadata.label, quoted(&built.metadata.kind));
    let _ = writeln!(text, "build    writes {}, mode {mode}; the peer connects to", connection::FILE);
    let _ = writeln!(text, "         {}", built.connection.summary());
    for field in Field::ALL {
        if let Some(source) = sources.get(&field) {
            let _ = writeln!(text, "         {:<21} from {source}", field.name());
        }
    }
    let _ = writeln!(text, "release  provides");
    let _ = writeln!(text, "         {SERVER}/{}", connection::FILE);
    let mut released: Vec<PathBuf> = Vec::new();
    for (directory, files) in &plan.trees {
        for path in files.iter().map(|entry| &entry.path).filter(|path| path.starts_with(STATEDB)) {
            if !released.contains(path) {
                let _ = writeln!(text, "         {} from {directory}/", shown_path(path));
                released.push(path.clone());
            }
        }
    }
    for (number, path) in ignored.enumerate().take(MAX_IGNORED + 1) {
        let title = if number == 0 { "ignored" } else { "" };
        let shown = if number == MAX_IGNORED { "and more".to_owned() } else { shown_path(path) };
        let _ = writeln!(text, "{title:<8} {shown}");
    }
    let mut json = serde_json::from_slice(&built.connection.to_bytes()).unwrap_or(Value::Null);
    mask(&mut json);
    let _ = writeln!(text, "\n{json:#}");
    text
}

/// Masks private keys in a JSON value, including fields unknown to Fabric.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("PRIVATE KEY") => MASKED.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(object) => {
            for (name, item) in object {
                if name == Field::ClientKey.name() {
                    *item = Value::from(MASKED);
                }
                mask(item);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn private_keys_are_masked() {
        let mut value =
            json!({"client_key": "anything", "x": [{"y": "-----BEGIN EC PRIVATE KEY-----\nMHc"}], "z": "z"});
        mask(&mut value);
        assert_eq!(value, json!({"client_key": MASKED, "x": [{"y": MASKED}], "z": "z"}));
    }
}
