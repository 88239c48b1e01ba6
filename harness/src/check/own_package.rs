//! The user's package, which is installed unmodified, so that its ID is that of production. What does not lead to
//! the run's server, such as another address, is replaced in the configuration of each peer's builder.

use crate::console::{error_text, read_file};
use ccaas_builder::connection::{Connection, Draft, FILE, Field};
use ccaas_builder::package::{MAX_PACKAGE, Opened};
use ccaas_builder::template::Templates;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
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
    pub(super) opened: Opened,
    draft: Draft,
}

/// A field of connection.json that the peers of the package's operators supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Supplied(pub Field);

impl<'de> Deserialize<'de> for Supplied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let names = Field::ALL.map(Field::name).join(", ");
        let field = Field::ALL.into_iter().find(|field| field.name() == name);
        field.map(Self).ok_or_else(|| D::Error::custom(format!("unknown field `{name}`; the fields are {names}")))
    }
}

/// A field of the package that the run replaces on its peers. The texts contain no keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replaced {
    /// Its name in connection.json.
    pub field: &'static str,
    /// Its value in the package.
    pub package: String,
    /// Its value on the peers of the run.
    pub run: String,
}

/// What a peer of the run needs to use the package.
#[derive(Debug, Clone, Copy)]
pub struct PeerOfRun<'a> {
    /// The values of templates.
    pub values: &'a Map<String, Value>,
    /// The connection to the server.
    pub connection: &'a Connection,
    /// Whether the peer reaches the server at the package's own address.
    pub keeps_address: bool,
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
        let bytes = read_file(file, MAX_PACKAGE).map_err(|error| of(format!("cannot read it: {error}")))?;
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
        Ok(Self { description: opened.describe(SystemTime::now()), id: opened.id.clone(), bytes, opened, draft })
    }

    /// What a peer with these values reads in a field, with templates filled in.
    pub fn text_on(&self, values: &Map<String, Value>, field: Field) -> Option<String> {
        let text = self.draft.text(field)?;
        templates(values).expand(text).ok()
    }

    /// The configuration of a peer's builder that connects this package to the server of the run, and the fields
    /// that it replaces. Left out are templates that lead to the server, and those that cannot be filled in, which
    /// the builder reports, unless the field is supplied by the operators' peers.
    pub fn settings(&self, peer: &PeerOfRun<'_>, supplied: &BTreeSet<Supplied>) -> (Value, BTreeSet<Replaced>) {
        let PeerOfRun { values, connection, keeps_address } = *peer;
        let templates = templates(values);
        let (mut settings, mut replaced) = (Map::new(), BTreeSet::new());
        for (field, wanted) in self.wanted(connection, keeps_address) {
            let own = self.draft.text(field);
            let is_templated = own.is_some_and(|text| text.contains("{{"));
            let filled = own.map(|text| templates.expand(text)).transpose();
            if is_templated && filled.is_err() && !supplied.contains(&Supplied(field)) {
                continue;
            }
            let filled = filled.ok().flatten().unwrap_or_default();
            let is_same = match &wanted {
                Value::Bool(wanted) => is_true(&filled) == Some(*wanted),
                wanted => *wanted == filled.as_str(),
            };
            if !is_same {
                let run = if field.is_pem() { "that of the run".to_owned() } else { shown(&wanted) };
                replaced.insert(Replaced { field: field.name(), package: describe(field, own), run });
            }
            // The peer's environment has these two.
            let is_of_peer = matches!(field, Field::ClientCert | Field::ClientKey);
            let is_needless = is_of_peer || (is_templated && is_same);
            if !is_needless {
                settings.insert(field.name().to_owned(), wanted);
            }
        }
        (json!({ "labels": { &self.opened.metadata.label: settings } }), replaced)
    }

    /// The fields that must have these values for a connection to the server.
    fn wanted(&self, connection: &Connection, keeps_address: bool) -> Vec<(Field, Value)> {
        let mut wanted = vec![
            (Field::TlsRequired, json!(connection.tls_required)),
            (Field::ClientAuthRequired, json!(connection.client_auth_required)),
        ];
        if connection.tls_required {
            wanted.push((Field::RootCert, json!(connection.root_cert)));
        }
        if connection.client_auth_required {
            wanted.extend([Field::ClientCert, Field::ClientKey].map(|field| (field, Value::Null)));
        }
        if !keeps_address {
            wanted.push((Field::Address, json!(connection.address)));
            if self.draft.text(Field::Domain).is_some() {
                let host = connection.address.rsplit_once(':').map_or("", |(host, _)| host);
                wanted.push((Field::Domain, json!(host.trim_matches(['[', ']']))));
            }
        }
        wanted
    }
}

