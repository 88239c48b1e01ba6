//! Applies a peer's settings to a package's connection.json and checks the result. Reports errors that
//! would otherwise appear as `context deadline exceeded` at the first transaction.
//!
//! For each field, the peer's setting takes precedence over the package. Templates are expanded only in
//! fields of the package that are used: without TLS, certificates are ignored.

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
/// ```
/// use ccaas_builder::connection::Draft;
/// use ccaas_builder::{Environment, resolve};
///
/// let draft = Draft::parse(br#"{"address":"basic:9999","dial_timeout":"soon"}"#).unwrap();
/// let findings = resolve(&draft, &Environment::default()).unwrap_err();
/// assert!(findings[0].to_string().starts_with(r#"connection.json: dial_timeout: found "soon", expected"#));
/// ```
///
/// # Errors
/// All findings if one of them is an error. Otherwise the warnings are part of the result.
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

/// The result of [`resolve`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// The connection.json that the peer reads.
    pub connection: Connection,
    /// Warnings for the operator.
    pub warnings: Vec<Finding>,
    /// The origin of each field that is set and used: connection.json, a variable, or a place in the
    /// configuration file.
    pub sources: BTreeMap<Field, String>,
}

/// A value and its origin for messages.
struct Setting {
    text: String,
    origin: String,
}

