//! What a chaincode server is told from outside: by environment variables,
//! by flags, or by code.
//!
//! The variables are those of fabric-samples'
//! `asset-transfer-basic/chaincode-external`. Files are read when the server
//! starts, not here.

use std::env::VarError;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{AddressError, ListenAddress};
use crate::protocol::Limits;
use crate::tls::TlsFiles;

/// Names of the environment variables.
pub mod variable {
    /// The package ID.
    pub const CHAINCODE_ID: &str = "CHAINCODE_ID";
    /// Where to listen.
    pub const SERVER_ADDRESS: &str = "CHAINCODE_SERVER_ADDRESS";
    /// Whether to do without TLS.
    pub const TLS_DISABLED: &str = "CHAINCODE_TLS_DISABLED";
    /// The private key, a PEM file.
    pub const TLS_KEY: &str = "CHAINCODE_TLS_KEY";
    /// The certificate and its chain, a PEM file.
    pub const TLS_CERT: &str = "CHAINCODE_TLS_CERT";
    /// The CAs of peers, a PEM file.
    pub const CLIENT_CA_CERT: &str = "CHAINCODE_CLIENT_CA_CERT";
}

/// Why a configuration is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No package ID.
    #[error(
        "{} is not set: give the package ID that `peer lifecycle chaincode queryinstalled` prints",
        variable::CHAINCODE_ID
    )]
    NoChaincodeId,
    /// No address.
    #[error("{} is not set: give host:port, like 0.0.0.0:9999", variable::SERVER_ADDRESS)]
    NoAddress,
    /// Not an address.
    #[error("{} cannot be used", variable::SERVER_ADDRESS)]
    Address(#[source] AddressError),
    /// TLS without what it needs.
    #[error(
        "{0} is not set, though TLS is on: give the path of a PEM file, or set {disabled}=true",
        disabled = variable::TLS_DISABLED
    )]
    NoTlsFile(&'static str),
    /// A value that is none.
    #[error("{variable} cannot be used: {reason}")]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// Why.
        reason: String,
    },
}

/// A chaincode server's configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The package ID; a peer that expects another refuses the chaincode.
    pub chaincode_id: String,
    /// Where to listen; port 0 takes a free one.
    pub address: ListenAddress,
    /// TLS, and mutual TLS if it names CAs; none is plain TCP.
    pub tls: Option<TlsFiles>,
    /// What one stream may ask.
    pub limits: Limits,
    /// How long running transactions may go on once the server is told to
    /// stop. Default 8 s, so that the 10 s of `docker stop` are enough.
    pub stop_timeout: Duration,
}

impl Config {
    /// A configuration without TLS.
    pub fn new(chaincode_id: impl Into<String>, address: impl Into<ListenAddress>) -> Self {
        Self {
            chaincode_id: chaincode_id.into(),
            address: address.into(),
            tls: None,
            limits: Limits::default(),
            stop_timeout: Duration::from_secs(8),
        }
    }

    /// With TLS from these files.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// What the environment variables say.
    ///
    /// # Errors
    ///
    /// When one is missing or wrong; the error names it.
    pub fn from_env() -> Result<Self, ConfigError> {
        let text = |name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(error @ VarError::NotUnicode(_)) => {
                Err(ConfigError::Unreadable { variable: name, reason: error.to_string() })
            }
        };
        Options {
            chaincode_id: text(variable::CHAINCODE_ID)?,
            address: text(variable::SERVER_ADDRESS)?,
            tls_disabled: text(variable::TLS_DISABLED)?,
            tls_key: std::env::var_os(variable::TLS_KEY),
            tls_cert: std::env::var_os(variable::TLS_CERT),
            client_ca_cert: std::env::var_os(variable::CLIENT_CA_CERT),
        }
        .into_config()
    }
}

/// The same as command line flags, for a program's own `clap` parser. A flag
/// goes before its variable; an empty value counts as none.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Package ID of the chaincode, as the peer printed it on install
    #[arg(long, env = variable::CHAINCODE_ID, value_name = "ID")]
    pub chaincode_id: Option<String>,
    /// Address to listen on; `:PORT` is every interface, port 0 a free port
    #[arg(long, env = variable::SERVER_ADDRESS, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// true (the default): do without TLS, the files below are ignored; false: use TLS
    #[arg(
        long, env = variable::TLS_DISABLED, value_name = "BOOL",
        num_args = 0..=1, default_missing_value = "true"
    )]
    pub tls_disabled: Option<String>,
    /// Private key of the server, a PEM file
    #[arg(long, env = variable::TLS_KEY, value_name = "FILE")]
    pub tls_key: Option<OsString>,
    /// Certificate of the server and its chain, a PEM file
    #[arg(long, env = variable::TLS_CERT, value_name = "FILE")]
    pub tls_cert: Option<OsString>,
    /// CA certificates of the peers; given, a peer must show a certificate of one of them
    #[arg(long, env = variable::CLIENT_CA_CERT, value_name = "FILE")]
    pub client_ca_cert: Option<OsString>,
}