fn templates(values: &Map<String, Value>) -> Templates {
    Templates::new(Some(&Value::from(values.clone()).to_string()))
}

/// The truth of a boolean field, as peers read it; absent is false.
fn is_true(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true),
        "" | "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false),
        _ => None,
    }
}

fn describe(field: Field, text: Option<&str>) -> String {
    match text {
        None => "nothing".to_owned(),
        Some(text) if field.is_pem() && text.contains("{{") => "a template".to_owned(),
        Some(text) if field == Field::ClientKey || text.contains("PRIVATE KEY") => "a private key".to_owned(),
        Some(_) if field.is_pem() => "a certificate".to_owned(),
        Some(text) => shown(&json!(text)),
    }
}

/// A short text without control characters.
fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(96).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Write as _;

    fn package(connection: &str) -> Result<OwnPackage, String> {
        let files = BTreeMap::from([(PathBuf::from(FILE), connection.as_bytes().to_vec())]);
        let metadata =
            ccaas_builder::metadata::Metadata { kind: "ccaas".into(), label: "own_1".into(), path: String::new() };
        let (bytes, _) =
            ccaas_builder::package::Contents { metadata, files }.to_bytes().map_err(|error| error_text(&error))?;
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

    fn settings(
        package: &OwnPackage,
        values: &[(&str, &str)],
        connection: &Connection,
        supplied: &[Field],
    ) -> (Value, BTreeSet<Replaced>) {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let peer = PeerOfRun { values: &values, connection, keeps_address: false };
        package.content().unwrap().settings(&peer, &supplied.iter().map(|field| Supplied(*field)).collect())
    }

    #[test]
    fn a_template_is_replaced_unless_it_leads_to_the_server() {
        let written = r#"{"address":"{{.host}}:7","tls_required":"{{.tls}}","client_auth_required":"1",
            "root_cert":"{{if eq .host \"a\"}}A{{else}}PEM{{end}}","domain":"{{.host}}"}"#;
        let package = package(written).unwrap();
        let connection = Connection { client_auth_required: true, ..connection(true) };
        let (left, replaced) = settings(&package, &[("host", "[::1]"), ("tls", "true")], &connection, &[]);
        assert_eq!(left["labels"]["own_1"], json!({"client_auth_required": true, "domain": "::1"}));
        let fields: Vec<_> = replaced.iter().map(|one| (one.field, one.package.as_str(), one.run.as_str())).collect();
        let of_peer = |field| (field, "nothing", "that of the run");
        assert_eq!(fields, [of_peer("client_cert"), of_peer("client_key"), ("domain", "{{.host}}", "::1")]);

        let (all, replaced) = settings(&package, &[("host", "a"), ("tls", "f")], &connection, &[]);
        let expected = json!({"address": "[::1]:7", "tls_required": true, "client_auth_required": true,
                              "root_cert": "PEM", "domain": "::1"});
        assert_eq!(all["labels"]["own_1"], expected);
        let fields: Vec<_> = replaced.iter().map(|one| one.field).collect();
        assert_eq!(fields, ["address", "client_cert", "client_key", "domain", "root_cert", "tls_required"]);
        assert_eq!(replaced.first().unwrap().package, "{{.host}}:7");

        let (some, _) = settings(&package, &[("tls", "true")], &connection, &[Field::Address]);
        assert_eq!(some["labels"]["own_1"], json!({"address": "[::1]:7", "client_auth_required": true}));
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
            let (settings, _) = settings(&package, &[], &connection(tls), &[]);
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
}
