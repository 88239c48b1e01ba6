//! connection.json, in which a builder describes how to reach a chaincode server.
//!
//! Follows Fabric's core/container/externalbuilder/instance.go.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use super::go;

const DEFAULT_DIAL_TIMEOUT: i64 = 3_000_000_000;

/// The connection settings of a chaincode server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Host and port, or another gRPC target.
    pub address: String,
    /// The dial timeout in nanoseconds; a negative value expires immediately.
    pub dial_timeout: i64,
    /// `None` for plain text.
    pub tls: Option<TlsInfo>,
}

/// TLS settings for a chaincode server.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// PEM root certificates for the server's certificate.
    pub root_certificates: String,
    /// PEM certificate and key of the client, if the server requires them.
    pub client: Option<(String, String)>,
    /// The expected name in the server's certificate, if it is not the address's host.
    pub server_name: Option<String>,
}

/// Hides the client's key.
impl std::fmt::Debug for ServerInfo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServerInfo")
            .field("address", &self.address)
            .field("dial_timeout", &self.dial_timeout)
            .field("is_tls", &self.tls.is_some())
            .field("has_client_certificate", &self.tls.as_ref().is_some_and(|tls| tls.client.is_some()))
            .finish()
    }
}

/// Why a connection.json is unusable. The texts are Fabric's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The file cannot be read.
    #[error("could not read '{path}' for chaincode info: open {path}: {reason}")]
    Read {
        /// The file's path.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The content is invalid.
    #[error("malformed chaincode info at '{path}': {reason}")]
    Malformed {
        /// The file's path.
        path: String,
        /// The reason.
        reason: String,
    },
    /// `address` is missing.
    #[error("chaincode address not provided")]
    Address,
    /// `client_auth_required` without `client_key`.
    #[error("chaincode tls key not provided")]
    ClientKey,
    /// `client_auth_required` without `client_cert`.
    #[error("chaincode tls cert not provided")]
    ClientCertificate,
    /// `tls_required` without `root_cert`.
    #[error("chaincode tls root cert not provided")]
    RootCertificate,
}

impl ServerInfo {
    /// Reads a connection.json; `None` if the file does not exist.
    pub(super) fn read(path: &Path, knows_domain: bool) -> Result<Option<Self>, ConnectionError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let path = path.display().to_string();
                return Err(ConnectionError::Read { path, reason: go::os_error(&error) });
            }
        };
        let data = UserData::parse(&bytes)
            .map_err(|reason| ConnectionError::Malformed { path: path.display().to_string(), reason })?;
        data.server(knows_domain).map(Some)
    }
}

/// The content of the file.
#[derive(Default)]
struct UserData {
    address: String,
    domain: String,
    dial_timeout: i64,
    tls_required: bool,
    client_auth_required: bool,
    client_key: String,
    client_cert: String,
    root_cert: String,
}

impl UserData {
    /// The error is Go's text.
    fn parse(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| go::json_error(&error))?;
        let members = match &value {
            Value::Object(members) => members,
            Value::Null => return Ok(Self::default()),
            other => {
                let kind = go::json_kind(other);
                return Err(format!(
                    "json: cannot unmarshal {kind} into Go value of type externalbuilder.ChaincodeServerUserData"
                ));
            }
        };
        // Go continues after a wrong type, but stops at an invalid duration and reports that one.
        let dial_timeout = duration(members)?;
        Ok(Self {
            address: text(members, "address")?,
            domain: text(members, "domain")?,
            dial_timeout,
            tls_required: boolean(members, "tls_required")?,
            client_auth_required: boolean(members, "client_auth_required")?,
            client_key: text(members, "client_key")?,
            client_cert: text(members, "client_cert")?,
            root_cert: text(members, "root_cert")?,
        })
    }

    fn server(self, knows_domain: bool) -> Result<ServerInfo, ConnectionError> {
        if self.address.is_empty() {
            return Err(ConnectionError::Address);
        }
        let dial_timeout = if self.dial_timeout == 0 { DEFAULT_DIAL_TIMEOUT } else { self.dial_timeout };
        if !self.tls_required {
            return Ok(ServerInfo { address: self.address, dial_timeout, tls: None });
        }
        if self.client_auth_required && self.client_key.is_empty() {
            return Err(ConnectionError::ClientKey);
        }
        if self.client_auth_required && self.client_cert.is_empty() {
            return Err(ConnectionError::ClientCertificate);
        }
        if self.root_cert.is_empty() {
            return Err(ConnectionError::RootCertificate);
        }
        let has_domain = self.client_auth_required && knows_domain && !self.domain.is_empty();
        let tls = TlsInfo {
            root_certificates: self.root_cert,
            client: self.client_auth_required.then_some((self.client_cert, self.client_key)),
            server_name: has_domain.then_some(self.domain),
        };
        Ok(ServerInfo { address: self.address, dial_timeout, tls: Some(tls) })
    }
}

