//! The configuration of a chaincode server, from environment variables or from code.
//!
//! The files that it names are read when the server starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{AddressError, ListenAddress};
use crate::protocol::Limits;
use crate::tls::TlsFiles;
use crate::variable;

/// Why a configuration is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The package ID is missing.
    #[error(
        "{} is not set: set it to the package ID that `peer lifecycle chaincode queryinstalled` prints",
        variable::CHAINCODE_ID
    )]
    NoChaincodeId,
    /// The address is missing.
    #[error("{} is not set: set it to host:port, such as 0.0.0.0:9999", variable::SERVER_ADDRESS)]
    NoAddress,
    /// The address is invalid.
    #[error("invalid {}", variable::SERVER_ADDRESS)]
    Address(#[source] AddressError),
    /// TLS is enabled and a file is missing.
    #[error(
        "{0} is not set, but TLS is enabled: set it to the path of a PEM file, or set {disabled}=true",
        disabled = variable::TLS_DISABLED
    )]
    NoTlsFile(&'static str),
    /// Another variable is invalid.
    #[error("invalid {variable}: {reason}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// Why it is invalid.
        reason: String,
    },
}

/// The configuration of a chaincode server.
///
/// ```
/// use chaincode_shim::{Config, ListenAddress, TlsFiles};
///
/// let address: ListenAddress = "0.0.0.0:9999".parse()?;
/// let tls = TlsFiles::new("/tls/server.key", "/tls/server.crt").with_client_ca("/tls/peers.crt");
/// let mut config = Config::new("basic_1.0:0123abcd", address).with_tls(tls);
/// config.stop_timeout = std::time::Duration::from_secs(20);
/// # Ok::<_, chaincode_shim::AddressError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The package ID. A peer rejects a chaincode that registers with another one.
    pub chaincode_id: String,
    /// The address to listen on; port 0 selects a free port.
    pub address: ListenAddress,
    /// The TLS files; `None` disables TLS.
    pub tls: Option<TlsFiles>,
    /// The limits of each stream.
    pub limits: Limits,
    /// The time that running transactions have to finish when the server stops. Default 8 s, which
    /// is within the 10 s of `docker stop`.
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

    /// Enables TLS with these files.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Reads the environment variables in [`variable`].
    ///
    /// # Errors
    ///
    /// When a variable is missing or invalid; the error names it.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// Reads the variables in [`variable`] from another source, such as command line flags. An empty
    /// value counts as missing.
    ///
    /// ```
    /// use chaincode_shim::{Config, variable};
    ///
    /// let config = Config::from_variables(|name| match name {
    ///     variable::CHAINCODE_ID => Some("basic_1.0:0123abcd".into()),
    ///     variable::SERVER_ADDRESS => Some("localhost:9999".into()),
    ///     _ => None,
    /// })?;
    /// assert!(config.tls.is_none());
    /// # Ok::<_, chaincode_shim::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a variable is missing or invalid; the error names it.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let value = |name| lookup(name).filter(|value| !value.is_empty());
        let text = |name| text(name, value(name));
        let file = |name| value(name).map(PathBuf::from);

        let chaincode_id = text(variable::CHAINCODE_ID)?.ok_or(ConfigError::NoChaincodeId)?;
        let address = text(variable::SERVER_ADDRESS)?.ok_or(ConfigError::NoAddress)?;
        let config = Self::new(chaincode_id, address.parse::<ListenAddress>().map_err(ConfigError::Address)?);
        let tls_disabled = text(variable::TLS_DISABLED)?.map_or(Ok(true), |text| parse_bool(&text))?;
        let (key, certificate) = (file(variable::TLS_KEY), file(variable::TLS_CERT));
        let client_ca = file(variable::CLIENT_CA_CERT);
        if tls_disabled {
            if key.is_some() || certificate.is_some() || client_ca.is_some() {
                let disabled = variable::TLS_DISABLED;
                tracing::warn!("TLS is disabled, ignoring the TLS files: set {disabled}=false to use them");
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

/// A value without surrounding white space, or `None` if nothing is left.
fn text(variable: &'static str, value: Option<OsString>) -> Result<Option<String>, ConfigError> {
    let invalid =
        |value: OsString| ConfigError::Invalid { variable, reason: format!("{} is not valid UTF-8", value.display()) };
    let text = value.map(OsString::into_string).transpose().map_err(invalid)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Parses a boolean like Go's `strconv.ParseBool`, since chaincodes in Go use the same variable.
fn parse_bool(text: &str) -> Result<bool, ConfigError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(ConfigError::Invalid {
            variable: variable::TLS_DISABLED,
            reason: format!("expected true or false, got {other:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Config::from_variables(lookup).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        })
    }

    const ID: (&str, &str) = (variable::CHAINCODE_ID, "basic:1");
    const ADDRESS: (&str, &str) = (variable::SERVER_ADDRESS, ":0");
    const KEY: (&str, &str) = (variable::TLS_KEY, "k");
    const CERT: (&str, &str) = (variable::TLS_CERT, "c");

    #[test]
    fn tls_is_off_by_default() {
        let plain = config(&[ID, ADDRESS]).unwrap();
        assert_eq!(plain.chaincode_id, "basic:1");
        assert!(plain.tls.is_none());
        let ca = (variable::CLIENT_CA_CERT, "ca");
        let ignored = config(&[ID, ADDRESS, KEY, CERT, ca]).unwrap();
        assert!(ignored.tls.is_none());
        let on = config(&[ID, ADDRESS, KEY, CERT, ca, (variable::TLS_DISABLED, "f")]).unwrap();
        let tls = on.tls.unwrap();
        assert_eq!(tls.key, PathBuf::from("k"));
        assert_eq!(tls.certificate, PathBuf::from("c"));
        assert_eq!(tls.client_ca, Some(PathBuf::from("ca")));
    }

    #[test]
    fn an_empty_value_counts_as_missing() {
        let no_ca = (variable::CLIENT_CA_CERT, "");
        let on = config(&[ID, ADDRESS, KEY, CERT, no_ca, (variable::TLS_DISABLED, "false")]).unwrap();
        assert_eq!(on.tls.unwrap().client_ca, None);
        assert!(config(&[ID, ADDRESS, (variable::TLS_DISABLED, "")]).unwrap().tls.is_none());
    }

    #[test]
    fn missing_and_invalid_variables_are_named() {
        for (variables, text) in [
            (&[ADDRESS][..], "CHAINCODE_ID is not set"),
            (&[(variable::CHAINCODE_ID, " "), ADDRESS], "CHAINCODE_ID is not set"),
            (&[ID], "CHAINCODE_SERVER_ADDRESS is not set"),
            (
                &[ID, (variable::SERVER_ADDRESS, "9999")],
                "invalid CHAINCODE_SERVER_ADDRESS: \"9999\" is not a listen address",
            ),
            (
                &[ID, ADDRESS, (variable::TLS_DISABLED, "no")],
                "invalid CHAINCODE_TLS_DISABLED: expected true or false, got \"no\"",
            ),
            (&[ID, ADDRESS, (variable::TLS_DISABLED, "0")], "CHAINCODE_TLS_KEY is not set, but TLS is enabled"),
        ] {
            let error = config(variables).unwrap_err();
            assert!(error.contains(text), "{variables:?}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf_8_is_rejected() {
        use std::os::unix::ffi::OsStringExt;
        let error = Config::from_variables(|_| Some(OsString::from_vec(vec![0xff]))).unwrap_err().to_string();
        assert_eq!(error, "invalid CHAINCODE_ID: \u{fffd} is not valid UTF-8");
    }
}
