//! connection.json: how a peer connects to a chaincode server. A [`Draft`] is the file of a package;
//! [`resolve`](crate::resolve()) applies a peer's settings and returns the [`Connection`] that the peer
//! reads (Fabric: `core/container/externalbuilder/instance.go`).

mod draft;

use std::fmt;

use fabric_primitives::duration;
use serde_json::{Map, Value};

pub use draft::Draft;
pub(crate) use draft::text as text_of_value;

use crate::json;

/// The file's name, in a package, a build and a release.
pub const FILE: &str = "connection.json";

/// The default of `dial_timeout`.
pub const DEFAULT_DIAL_TIMEOUT: &str = "3s";

/// A field of connection.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Field {
    /// `address`: host:port of the chaincode server. Required.
    Address,
    /// `client_auth_required`: whether the peer uses a client certificate. Default: false.
    ClientAuthRequired,
    /// `client_cert`: PEM of the peer's client certificate.
    ClientCert,
    /// `client_key`: PEM of the peer's client key.
    ClientKey,
    /// `dial_timeout`: timeout of a connection attempt. Default: 3s.
    DialTimeout,
    /// `domain`: expected name in the server's certificate instead of the host of `address`. Fabric 3,
    /// with `client_auth_required`.
    Domain,
    /// `root_cert`: PEM of the trusted certificates.
    RootCert,
    /// `tls_required`: whether to use TLS. Default: false, although Fabric's documentation says true.
    TlsRequired,
}

impl Field {
    /// Every field, sorted by name.
    pub const ALL: [Self; 8] = [
        Self::Address,
        Self::ClientAuthRequired,
        Self::ClientCert,
        Self::ClientKey,
        Self::DialTimeout,
        Self::Domain,
        Self::RootCert,
        Self::TlsRequired,
    ];

    /// The field's name in connection.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::ClientAuthRequired => "client_auth_required",
            Self::ClientCert => "client_cert",
            Self::ClientKey => "client_key",
            Self::DialTimeout => "dial_timeout",
            Self::Domain => "domain",
            Self::RootCert => "root_cert",
            Self::TlsRequired => "tls_required",
        }
    }

    /// The variable with which a peer overrides the field.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::Address => Some("CORE_CHAINCODE_ADDRESS"),
            Self::ClientAuthRequired => Some("CORE_CHAINCODE_CLIENT_AUTH_REQUIRED"),
            Self::ClientCert => Some("CORE_CHAINCODE_TLS_CLIENT_CERT"),
            Self::ClientKey => Some("CORE_CHAINCODE_TLS_CLIENT_KEY"),
            Self::DialTimeout => Some("CORE_CHAINCODE_TIMEOUT"),
            Self::RootCert => Some("CORE_CHAINCODE_ROOT_CERT"),
            Self::TlsRequired => Some("CORE_CHAINCODE_TLS_REQUIRED"),
            Self::Domain => None,
        }
    }

    /// Whether the field's value is PEM.
    pub fn is_pem(self) -> bool {
        matches!(self, Self::ClientCert | Self::ClientKey | Self::RootCert)
    }

    fn of_name(name: &str) -> Option<Self> {
        let folded = json::folded(name);
        Self::ALL.into_iter().find(|field| field.name() == folded)
    }
}

