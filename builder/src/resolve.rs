//! From what a package says and what its peer sets to what the peer will dial. Finds, before the
//! peer does, what would only show as `context deadline exceeded` at the first transaction.
//!
//! Precedence, field by field: the peer's setting, then the package. Templates are expanded in the
//! package's fields only, and only in those that count: without TLS no certificate is looked at.

use std::collections::BTreeMap;
use std::path::Path;

use fabric_primitives::duration;

use crate::address;
use crate::connection::{Connection, DEFAULT_DIAL_TIMEOUT, Draft, FILE, Field};
use crate::environment::Environment;
use crate::finding::{Finding, Severity};
use crate::overrides::Override;
use crate::quote::{quoted, quoted_path};
use crate::template::Templates;
use crate::tls::{self, Certificate, Validity};
use crate::tree;

/// Applies a peer's settings to a package's connection.json and checks the result.
///
/// # Errors
/// Every finding, when one of them is an error. Otherwise the warnings come with the result.
pub fn resolve(draft: &Draft, environment: &Environment) -> Result<Resolved, Vec<Finding>> {
    let mut resolver = Resolver {
        draft,
        environment,
        templates: Templates::new(environment.template_values.as_deref()),
        findings: Vec::new(),
        sources: BTreeMap::new(),
    };
    let connection = resolver.connection();
    let Resolver { findings, sources, .. } = resolver;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    Ok(Resolved { connection, warnings: findings, sources })
}

/// What a peer will dial, and how it came to that.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// In the form that the peer reads.
    pub connection: Connection,
    /// What the operator should know.
    pub warnings: Vec<Finding>,
    /// Where each field is from that was set and looked at: connection.json, a variable, a place in
    /// the configuration file.
    pub sources: BTreeMap<Field, String>,
}

/// A value and where it is from, for messages.
struct Setting {
    text: String,
    from: String,
}

/// Stands for an error that is already among the findings.
struct Reported;

struct Resolver<'a> {
    draft: &'a Draft,
    environment: &'a Environment,
    templates: Templates,
    findings: Vec<Finding>,
    sources: BTreeMap<Field, String>,
}