/// An error that is already in the findings.
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
        self.only_unknown_fields();
        self.key_in_package();
        self.values_unused();
        connection
    }

    fn address(&mut self) -> (String, Option<String>) {
        let Ok(setting) = self.setting(Field::Address) else {
            return (String::new(), None);
        };
        let Some(Setting { text, origin }) = setting else {
            self.error(
                FILE,
                Field::Address,
                "nothing",
                "host:port of the chaincode server; set it here or in CORE_CHAINCODE_ADDRESS on the peer",
            );
            return (String::new(), None);
        };
        let host = match address::parse(&text) {
            Ok(address) => address.host,
            Err(problem) => {
                self.error(&origin, Field::Address, quoted(&text), problem.to_string());
                None
            }
        };
        if matches!(host.as_deref(), Some("" | "0.0.0.0" | "::")) {
            self.warning(
                &origin,
                Field::Address,
                quoted(&text),
                "the server's host name or IP address; the peer would connect to itself",
            );
        }
        (text, host)
    }

    fn dial_timeout(&mut self) -> String {
        let Ok(Some(Setting { text, origin })) = self.setting(Field::DialTimeout) else {
            return DEFAULT_DIAL_TIMEOUT.to_owned();
        };
        match duration::parse(&text) {
            // The peer uses its default for zero.
            Ok(0) => DEFAULT_DIAL_TIMEOUT.to_owned(),
            Ok(1_000_000..) => text,
            Ok(_) => {
                let expected = "at least 1ms, such as \"3s\"; a number without quotes is in nanoseconds";
                self.error(&origin, Field::DialTimeout, quoted(&text), expected);
                text
            }
            Err(_) => {
                let expected = "a number with a unit of ns, us, ms, s, m or h, such as \"3s\" or \"1m30s\"";
                self.error(&origin, Field::DialTimeout, quoted(&text), expected);
                text
            }
        }
    }

    /// Accepts the values of Go's `strconv.ParseBool`.
    fn boolean(&mut self, field: Field) -> bool {
        let Ok(Some(Setting { text, origin })) = self.setting(field) else {
            return false;
        };
        match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
            "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
            _ => {
                self.error(&origin, field, quoted(&text), "true or false");
                false
            }
        }
    }

    fn domain(&mut self, client_auth: bool) -> String {
        let Ok(Some(Setting { text, origin })) = self.setting(Field::Domain) else {
            return String::new();
        };
        if !client_auth {
            self.warning(
                &origin,
                Field::Domain,
                quoted(&text),
                "client_auth_required to be true as well; the peer ignores domain otherwise",
            );
        }
        text
    }

    fn root_cert(&mut self, name: Option<&str>) -> String {
        let Ok(setting) = self.setting(Field::RootCert) else {
            return String::new();
        };
        let Some(Setting { text, origin }) = setting else {
            self.error(FILE, Field::RootCert, "nothing", "PEM of the CA certificate of the server, because tls_required is true; set it here or in CORE_CHAINCODE_ROOT_CERT on the peer");
            return String::new();
        };
        match tls::certificates(&text) {
            Err(problem) => self.error(&origin, Field::RootCert, problem.to_string(), "a PEM CERTIFICATE"),
            Ok(roots) => {
                self.validity(&origin, Field::RootCert, &roots);
                if let ([root], Some(name)) = (roots.as_slice(), name) {
                    self.root_is_server(&origin, root, name);
                }
            }
        }
        text
    }

    /// If the server's certificate is self-signed, it must have the name in the address.
    fn root_is_server(&mut self, origin: &str, root: &Certificate, name: &str) {
        let is_server = root.self_issued && (!root.authority || !root.names.is_empty());
        if is_server && !root.covers(name) {
            let names = if root.names.is_empty() { "no name".to_owned() } else { quoted(&root.names.join(", ")) };
            let found = format!("a self-signed certificate for {names} ({})", quoted(&root.subject));
            let expected = format!(
                "the subject alternative name {}; the peer rejects a server with this certificate",
                quoted(name)
            );
            self.warning(origin, Field::RootCert, found, expected);
        }
    }

    fn client_pair(&mut self) -> (String, String) {
        let cert = self.client_half(Field::ClientCert);
        let key = self.client_half(Field::ClientKey);
        let certificates = cert.as_ref().and_then(|Setting { text, origin }| match tls::certificates(text) {
            Ok(certificates) => Some(certificates),
            Err(problem) => {
                self.error(origin, Field::ClientCert, problem.to_string(), "a PEM CERTIFICATE of the peer");
                None
            }
        });
        if let (Some(certificates), Some(cert)) = (&certificates, &cert) {
            self.validity(&cert.origin, Field::ClientCert, &certificates[..1]);
            if !certificates[0].client_use {
                let found = format!("{} without the extended key usage clientAuth", quoted(&certificates[0].subject));
                self.warning(
                    &cert.origin,
                    Field::ClientCert,
                    found,
                    "a client certificate; most servers reject this one",
                );
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
                "PEM, because client_auth_required is true; set {variable} on the peer and list it in propagateEnvironment of core.yaml"
            );
            self.error(FILE, field, "nothing", expected);
        }
        setting
    }

    fn key_fits(&mut self, key: &Setting, certificate: Option<&Certificate>) {
        let expected = "an unencrypted PEM private key";
        match tls::public_key_of(&key.text) {
            Err(problem) => self.error(&key.origin, Field::ClientKey, problem.to_string(), expected),
            Ok(Some(public)) => {
                if let Some(Certificate { public_key: Some(certified), subject, .. }) = certificate
                    && *certified != public
                {
                    let found = "a key that does not match client_cert";
                    self.error(&key.origin, Field::ClientKey, found, format!("the private key of {}", quoted(subject)));
                }
            }
            Ok(None) => {}
        }
    }

    /// Fails if no certificate is valid now; advises if only some are not.
    fn validity(&mut self, origin: &str, field: Field, certificates: &[Certificate]) {
        let now = self.environment.now;
        let invalid: Vec<_> = certificates.iter().filter(|c| c.validity(now) != Validity::Valid).collect();
        let severity = if invalid.len() == certificates.len() { Severity::Error } else { Severity::Advice };
        for certificate in invalid {
            let problem = match certificate.validity(now) {
                Validity::Expired(end) => format!("which expired at {end}"),
                Validity::NotYet(start) => format!("which is not valid before {start}"),
                Validity::Valid => continue,
            };
            let found = format!("{}, {problem}", quoted(&certificate.subject));
            let expected = "a certificate that is valid now (by the peer's clock)";
            self.findings.push(Finding { severity, ..Finding::error(origin, field.name(), found, expected) });
        }
    }

    fn unused_without_tls(&mut self) {
        let given = self.draft.text(Field::RootCert).is_some() && self.draft.text(Field::TlsRequired).is_none();
        if given && self.environment.overrides.get(Field::TlsRequired).is_none() {
            self.warning(
                FILE,
                Field::TlsRequired,
                "nothing although root_cert is set",
                "true to use TLS; the default is false",
            );
        }
    }

    /// A file of another kind with this name, such as a connection profile.
    fn only_unknown_fields(&mut self) {
        if let (Some(name), true) = (self.draft.other.keys().next(), self.draft.is_empty()) {
            let found = format!("only fields that peers ignore, such as {}", quoted(name));
            self.findings.push(Finding::warning(
                FILE,
                "",
                found,
                "address, tls_required or another field that peers read",
            ));
        }
    }

    fn key_in_package(&mut self) {
        for field in Field::ALL.into_iter().filter(|field| field.is_pem()) {
            if self.draft.text(field).is_some_and(|text| text.contains("PRIVATE KEY")) {
                let expected = "none, because everyone with the package has the key; set CORE_CHAINCODE_TLS_CLIENT_KEY on each peer instead";
                self.findings.push(Finding::advice(FILE, field.name(), "a private key in the package", expected));
            }
        }
        for (name, value) in &self.draft.other {
            if value.to_string().contains("PRIVATE KEY") {
                let file = format!("{FILE}: {}", quoted(name));
                let expected = "none, because everyone with the package has the key; peers ignore this field";
                self.findings.push(Finding::advice(file, "", "a private key in the package", expected));
            }
        }
    }

    /// Warns of invalid template values that no template uses: Fabric's builder would fail.
    fn values_unused(&mut self) {
        let reported = self.findings.iter().any(|finding| finding.found.starts_with(crate::template::VARIABLE));
        if let (Some(problem), false) = (self.templates.problem(), reported) {
            let found = problem.to_owned();
            self.findings.push(Finding::warning(crate::template::VARIABLE, "", found, "a JSON object"));
        }
    }

    /// The value of a field: the peer's setting, or the package's value with its template expanded.
    fn setting(&mut self, field: Field) -> Result<Option<Setting>, Reported> {
        let setting = self.find(field)?;
        if let Some(setting) = &setting {
            self.sources.insert(field, setting.origin.clone());
        }
        Ok(setting)
    }

    fn find(&mut self, field: Field) -> Result<Option<Setting>, Reported> {
        if let Some(setting) = self.environment.overrides.get(field) {
            return self.peer_setting(field, setting).map(Some);
        }
        let Some(text) = self.draft.text(field) else {
            return Ok(None);
        };
        match self.templates.expand(text) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some(Setting { text: unescape_pem(field, text), origin: FILE.to_owned() })),
            Err(problem) => {
                let problem = problem.to_string();
                let problem =
                    problem.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>();
                self.error(FILE, field, problem, "a valid Go text/template with keys that this peer has");
                Err(Reported)
            }
        }
    }

    fn peer_setting(&mut self, field: Field, setting: &Override) -> Result<Setting, Reported> {
        let Some(path) = setting.path(field) else {
            return Ok(Setting { text: unescape_pem(field, setting.value.clone()), origin: setting.name.clone() });
        };
        let origin = format!("{} ({})", setting.name, quoted_path(path));
        let expected = if field.is_pem() {
            "PEM, or the path of a PEM file that the peer can read"
        } else {
            "a value, or the path of a file that the peer can read"
        };
        let found = match tree::read_trusted(Path::new(path), tree::MAX_CONNECTION) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) if field.is_pem() => return Ok(Setting { text, origin }),
                Ok(text) => return Ok(Setting { text: text.trim().to_owned(), origin }),
                Err(_) => "a file that is not UTF-8".to_owned(),
            },
            Err(problem) => format!("an unreadable file ({problem})"),
        };
        self.error(&origin, field, found, expected);
        Err(Reported)
    }

    fn error(&mut self, origin: &str, field: Field, found: impl Into<String>, expected: impl Into<String>) {
        self.findings.push(Finding::error(origin, field.name(), found, expected));
    }

    fn warning(&mut self, origin: &str, field: Field, found: impl Into<String>, expected: impl Into<String>) {
        self.findings.push(Finding::warning(origin, field.name(), found, expected));
    }
}

/// Restores line breaks in PEM with literal `\n`, as happens in variables.
fn unescape_pem(field: Field, text: String) -> String {
    if field.is_pem() && !text.trim().contains('\n') && text.contains("\\n") {
        return text.replace("\\r", "").replace("\\n", "\n");
    }
    text
}
