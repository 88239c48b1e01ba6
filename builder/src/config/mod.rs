//! The configuration file of the builder: a JSON file, named by [`VARIABLE`], with settings by package
//! type, peer and label, so that one package with one ID serves every peer.
//!
//! ```json
//! {
//!   "all":    { "dial_timeout": "10s" },
//!   "types":  { "external": { "tls_required": true, "root_cert": "tls/ca.pem" } },
//!   "peers":  { "peer0.org1.example.com": { "client_cert": "tls/peer0.crt", "client_key": "tls/peer0.key",
//!                                           "labels": { "basic_1.0": { "address": "basic-a:9999" } } } },
//!   "labels": { "basic_*": { "address": "basic:9999" } }
//! }
//! ```
//!
//! Settings have the names and values of connection.json. Certificates and keys are PEM, or paths of
//! files relative to this file. `null` restores the package's value. Precedence, lowest first: the
//! package, `all`, the environment, `types`, `peers`, `labels`, and the `labels` of a peer. This module
//! checks the structure; [`resolve`](crate::resolve()) checks the values.

mod lines;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::connection::{Field, text_of_value};
use crate::finding::Finding;
use crate::json;
use crate::metadata::Metadata;
use crate::overrides::{Override, Overrides};
use crate::quote::{quoted_path, shown_path};
use crate::tree;
use lines::Lines;

/// The variable with the path of the configuration file.
pub const VARIABLE: &str = "CORE_PEER_CC_BUILDER_CONFIG";
/// The variable with the name of this peer.
pub const PEER_VARIABLE: &str = "CORE_PEER_ID";

const SECTIONS: &str = "all, labels, peers or types";

/// Settings of one section; `None` restores the package's value.
type Layer = BTreeMap<Field, Option<Override>>;
type Layers = BTreeMap<String, Layer>;

/// A parsed configuration file.
///
/// ```
/// use std::path::Path;
/// use ccaas_builder::Overrides;
/// use ccaas_builder::config::Config;
/// use ccaas_builder::connection::Field;
/// use ccaas_builder::metadata::Metadata;
///
/// let text = r#"{"labels": {"basic_*": {"address": "basic:9999"}}}"#;
/// let config = Config::parse(text, Path::new("builder.json")).unwrap();
/// let metadata = Metadata { kind: "ccaas".into(), label: "basic_1.0".into(), path: String::new() };
/// let (overrides, _warnings) = config.apply(&metadata, None, &Overrides::default());
/// assert_eq!(overrides.get(Field::Address).unwrap().value, "basic:9999");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    all: Layer,
    types: Layers,
    peers: BTreeMap<String, Peer>,
    labels: Layers,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    settings: Layer,
    labels: Layers,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every structural error, with its line.
    pub fn read(path: &Path) -> Result<Self, Vec<Finding>> {
        let unreadable = |problem: String| {
            let file = format!("{VARIABLE} ({})", quoted_path(&path.to_string_lossy()));
            let expected = "the path of a JSON file that the peer can read";
            vec![Finding::error(file, "", problem, expected)]
        };
        let bytes = tree::read_trusted(path, tree::MAX_CONNECTION)
            .map_err(|problem| unreadable(format!("an unreadable file ({problem})")))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable("a file that is not UTF-8".to_owned()))?;
        Self::parse(&text, path)
    }

    /// Parses the text of a configuration file. Relative paths in it are relative to `path`.
    ///
    /// # Errors
    /// Every structural error, with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Vec<Finding>> {
        let object = json::object(text.as_bytes()).map_err(|problem| {
            let expected = format!("a JSON object with {SECTIONS}");
            vec![Finding::error(shown_path(path), "", problem, expected)]
        })?;
        let mut reader = Reader { path, lines: Lines::of(text), findings: Vec::new() };
        let config = reader.config(&object);
        if reader.findings.is_empty() { Ok(config) } else { Err(reader.findings) }
    }

    /// Combines the file's settings for a package and a peer with those of the environment. Warns if the
    /// file has `peers` and the name of this peer is unknown.
    pub fn apply(&self, metadata: &Metadata, peer: Option<&str>, environment: &Overrides) -> (Overrides, Vec<Finding>) {
        let mut overrides = Overrides::default();
        let mut warnings = Vec::new();
        overrides.apply(&self.all);
        overrides.extend(environment);
        for (kind, layer) in &self.types {
            if kind.to_lowercase() == metadata.kind.to_lowercase() {
                overrides.apply(layer);
            }
        }
        let peer_layer = peer.and_then(|peer| self.peers.get(peer));
        if let Some(peer) = peer_layer {
            overrides.apply(&peer.settings);
        }
        apply_labels(&mut overrides, &self.labels, &metadata.label);
        if let Some(peer) = peer_layer {
            apply_labels(&mut overrides, &peer.labels, &metadata.label);
        }
        if peer.is_none() && !self.peers.is_empty() {
            let expected = "the name of this peer, because the configuration file has peers; set it in the peer's environment and list it in propagateEnvironment of core.yaml";
            warnings.push(Finding::warning(PEER_VARIABLE, "", "nothing", expected));
        }
        (overrides, warnings)
    }
}