impl Resolver<'_> {
    fn connection(&mut self) -> Connection {
        let mut connection = Connection { other: self.draft.other.clone(), ..Connection::default() };
        let (address, host) = self.address();
        connection.address = address;
        connection.dial_timeout = self.dial_timeout();
        connection.tls_required = self.boolean(Field::TlsRequired);
        if connection.tls_required {
            connection.client_auth_required = self.boolean(Field::ClientAuthRequired);
            connection.domain = self.domain(connection.client_auth_required);
            let name = if connection.client_auth_required && !connection.domain.is_empty() {
                Some(connection.domain.clone())
            } else {
                host
            };
            connection.root_cert = self.root_cert(name.as_deref());
            if connection.client_auth_required {
                (connection.client_cert, connection.client_key) = self.client_pair();
            }
        } else {
            self.unused_without_tls();
        }
        self.key_in_package();
        self.values_unused();
        connection
    }

    fn address(&mut self) -> (String, Option<String>) {
        let Ok(setting) = self.setting(Field::Address) else {
            return (String::new(), None);
        };
        let Some(Setting { text, from }) = setting else {
            self.error(
                FILE,
                Field::Address,
                "nothing",
                "host:port of the chaincode server, or CORE_CHAINCODE_ADDRESS on the peer",
            );
            return (String::new(), None);
        };
        let host = match address::parse(&text) {
            Ok(address) => address.host,
            Err(problem) => {
                self.error(&from, Field::Address, quoted(&text), problem.to_string());
                None
            }
        };
        if matches!(host.as_deref(), Some("" | "0.0.0.0" | "::")) {
            self.warning(
                &from,
                Field::Address,
                quoted(&text),
                "the server's own name or address; with this the peer dials itself",
            );
        }
        (text, host)
    }

    fn dial_timeout(&mut self) -> String {
        let Ok(Some(Setting { text, from })) = self.setting(Field::DialTimeout) else {
            return DEFAULT_DIAL_TIMEOUT.to_owned();
        };
        match duration::parse(&text) {
            // The peer takes zero for its default.
            Ok(0) => DEFAULT_DIAL_TIMEOUT.to_owned(),
            Ok(1_000_000..) => text,
            Ok(_) => {
                let expected = "at least 1ms, such as \"3s\"; a number without quotes counts nanoseconds";
                self.error(&from, Field::DialTimeout, quoted(&text), expected);
                text
            }
            Err(_) => {
                let expected = "a number with a unit of ns, us, ms, s, m or h, such as \"3s\" or \"1m30s\"";
                self.error(&from, Field::DialTimeout, quoted(&text), expected);
                text
            }
        }
    }

    /// The forms are those of Go's `strconv.ParseBool`.
    fn boolean(&mut self, field: Field) -> bool {
        let Ok(Some(Setting { text, from })) = self.setting(field) else {
            return false;
        };
        match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
            "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
            _ => {
                self.error(&from, field, quoted(&text), "true or false");
                false
            }
        }
    }

    fn domain(&mut self, client_auth: bool) -> String {
        let Ok(Some(Setting { text, from })) = self.setting(Field::Domain) else {
            return String::new();
        };
        if !client_auth {
            self.warning(
                &from,
                Field::Domain,
                quoted(&text),
                "client_auth_required with it: without that the peer ignores domain",
            );
        }
        text
    }

    fn root_cert(&mut self, name: Option<&str>) -> String {
        let Ok(setting) = self.setting(Field::RootCert) else {
            return String::new();
        };
        let Some(Setting { text, from }) = setting else {
            self.error(FILE, Field::RootCert, "nothing", "PEM of the certificate that issued the server's, because tls_required is true; or CORE_CHAINCODE_ROOT_CERT on the peer");
            return String::new();
        };
        match tls::certificates(&text) {
            Err(problem) => self.error(&from, Field::RootCert, problem.to_string(), "PEM with a CERTIFICATE"),
            Ok(roots) => {
                self.validity(&from, Field::RootCert, &roots);
                if let ([root], Some(name)) = (roots.as_slice(), name) {
                    self.root_is_server(&from, root, name);
                }
            }
        }
        text
    }

    /// A self-signed certificate of the server itself must carry the dialled name.
    fn root_is_server(&mut self, from: &str, root: &Certificate, name: &str) {
        let is_server = root.self_issued && (!root.authority || !root.names.is_empty());
        if is_server && !root.covers(name) {
            let names = if root.names.is_empty() { "no name".to_owned() } else { quoted(&root.names.join(", ")) };
            let found = format!("a self-signed certificate for {names} ({})", quoted(&root.subject));
            let expected = format!(
                "{} among its subject alternative names; if the server presents it, the peer refuses it",
                quoted(name)
            );
            self.warning(from, Field::RootCert, found, expected);
        }
    }

    fn client_pair(&mut self) -> (String, String) {
        let cert = self.client_half(Field::ClientCert);
        let key = self.client_half(Field::ClientKey);
        let certificates = cert.as_ref().and_then(|Setting { text, from }| match tls::certificates(text) {
            Ok(certificates) => Some(certificates),
            Err(problem) => {
                self.error(from, Field::ClientCert, problem.to_string(), "PEM with the peer's client CERTIFICATE");
                None
            }
        });
        if let (Some(certificates), Some(cert)) = (&certificates, &cert) {
            self.validity(&cert.from, Field::ClientCert, &certificates[..1]);
            if !certificates[0].client_use {
                let found = format!("{} without the extended key usage of a client", quoted(&certificates[0].subject));
                self.warning(&cert.from, Field::ClientCert, found, "clientAuth: most servers refuse it otherwise");
            }
        }
        if let Some(key) = &key {
            self.key_fits(key, certificates.as_ref().and_then(|certificates| certificates.first()));
        }
        let text = |setting: Option<Setting>| setting.map(|setting| setting.text).unwrap_or_default();
        (text(cert), text(key))
    }

    fn client_half(&mut self, field: Field) -> Option<Setting> {
        let setting = self.setting(field).ok()?;
        if setting.is_none() {
            let variable = field.variable().unwrap_or_default();
            let expected = format!(
                "PEM, because client_auth_required is true; set {variable} on the peer and have core.yaml propagate it"
            );
            self.error(FILE, field, "nothing", expected);
        }
        setting
    }

    fn key_fits(&mut self, key: &Setting, certificate: Option<&Certificate>) {
        let expected = "PEM with a private key, not encrypted";
        match tls::public_half(&key.text) {
            Err(problem) => self.error(&key.from, Field::ClientKey, problem.to_string(), expected),
            Ok(Some(public)) => {
                if let Some(Certificate { public_key: Some(certified), subject, .. }) = certificate
                    && *certified != public
                {
                    let found = "the key of another certificate";
                    self.error(
                        &key.from,
                        Field::ClientKey,
                        found,
                        format!("the private key of client_cert ({})", quoted(subject)),
                    );
                }
            }
            Ok(None) => {}
        }
    }

    /// One certificate within its validity is enough; others that are not get a warning.
    fn validity(&mut self, from: &str, field: Field, certificates: &[Certificate]) {
        let now = self.environment.now;
        let invalid: Vec<_> = certificates.iter().filter(|c| c.validity(now) != Validity::Valid).collect();
        let severity = if invalid.len() == certificates.len() { Severity::Error } else { Severity::Warning };
        for certificate in invalid {
            let since = match certificate.validity(now) {
                Validity::Expired(end) => format!("expired at {end}"),
                Validity::NotYet(start) => format!("not valid before {start}"),
                Validity::Valid => continue,
            };
            let found = format!("{} {since}", quoted(&certificate.subject));
            let expected = "a certificate that is valid now, by the clock of the peer";
            self.findings.push(Finding { severity, ..Finding::error(from, field.name(), found, expected) });
        }
    }

    fn unused_without_tls(&mut self) {
        let given = self.draft.text(Field::RootCert).is_some() && self.draft.text(Field::TlsRequired).is_none();
        if given && self.environment.overrides.get(Field::TlsRequired).is_none() {
            self.warning(
                FILE,
                Field::TlsRequired,
                "nothing but a root_cert",
                "true to use it: the peer takes a missing tls_required for false",
            );
        }
    }

    fn key_in_package(&mut self) {
        for field in Field::ALL.into_iter().filter(|field| field.is_pem()) {
            if self.draft.text(field).is_some_and(|text| text.contains("PRIVATE KEY")) {
                let expected =
                    "none: whoever has the package has the key; set CORE_CHAINCODE_TLS_CLIENT_KEY on each peer instead";
                self.warning(FILE, field, "a private key in the package", expected);
            }
        }
        for (name, value) in &self.draft.other {
            if value.to_string().contains("PRIVATE KEY") {
                let file = format!("{FILE}: {}", quoted(name));
                let expected = "none: whoever has the package has the key, and no peer uses this field";
                self.findings.push(Finding::warning(file, "", "a private key in the package", expected));
            }
        }
    }

    /// A malformed variable that no template needed: Fabric's own builder would have failed.
    fn values_unused(&mut self) {
        let reported = self.findings.iter().any(|finding| finding.found.starts_with(crate::template::VARIABLE));
        if let (Some(problem), false) = (self.templates.problem(), reported) {
            let found = format!("a value that {problem}");
            self.findings.push(Finding::warning(crate::template::VARIABLE, "", found, "a JSON object"));
        }
    }

    /// The value of a field: the peer's, else the package's with its template filled in.
    fn setting(&mut self, field: Field) -> Result<Option<Setting>, Reported> {
        let setting = self.find(field)?;
        if let Some(setting) = &setting {
            self.sources.insert(field, setting.from.clone());
        }
        Ok(setting)
    }

    fn find(&mut self, field: Field) -> Result<Option<Setting>, Reported> {
        if let Some(setting) = self.environment.overrides.get(field) {
            return self.of_peer(field, setting).map(Some);
        }
        let Some(text) = self.draft.text(field) else {
            return Ok(None);
        };
        match self.templates.expand(text) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(Setting { text: lines(field, text), from: FILE.to_owned() })),
            Err(problem) => {
                let problem = problem.to_string();
                let problem =
                    problem.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>();
                self.error(FILE, field, problem, "a Go text/template over the keys that this peer has");
                Err(Reported)
            }
        }
    }

    fn of_peer(&mut self, field: Field, setting: &Override) -> Result<Setting, Reported> {
        let Some(path) = setting.path(field) else {
            return Ok(Setting { text: lines(field, setting.value.clone()), from: setting.name.clone() });
        };
        let from = format!("{} ({})", setting.name, quoted_path(path));
        let expected = if field.is_pem() {
            "PEM, or the path of a file with it that the peer can read"
        } else {
            "a value, or the path of a file that the peer can read"
        };
        let found = match tree::read_trusted(Path::new(path), tree::MAX_CONNECTION) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) if field.is_pem() => return Ok(Setting { text, from }),
                Ok(text) => return Ok(Setting { text: text.trim().to_owned(), from }),
                Err(_) => "a file that is not text".to_owned(),
            },
            Err(problem) => format!("a path that cannot be read ({problem})"),
        };
        self.error(&from, field, found, expected);
        Err(Reported)
    }

    fn error(&mut self, file: &str, field: Field, found: impl Into<String>, expected: impl Into<String>) {
        self.findings.push(Finding::error(file, field.name(), found, expected));
    }

    fn warning(&mut self, file: &str, field: Field, found: impl Into<String>, expected: impl Into<String>) {
        self.findings.push(Finding::warning(file, field.name(), found, expected));
    }
}

/// PEM that lost its line ends to one escaping too many, as happens in variables, gets them back.
fn lines(field: Field, text: String) -> String {
    if field.is_pem() && !text.trim().contains('\n') && text.contains("\\n") {
        return text.replace("\\r", "").replace("\\n", "\n");
    }
    text
}
