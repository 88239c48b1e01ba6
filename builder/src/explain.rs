//! `explain DIR`: what detect, build and release would do with a package on this peer, the origin of
//! each field, and the resulting connection.json with private keys masked. Writes nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::{Plan, STATEDB, plan};
use crate::connection::{self, Field};
use crate::environment::Environment;
use crate::error::BuilderError;
use crate::finding::Finding;
use crate::metadata;
use crate::quote::{quoted, shown_path};
use crate::release::SERVER;

/// Replaces private keys.
const MASKED: &str = "(masked)";

/// The result of [`explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Lines for an operator, without private keys.
    pub text: String,
    /// Warnings of the build.
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
    let plan = plan(&source, &metadata, environment)?;
    Ok(Explanation { text: text(&plan), warnings: plan.built.warnings })
}

fn text(plan: &Plan) -> String {
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