/// Applies the layers whose pattern matches a label: shorter patterns first, the exact label last.
fn apply_labels(overrides: &mut Overrides, layers: &Layers, label: &str) {
    let mut matching: Vec<_> = layers
        .iter()
        .filter(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => label.starts_with(prefix),
            None => *pattern == label,
        })
        .collect();
    matching.sort_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len()));
    for (_, layer) in matching {
        overrides.apply(layer);
    }
}

struct Reader<'a> {
    path: &'a Path,
    lines: Lines,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn config(&mut self, object: &Map<String, Value>) -> Config {
        let mut config = Config::default();
        for (name, value) in object {
            let path = [name.as_str()];
            let Some(section) = self.object(&path, value) else { continue };
            match name.as_str() {
                "all" => config.all = self.layer(&path, section),
                "types" => config.types = self.layers(&path, section),
                "labels" => config.labels = self.labels(&path, section),
                "peers" => config.peers = self.peers(&path, section),
                _ => self.error(&path, "", "an unknown key", SECTIONS),
            }
        }
        for duplicate in std::mem::take(&mut self.lines.duplicates) {
            let path: Vec<&str> = duplicate.iter().map(String::as_str).collect();
            self.error(&path, "", "a duplicate key", "each key once");
        }
        config
    }

    fn peers(&mut self, path: &[&str], object: &Map<String, Value>) -> BTreeMap<String, Peer> {
        let mut peers = BTreeMap::new();
        for (name, value) in object {
            let path = [path, &[name.as_str()]].concat();
            let Some(settings) = self.object(&path, value) else { continue };
            let mut settings = settings.clone();
            let labels = settings.remove("labels");
            let settings = self.layer(&path, &settings);
            let path = [path.as_slice(), &["labels"]].concat();
            let labels = labels.as_ref().and_then(|labels| self.object(&path, labels).cloned());
            let labels = labels.map(|labels| self.labels(&path, &labels)).unwrap_or_default();
            peers.insert(name.clone(), Peer { settings, labels });
        }
        peers
    }

    fn labels(&mut self, path: &[&str], object: &Map<String, Value>) -> Layers {
        for pattern in object.keys() {
            let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
            if !prefix.is_empty() && !fabric_primitives::names::is_label(prefix) || pattern.is_empty() {
                let expected = "a label, or the start of a label followed by *";
                self.error(&[path, &[pattern]].concat(), "", "an invalid label", expected);
            }
        }
        self.layers(path, object)
    }

    fn layers(&mut self, path: &[&str], object: &Map<String, Value>) -> Layers {
        let mut layers = BTreeMap::new();
        for (name, value) in object {
            let path = [path, &[name.as_str()]].concat();
            if let Some(settings) = self.object(&path, value) {
                let layer = self.layer(&path, settings);
                layers.insert(name.clone(), layer);
            }
        }
        layers
    }

    fn layer(&mut self, path: &[&str], object: &Map<String, Value>) -> Layer {
        let mut layer = Layer::new();
        for (name, value) in object {
            let path = [path, &[name.as_str()]].concat();
            let Some(field) = Field::ALL.into_iter().find(|field| field.name() == name) else {
                let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
                self.error(&path, "", "an unknown field", known.join(", "));
                continue;
            };
            match text_of_value(field, value) {
                Ok(text) => {
                    let text = text.filter(|text| !text.is_empty());
                    let setting = text.map(|value| self.setting(&path, field, value));
                    layer.insert(field, setting);
                }
                Err(expected) => self.error(&path, field.name(), json::kind(value), expected),
            }
        }
        layer
    }

    fn setting(&self, path: &[&str], field: Field, value: String) -> Override {
        let mut setting = Override { name: self.place(path), value };
        if let (Some(file), Some(directory)) = (setting.path(field), self.path.parent()) {
            setting.value = PathBuf::from(directory).join(file).to_string_lossy().into_owned();
        }
        setting
    }

    fn object<'v>(&mut self, path: &[&str], value: &'v Value) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.error(path, "", json::kind(value), "an object");
        }
        object
    }

    /// File, line and enclosing keys of the value at `path`.
    fn place(&self, path: &[&str]) -> String {
        let enclosing: Vec<String> = path[..path.len().saturating_sub(1)].iter().map(|name| shown(name)).collect();
        let within = if enclosing.is_empty() { String::new() } else { format!(" ({})", enclosing.join(": ")) };
        format!("{} line {}{within}", shown_path(self.path), self.lines.line(path))
    }

    fn error(&mut self, path: &[&str], field: &'static str, found: impl Into<String>, expected: impl Into<String>) {
        let mut file = self.place(path);
        if let (true, Some(last)) = (field.is_empty(), path.last()) {
            file = format!("{file}: {}", shown(last));
        }
        self.findings.push(Finding::error(file, field, found, expected));
    }
}