/// The connection.json that a peer reads. `Debug` prints no private key.
///
/// ```
/// use ccaas_builder::connection::Connection;
///
/// let connection = Connection { address: "mycc:9999".into(), ..Connection::default() };
/// assert_eq!(
///     String::from_utf8_lossy(&connection.to_bytes()),
///     r#"{"address":"mycc:9999","client_auth_required":false,"dial_timeout":"3s","tls_required":false}"#
/// );
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// host:port of the chaincode server.
    pub address: String,
    /// The expected name in the server's certificate; empty: the host of `address`.
    pub domain: String,
    /// A Go duration; empty: [`DEFAULT_DIAL_TIMEOUT`].
    pub dial_timeout: String,
    /// Whether to use TLS.
    pub tls_required: bool,
    /// Whether the peer uses `client_cert`.
    pub client_auth_required: bool,
    /// PEM or empty. Leave it empty in a package, and set it on each peer.
    pub client_key: String,
    /// PEM or empty.
    pub client_cert: String,
    /// PEM of the trusted certificates; required with TLS.
    pub root_cert: String,
    /// Fields unknown to Fabric.
    pub other: Map<String, Value>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.client_key.is_empty() { "none" } else { "masked" };
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("domain", &self.domain)
            .field("dial_timeout", &self.dial_timeout)
            .field("tls_required", &self.tls_required)
            .field("client_auth_required", &self.client_auth_required)
            .field("client_key", &key)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// The file as one line of JSON, sorted by name, without empty fields. Equal connections have equal
    /// bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut object = Map::new();
        for (name, value) in &self.other {
            if Field::of_name(name).is_none() {
                object.insert(name.clone(), value.clone());
            }
        }
        for field in Field::ALL {
            let value = match field {
                Field::Address => Value::from(self.address.as_str()),
                Field::ClientAuthRequired => Value::from(self.client_auth_required),
                Field::TlsRequired => Value::from(self.tls_required),
                Field::DialTimeout if self.dial_timeout.is_empty() => Value::from(DEFAULT_DIAL_TIMEOUT),
                Field::DialTimeout => Value::from(self.dial_timeout.as_str()),
                Field::ClientCert => Value::from(self.client_cert.as_str()),
                Field::ClientKey => Value::from(self.client_key.as_str()),
                Field::Domain => Value::from(self.domain.as_str()),
                Field::RootCert => Value::from(self.root_cert.as_str()),
            };
            if value != "" || field == Field::Address {
                object.insert(field.name().to_owned(), value);
            }
        }
        // The order of the map depends on the features of serde_json in the whole program.
        let mut value = Value::Object(object);
        value.sort_all_objects();
        value.to_string().into_bytes()
    }

    /// Whether the file is secret: it has a client key, or a private key in another field.
    pub fn has_key(&self) -> bool {
        !self.client_key.is_empty() || String::from_utf8_lossy(&self.to_bytes()).contains("PRIVATE KEY")
    }

    /// Address, TLS and timeout in a short phrase.
    pub fn summary(&self) -> String {
        let security = match (self.tls_required, self.client_auth_required) {
            (false, _) => "without TLS",
            (true, false) => "with TLS",
            (true, true) => "with mutual TLS",
        };
        format!("{} {security}, dial timeout {}", self.address, self.dial_timeout)
    }

    /// Parses the connection.json of a build output, exactly as the peer does.
    ///
    /// # Errors
    /// What the peer would reject, such as "a `tls_required` that is not true or false without quotes".
    pub fn from_built(bytes: &[u8]) -> Result<Self, String> {
        let mut connection = Self::default();
        for (name, value) in json::object(bytes)? {
            let Some(field) = Field::of_name(&name) else {
                connection.other.insert(name, value);
                continue;
            };
            let expected = match (field.text_of(&mut connection), value) {
                // Fabric parses every value as a duration, even an empty string or null.
                (Some(text), value) if field == Field::DialTimeout => match built_duration(&value) {
                    Some(duration) => {
                        *text = duration;
                        continue;
                    }
                    None => "a duration such as \"3s\"",
                },
                (_, Value::Null) => continue,
                (Some(text), Value::String(value)) => {
                    *text = value;
                    continue;
                }
                (Some(_), _) => "a string",
                (None, Value::Bool(value)) => {
                    match field {
                        Field::TlsRequired => connection.tls_required = value,
                        _ => connection.client_auth_required = value,
                    }
                    continue;
                }
                (None, _) => "true or false without quotes",
            };
            return Err(format!("a {} that is not {expected}", field.name()));
        }
        Ok(connection)
    }
}

/// A valid `dial_timeout`, as text.
fn built_duration(value: &Value) -> Option<String> {
    let text = text_of_value(Field::DialTimeout, value).ok()??;
    duration::parse(&text).is_ok().then_some(text)
}

impl Field {
    /// The text of the field in a connection, unless it is a boolean.
    fn text_of(self, connection: &mut Connection) -> Option<&mut String> {
        match self {
            Self::Address => Some(&mut connection.address),
            Self::ClientCert => Some(&mut connection.client_cert),
            Self::ClientKey => Some(&mut connection.client_key),
            Self::DialTimeout => Some(&mut connection.dial_timeout),
            Self::Domain => Some(&mut connection.domain),
            Self::RootCert => Some(&mut connection.root_cert),
            Self::ClientAuthRequired | Self::TlsRequired => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn written_connections_read_back_and_keep_unknown_fields() {
        let mut connection = Connection {
            address: "cc:1".into(),
            domain: "cc.example.com".into(),
            dial_timeout: "5s".into(),
            tls_required: true,
            client_auth_required: true,
            client_key: "k".into(),
            client_cert: "c".into(),
            root_cert: "r".into(),
            other: Map::new(),
        };
        connection.other.insert("z".into(), json!({"b": 1, "a": [null]}));
        // Go would use this spelling instead of the field above.
        connection.other.insert("TLS_Required".into(), json!(false));
        let bytes = connection.to_bytes();
        connection.other.remove("TLS_Required");
        assert_eq!(Connection::from_built(&bytes).unwrap(), connection);
        assert!(String::from_utf8(bytes).unwrap().ends_with(r#""z":{"a":[null],"b":1}}"#));
    }

    #[test]
    fn built_files_are_checked_as_by_a_peer() {
        let error = Connection::from_built(br#"{"tls_required":"true"}"#).unwrap_err();
        assert_eq!(error, "a tls_required that is not true or false without quotes");
        assert!(Connection::from_built(br#"{"address":1}"#).is_err());
        for (timeout, read) in
            [("\"5s\"", Some("5s")), ("5e9", Some("5s")), ("\"\"", None), ("null", None), ("{}", None)]
        {
            let built = Connection::from_built(format!(r#"{{"dial_timeout":{timeout}}}"#).as_bytes());
            assert_eq!(built.ok().map(|built| built.dial_timeout).as_deref(), read, "{timeout}");
        }
        assert!(Connection::from_built(br#"{"Address":"a","domain":null}"#).unwrap().address == "a");
    }

    #[test]
    fn debug_prints_no_key() {
        let connection = Connection { client_key: "SECRET".into(), ..Connection::default() };
        let shown = format!("{connection:?}");
        assert!(shown.contains("masked") && !shown.contains("SECRET"), "{shown}");
    }
}