fn wrong(name: &str, value: &Value, expected: &str) -> String {
    let kind = go::json_kind(value);
    format!("json: cannot unmarshal {kind} into Go struct field ChaincodeServerUserData.{name} of type {expected}")
}

fn text(members: &Map<String, Value>, name: &str) -> Result<String, String> {
    match go::json_member(members, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(name, other, "string")),
    }
}

fn boolean(members: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match go::json_member(members, name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(wrong(name, other, "bool")),
    }
}

fn duration(members: &Map<String, Value>) -> Result<i64, String> {
    match go::json_member(members, "dial_timeout") {
        None => Ok(0),
        #[allow(clippy::cast_possible_truncation, reason = "nanoseconds; values out of range saturate")]
        Some(Value::Number(number)) => Ok(number.as_f64().unwrap_or_default() as i64),
        Some(Value::String(text)) => fabric_primitives::duration::parse(text).map_err(|error| error.to_string()),
        Some(_) => Err("invalid duration".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(json: &str) -> Result<ServerInfo, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("connection.json");
        fs::write(&path, json).unwrap();
        match ServerInfo::read(&path, true) {
            Ok(info) => Ok(info.unwrap()),
            Err(error) => Err(error.to_string().replace(&path.display().to_string(), "PATH")),
        }
    }

    #[test]
    fn a_missing_file_means_no_server() {
        assert_eq!(ServerInfo::read(Path::new("/nowhere/connection.json"), true), Ok(None));
    }

    #[test]
    fn missing_fields_use_fabric_defaults() {
        let info = server(r#"{"address": "cc:9999"}"#).unwrap();
        assert_eq!(info, ServerInfo { address: "cc:9999".to_owned(), dial_timeout: 3_000_000_000, tls: None });
        assert_eq!(server(r#"{"Address": "cc:1", "dial_timeout": 5}"#).unwrap().dial_timeout, 5);
        assert_eq!(server(r#"{"address": "cc:1", "dial_timeout": "-1s"}"#).unwrap().dial_timeout, -1_000_000_000);
    }

    #[test]
    fn domain_requires_a_client_certificate_and_3_1() {
        let json = r#"{"address":"a:1","domain":"cc.example","tls_required":true,"root_cert":"R","client_auth_required":AUTH,"client_key":"K","client_cert":"C"}"#;
        let name = |json: &str, knows_domain| {
            UserData::parse(json.as_bytes()).unwrap().server(knows_domain).unwrap().tls.unwrap().server_name
        };
        assert_eq!(name(&json.replace("AUTH", "true"), true).as_deref(), Some("cc.example"));
        assert_eq!(name(&json.replace("AUTH", "false"), true), None);
        assert_eq!(name(&json.replace("AUTH", "true"), false), None);
    }

    #[test]
    fn errors_have_fabric_texts() {
        for (json, words) in [
            (r#"{"address":""}"#, "chaincode address not provided"),
            (
                r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"client_cert":"C","root_cert":"R"}"#,
                "chaincode tls key not provided",
            ),
            (
                r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"client_key":"K","root_cert":"R"}"#,
                "chaincode tls cert not provided",
            ),
            (r#"{"address":"a:1","tls_required":true}"#, "chaincode tls root cert not provided"),
            (
                r#"{"address":"a:1","dial_timeout":"10"}"#,
                "malformed chaincode info at 'PATH': time: missing unit in duration \"10\"",
            ),
            (
                r#"{"address":"a:1","dial_timeout":""}"#,
                "malformed chaincode info at 'PATH': time: invalid duration \"\"",
            ),
            (r#"{"address":"a:1","dial_timeout":true}"#, "malformed chaincode info at 'PATH': invalid duration"),
            (
                r#"{"address":"a:1","tls_required":"true"}"#,
                "malformed chaincode info at 'PATH': json: cannot unmarshal string into Go struct field ChaincodeServerUserData.tls_required of type bool",
            ),
            (
                "[]",
                "malformed chaincode info at 'PATH': json: cannot unmarshal array into Go value of type externalbuilder.ChaincodeServerUserData",
            ),
            ("{", "malformed chaincode info at 'PATH': unexpected end of JSON input"),
        ] {
            assert_eq!(server(json).map(drop), Err(words.to_owned()), "{json}");
        }
    }

    #[test]
    fn debug_output_hides_keys() {
        let json = r#"{"address":"a:1","tls_required":true,"root_cert":"R","client_auth_required":true,"client_key":"SECRET","client_cert":"C"}"#;
        assert!(!format!("{:?}", server(json).unwrap()).contains("SECRET"));
    }
}