impl Options {
    /// Checks what was given. Files are not read yet.
    ///
    /// # Errors
    ///
    /// When something is missing or wrong; the error names its variable.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let text = |value: Option<String>| value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let file = |path: Option<OsString>| path.filter(|path| !path.is_empty()).map(PathBuf::from);
        let (key, certificate) = (file(self.tls_key), file(self.tls_cert));
        let client_ca = file(self.client_ca_cert);

        let chaincode_id = text(self.chaincode_id).ok_or(ConfigError::NoChaincodeId)?;
        let address = text(self.address).ok_or(ConfigError::NoAddress)?;
        let address: ListenAddress = address.parse().map_err(ConfigError::Address)?;
        let config = Config::new(chaincode_id, address);
        let tls_disabled = text(self.tls_disabled).map_or(Ok(true), |text| parse_bool(&text))?;
        if tls_disabled {
            if key.is_some() || certificate.is_some() || client_ca.is_some() {
                tracing::warn!("TLS files are given and ignored: set {}=false to use them", variable::TLS_DISABLED);
            }
            return Ok(config);
        }
        Ok(config.with_tls(TlsFiles {
            key: key.ok_or(ConfigError::NoTlsFile(variable::TLS_KEY))?,
            certificate: certificate.ok_or(ConfigError::NoTlsFile(variable::TLS_CERT))?,
            client_ca,
        }))
    }
}

/// A truth value as Go's `strconv.ParseBool` takes it, since the variable is
/// shared with chaincode in Go.
fn parse_bool(text: &str) -> Result<bool, ConfigError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(ConfigError::Unreadable {
            variable: variable::TLS_DISABLED,
            reason: format!("{other:?} is neither true nor false"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn config(flags: &[&str]) -> Result<Config, String> {
        let flags = std::iter::once(&"program").chain(flags);
        let program = Program::try_parse_from(flags).map_err(|error| error.to_string())?;
        program.options.into_config().map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })
    }

    const BASE: [&str; 4] = ["--chaincode-id", "basic:1", "--address", ":0"];

    #[test]
    fn tls_is_off_unless_asked_for() {
        let plain = config(&BASE).unwrap();
        assert_eq!(plain.chaincode_id, "basic:1");
        assert!(plain.tls.is_none());
        let files = ["--tls-key", "k", "--tls-cert", "c", "--client-ca-cert", "ca"];
        let ignored = config(&[&BASE[..], &files].concat()).unwrap();
        assert!(ignored.tls.is_none());
        let on = config(&[&BASE[..], &files, &["--tls-disabled=f"]].concat()).unwrap();
        let tls = on.tls.unwrap();
        assert_eq!(tls.key, PathBuf::from("k"));
        assert_eq!(tls.certificate, PathBuf::from("c"));
        assert_eq!(tls.client_ca, Some(PathBuf::from("ca")));
    }

    #[test]
    fn an_empty_value_counts_as_none() {
        let flags = ["--tls-disabled", "false", "--tls-key", "k", "--tls-cert", "c"];
        let flags = [&BASE[..], &flags, &["--client-ca-cert", ""]].concat();
        assert_eq!(config(&flags).unwrap().tls.unwrap().client_ca, None);
        let flags = [&BASE[..], &["--tls-disabled", ""]].concat();
        assert!(config(&flags).unwrap().tls.is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_by_its_variable() {
        for (flags, text) in [
            (&["--address", ":0"][..], "CHAINCODE_ID is not set"),
            (&["--chaincode-id", "", "--address", ":0"], "CHAINCODE_ID is not set"),
            (&["--chaincode-id", "x"], "CHAINCODE_SERVER_ADDRESS is not set"),
            (
                &["--chaincode-id", "x", "--address", "9999"],
                "CHAINCODE_SERVER_ADDRESS cannot be used: \"9999\" is not an address",
            ),
            (&["--chaincode-id", "x", "--address", ":0", "--tls-disabled=no"], "neither true nor false"),
            (
                &["--chaincode-id", "x", "--address", ":0", "--tls-disabled=0"],
                "CHAINCODE_TLS_KEY is not set, though TLS is on",
            ),
        ] {
            let error = config(flags).unwrap_err();
            assert!(error.contains(text), "{flags:?}: {error}");
        }
    }
}