/// A key for a message, quoted if necessary.
fn shown(name: &str) -> String {
    shown_path(Path::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(config: &str, label: &str, peer: Option<&str>) -> Vec<(Field, String)> {
        let config = Config::parse(config, Path::new("/etc/b/builder.json")).unwrap();
        let metadata = Metadata { kind: "CCaaS".into(), label: label.into(), path: String::new() };
        let mut environment = Overrides::default();
        environment
            .set(Field::DialTimeout, Override { name: "CORE_CHAINCODE_TIMEOUT".into(), value: "environment".into() });
        let (applied, _) = config.apply(&metadata, peer, &environment);
        Field::ALL.into_iter().filter_map(|field| Some((field, applied.get(field)?.value.clone()))).collect()
    }

    /// The effective timeout for each combination of layers.
    #[test]
    fn more_specific_settings_take_precedence() {
        let layers = [
            r#""labels":{"a":{"dial_timeout":"label"}},"peers":{"p":{"labels":{"a":{"dial_timeout":"peer's label"}}}}"#,
            r#""labels":{"a*":{"dial_timeout":"pattern"},"a":{"dial_timeout":"label"}},"peers":{"p":{"dial_timeout":"peer"}}"#,
            r#""labels":{"a_*":{"dial_timeout":"none"},"a*":{"dial_timeout":"long"},"*":{"dial_timeout":"short"}}"#,
            r#""types":{"ccaas":{"dial_timeout":"type"}},"peers":{"p":{"dial_timeout":"peer"}}"#,
            r#""all":{"dial_timeout":"all"},"types":{"CCAAS":{"dial_timeout":"type"}}"#,
            r#""all":{"dial_timeout":"all"},"peers":{"other":{"dial_timeout":"other"}}"#,
        ];
        let seen: Vec<_> =
            layers.iter().map(|layer| overrides(&format!("{{{layer}}}"), "a", Some("p"))[0].1.clone()).collect();
        assert_eq!(seen, ["peer's label", "label", "long", "peer", "type", "environment"]);
    }

    #[test]
    fn null_restores_the_value_of_the_package() {
        let config = r#"{"all":{"address":"a:1"},"labels":{"x":{"address":null,"dial_timeout":""}}}"#;
        assert_eq!(overrides(config, "x", None), []);
        assert_eq!(overrides(config, "y", None).len(), 2);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = r#"{"all":{"root_cert":"ca.pem","client_key":"/k","address":"a:1","dial_timeout":3000000000}}"#;
        let values: Vec<_> = overrides(config, "x", None).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["a:1", "/k", "environment", "/etc/b/ca.pem"]);
    }

    #[test]
    fn every_error_has_its_line() {
        let text = "{\n\"all\": {\"adress\":1,\n\"address\":1},\n\"label\":{},\n\"labels\":{\"a b\":{},\n\"x\":[]},\n\"types\":{\"t\":{\"domain\":true}},\n\"peers\":{\"p\":{\"labels\":{\"l\":{\"tls_required\":0}}}},\n\"types\":{}}";
        let findings = Config::parse(text, Path::new("/b.json")).unwrap_err();
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let begins = [
            "/b.json line 3 (all): address: found a number, expected a string",
            "/b.json line 2 (all): adress: found an unknown field, expected address, client_auth_required,",
            "/b.json line 4: label: found an unknown key, expected all, labels, peers or types",
            "/b.json line 5 (labels): \"a b\": found an invalid label, expected a label",
            "/b.json line 6 (labels): x: found an array, expected an object",
            "/b.json line 8 (peers: p: labels: l): tls_required: found a number, expected true or false",
            "/b.json line 9: types: found a duplicate key, expected each key once",
        ];
        for begin in begins {
            assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin}\nis not in {lines:#?}");
        }
        assert_eq!(lines.len(), begins.len(), "{lines:#?}");
        let syntax = Config::parse("{\n,}", Path::new("/b.json")).unwrap_err()[0].to_string();
        assert!(syntax.starts_with("/b.json: found invalid JSON (") && syntax.contains("line 2"), "{syntax}");
    }
}
