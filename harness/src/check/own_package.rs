//! The user's package, which is installed unmodified, so that its ID is that of production. The values that depend
//! on the run, such as the server's address, are in the configuration of each peer's builder.

use super::data::Json;
use crate::console::error_text;
use crate::server::{self, Template};
use ccaas_builder::connection::{Connection, Draft, FILE, Field};
use ccaas_builder::package::{self, MAX_PACKAGE, Opened};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A package of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnPackage {
    /// A package that was read.
    Read(Box<Content>),
    /// A file, relative to the chaincode file.
    File(PathBuf),
}

/// A valid package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The `.tar.gz`.
    pub bytes: Vec<u8>,
    /// Label, colon, SHA-256 of the bytes.
    pub id: String,
    /// A description of its contents, without private keys.
    pub description: String,
    label: String,
    /// The fields of its connection.json that have a template.
    templated: BTreeSet<Field>,
    names_domain: bool,
}

impl<'de> Deserialize<'de> for OwnPackage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PathBuf::deserialize(deserializer).map(Self::File)
    }
}

impl OwnPackage {
    /// Reads a package.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or peers would reject it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let of = |what: String| format!("package {}: {what}", file.display());
        let bytes = package::read_file(file, MAX_PACKAGE).map_err(|error| of(format!("cannot read it: {error}")))?;
        Content::of(bytes).map(|content| Self::Read(Box::new(content))).map_err(of)
    }

    /// The package, if it was read.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::Read(content) => Some(content),
            Self::File(_) => None,
        }
    }
}

impl Content {
    fn of(bytes: Vec<u8>) -> Result<Self, String> {
        let opened = Opened::read(&bytes).map_err(|error| error_text(&error))?;
        let connection = opened.files.get(Path::new(FILE)).ok_or_else(|| format!("it has no {FILE}"))?;
        let draft = Draft::parse(connection).map_err(|findings| {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            format!("{FILE}: {}", findings.join("; "))
        })?;
        let is_templated = |field: &Field| draft.text(*field).is_some_and(|text| text.contains("{{"));
        Ok(Self {
            templated: Field::ALL.into_iter().filter(is_templated).collect(),
            names_domain: draft.text(Field::Domain).is_some(),
            description: opened.describe(SystemTime::now()),
            label: opened.metadata.label,
            id: opened.id,
            bytes,
        })
    }

    /// The configuration of a peer's builder that connects this package to the server of `connection`. Fields with a
    /// template are left out.
    pub fn settings(&self, connection: &Connection) -> Value {
        let mut settings = Map::new();
        let mut set = |field: Field, value: Value| {
            if !self.templated.contains(&field) {
                settings.insert(field.name().to_owned(), value);
            }
        };
        set(Field::Address, json!(connection.address));
        set(Field::TlsRequired, json!(connection.tls_required));
        set(Field::ClientAuthRequired, json!(connection.client_auth_required));
        if connection.tls_required {
            set(Field::RootCert, json!(connection.root_cert));
        }
        if self.names_domain {
            let host = connection.address.rsplit_once(':').map_or("", |(host, _)| host);
            set(Field::Domain, json!(host.trim_matches(['[', ']'])));
        }
        json!({ "labels": { &self.label: settings } })
    }
}

/// The values of a package's templates, by name. In texts, `${…}` is a variable of the server, with the address to
/// which peers connect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(BTreeMap<String, Pattern>);

#[derive(Debug, Clone, PartialEq)]
enum Pattern {
    Text(Template),
    List(Vec<Pattern>),
    Table(BTreeMap<String, Pattern>),
    Other(Value),
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Pattern::of(Json::deserialize(deserializer)?.0) {
            Ok(Pattern::Table(values)) => Ok(Self(values)),
            Ok(_) => Err(D::Error::custom("expected a table with the names and values of the templates")),
            Err(reason) => Err(D::Error::custom(reason)),
        }
    }
}

impl Values {
    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The JSON object for a server at this `HOST:PORT` and the package with this ID.
    pub fn of_server(&self, address: &str, package_id: &str) -> Value {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let known = [
            (server::ADDRESS, address),
            (server::HOST, host.trim_matches(['[', ']'])),
            (server::PORT, port),
            (server::ID, package_id),
        ];
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.0.iter().map(|(name, pattern)| (name.clone(), pattern.fill(&known))).collect()
    }
}

