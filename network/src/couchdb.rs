//! A CouchDB that holds the world state of one peer: its address, user and password.
//!
//! It is given as a URL and written into the peer's configuration and environment. Nothing here connects to it
//! or shows its password.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// A text that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}

/// A CouchDB for one peer. Shown as its URL without user and password.
///
/// # Examples
///
/// ```
/// use fabric_network::couchdb::CouchDb;
///
/// let couchdb: CouchDb = "http://admin:s%40crt@couchdb0.example.com:5984".parse()?;
/// assert_eq!(couchdb.address(), "couchdb0.example.com:5984");
/// assert_eq!(couchdb.password().reveal(), "s@crt");
/// assert_eq!(couchdb.to_string(), "http://couchdb0.example.com:5984");
/// # Ok::<(), fabric_network::couchdb::CouchDbUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouchDb {
    host: Host,
    port: u16,
    username: String,
    password: Secret,
}

/// Why a peer cannot use a CouchDB's URL. The text does not contain the URL, which has a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CouchDbUrlError {
    /// Not a URL.
    #[error("invalid URL ({0}); give http://USER:PASSWORD@HOST:PORT")]
    Url(#[from] url::ParseError),
    /// Not plain HTTP.
    #[error("unsupported scheme {0}://, a peer uses plain HTTP for CouchDB; give http://USER:PASSWORD@HOST:PORT")]
    Scheme(String),
    /// The user or password is missing, or cannot be sent by HTTP or set in an environment.
    #[error("missing or invalid {0}; give those of an administrator as http://USER:PASSWORD@HOST:PORT")]
    Credentials(&'static str),
    /// A path, a query or a fragment.
    #[error("unsupported path, query or fragment; give only http://USER:PASSWORD@HOST:PORT")]
    Path,
}

impl CouchDb {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host: a name, or an IP address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user. Never empty, and without a colon.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password. Never empty.
    pub fn password(&self) -> &Secret {
        &self.password
    }
}

impl fmt::Display for CouchDb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.address())
    }
}

impl FromStr for CouchDb {
    type Err = CouchDbUrlError;

    /// Parses `http://USER:PASSWORD@HOST:PORT`. User and password may be percent-encoded; the default port is 80.
    fn from_str(text: &str) -> Result<Self, CouchDbUrlError> {
        let url = Url::parse(text)?;
        if url.scheme() != "http" {
            return Err(CouchDbUrlError::Scheme(url.scheme().to_owned()));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(CouchDbUrlError::Path);
        }
        let host = url.host().ok_or(url::ParseError::EmptyHost)?.to_owned();
        let username = credential("user", url.username())?;
        let password = credential("password", url.password().unwrap_or_default())?;
        // In basic authentication, everything after the first colon is the password.
        if username.contains(':') {
            return Err(CouchDbUrlError::Credentials("user"));
        }
        Ok(Self { host, port: url.port().unwrap_or(80), username, password: Secret::new(password) })
    }
}

/// The percent-decoded text. A peer sends neither user nor password when one of them is empty.
fn credential(what: &'static str, encoded: &str) -> Result<String, CouchDbUrlError> {
    let text = percent_decode_str(encoded).decode_utf8().map_err(|_| CouchDbUrlError::Credentials(what))?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(CouchDbUrlError::Credentials(what));
    }
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed() {
        let couchdb: CouchDb = "http://ad%3Bmin:p%40ss%3Aword%2F@[::1]:5984/".parse().unwrap();
        assert_eq!(couchdb.address(), "[::1]:5984");
        assert_eq!((couchdb.host(), couchdb.port()), ("::1".to_owned(), 5984));
        assert_eq!((couchdb.username(), couchdb.password().reveal()), ("ad;min", "p@ss:word/"));
        let plain: CouchDb = "http://a:b@couch".parse().unwrap();
        assert_eq!(plain.address(), "couch:80");
    }

    #[test]
    fn unusable_urls_are_rejected_with_the_expected_form() {
        for (url, expected) in [
            ("127.0.0.1:5984", "invalid URL"),
            ("http://", "invalid URL"),
            ("http://u:p@h:70000", "invalid URL"),
            ("https://u:p@h:6984", "unsupported scheme https://"),
            ("couchdb", "invalid URL"),
            ("http://h:5984", "missing or invalid user"),
            ("http://u@h:5984", "missing or invalid password"),
            ("http://:p@h:5984", "missing or invalid user"),
            ("http://u%3Av:p@h:5984", "missing or invalid user"),
            ("http://u:p%00@h:5984", "missing or invalid password"),
            ("http://u:%ff@h:5984", "missing or invalid password"),
            ("http://u:p@h:5984/mychannel_", "unsupported path"),
            ("http://u:p@h:5984?q", "unsupported path"),
        ] {
            let error = url.parse::<CouchDb>().unwrap_err().to_string();
            assert!(error.starts_with(expected) && error.contains("http://USER:PASSWORD@HOST:PORT"), "{url}: {error}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let couchdb: CouchDb = "http://admin:topsecret@h:5984".parse().unwrap();
        let wrong = "ftp://admin:topsecret@h:5984/topsecret".parse::<CouchDb>().unwrap_err();
        for text in [format!("{couchdb} {couchdb:?}"), format!("{wrong} {wrong:?}"), format!("{}", couchdb.password)] {
            assert!(!text.contains("topsecret"), "{text}");
        }
    }
}