impl Pattern {
    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(text.parse()?),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(members) => {
                let member = |(name, value)| Ok((name, Self::of(value)?));
                Self::Table(members.into_iter().map(member).collect::<Result<_, String>>()?)
            }
            other => Self::Other(other),
        })
    }

    fn fill(&self, known: &BTreeMap<String, String>) -> Value {
        match self {
            Self::Text(template) => template.fill(known).into(),
            Self::List(items) => items.iter().map(|item| item.fill(known)).collect(),
            Self::Table(members) => members.iter().map(|(name, value)| (name.clone(), value.fill(known))).collect(),
            Self::Other(value) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn package(connection: &str) -> Result<OwnPackage, String> {
        let files = BTreeMap::from([(PathBuf::from(FILE), connection.as_bytes().to_vec())]);
        let metadata =
            ccaas_builder::metadata::Metadata { kind: "ccaas".into(), label: "own_1".into(), path: String::new() };
        let (bytes, _) = package::Contents { metadata, files }.to_bytes().map_err(|error| error_text(&error))?;
        read(&bytes)
    }

    fn read(bytes: &[u8]) -> Result<OwnPackage, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        OwnPackage::read(file.path())
    }

    fn connection(tls_required: bool) -> Connection {
        let root_cert = if tls_required { "PEM".to_owned() } else { String::new() };
        Connection { address: "[::1]:7".into(), tls_required, root_cert, ..Connection::default() }
    }

    #[test]
    fn what_depends_on_the_run_is_set_on_the_peer_but_for_templates() {
        for (written, tls, expected) in [
            (
                r#"{"address":"production:9999","dial_timeout":"9s"}"#,
                false,
                json!({"address": "[::1]:7", "tls_required": false, "client_auth_required": false}),
            ),
            (
                r#"{"address":"a:1","domain":"basic.example.com","tls_required":"true"}"#,
                true,
                json!({"address": "[::1]:7", "tls_required": true, "client_auth_required": false, "root_cert": "PEM",
                       "domain": "::1"}),
            ),
            (
                r#"{"Address":"{{.host}}:1","tls_required":"{{.tls}}","root_cert":"{{.root}}"}"#,
                true,
                json!({"client_auth_required": false}),
            ),
        ] {
            let package = package(written).unwrap();
            let settings = package.content().unwrap().settings(&connection(tls));
            assert_eq!(settings, json!({"labels": {"own_1": expected}}), "{written}");
        }
    }

    #[test]
    fn a_package_that_no_peer_accepts_is_refused_and_no_key_is_printed() {
        assert!(read(b"nothing").unwrap_err().contains("found data that is not gzip"));
        let absent = OwnPackage::read(Path::new("/nonexistent/own.tar.gz")).unwrap_err();
        assert!(absent.starts_with("package /nonexistent/own.tar.gz: cannot read it: No such file"), "{absent}");
        assert!(package("[]").unwrap_err().contains("connection.json: "));
        let package = package(r#"{"address":"a:1","client_key":"-----BEGIN PRIVATE KEY-----\nc2VjcmV0"}"#).unwrap();
        let content = package.content().unwrap();
        assert!(content.description.contains("own_1") && !content.description.contains("c2VjcmV0"));
        assert!(content.id.starts_with("own_1:") && content.id.len() == 6 + 64, "{}", content.id);
    }

    #[test]
    fn values_are_filled_in_wherever_there_is_text() {
        let values = |text: &str| toml::from_str::<BTreeMap<String, Values>>(text).map_err(|error| error.to_string());
        let text = "v = { a = '${CHAINCODE_SERVER_ADDRESS}', l = [1, 'p${CHAINCODE_SERVER_PORT}'], \
                    t = { h = '${CHAINCODE_SERVER_HOST}', b = true, d = '$$' } }";
        let filled = values(text).unwrap()["v"].of_server("[::1]:7", "own_1:00");
        assert_eq!(filled, json!({"a": "[::1]:7", "l": [1, "p7"], "t": {"h": "::1", "b": true, "d": "$"}}));
        assert!(values("v = 5").unwrap_err().contains("expected a table"));
        assert!(values("v = { a = '${HOME}' }").unwrap_err().contains("unknown variable ${HOME}"));
    }
}
