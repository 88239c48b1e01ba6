//! A CouchDB that holds the world state of one peer: where it is, and who may use it.
//!
//! It comes as a URL and goes into the peer's configuration and environment. Nothing here connects
//! to it, and nothing shows its password.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// A text that is never shown: not by `Debug`, not by `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who needs it.
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

/// A URL that is of no CouchDB that a peer can use. It does not show the URL, which has a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouchDbUrlError {
    /// No URL at all.
    #[error("no URL ({0}); give http://USER:PASSWORD@HOST:PORT")]
    Url(#[from] url::ParseError),
    /// Not plain HTTP.
    #[error("{0}:// is not possible, a peer speaks plain HTTP with CouchDB; give http://USER:PASSWORD@HOST:PORT")]
    Scheme(String),
    /// User or password is missing, or nothing that HTTP and an environment can carry.
    #[error("no {0} that a peer can send; give an administrator's as http://USER:PASSWORD@HOST:PORT")]
    Credentials(&'static str),
    /// A path, a query or a fragment.
    #[error("a path, which a peer can't be told; give http://USER:PASSWORD@HOST:PORT and no more")]
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

    /// Who uses it. Never empty, and without a colon.
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

    /// Reads `http://USER:PASSWORD@HOST:PORT`, where both may be percent-encoded. Without a port it is
    /// HTTP's own, 80.
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
        // Basic authentication takes everything after the first colon for the password.
        if username.contains(':') {
            return Err(CouchDbUrlError::Credentials("user"));
        }
        Ok(Self { host, port: url.port().unwrap_or(80), username, password: Secret::new(password) })
    }
}

/// The percent-decoded text, if a peer sends it: it sends neither of the two when one is empty.
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
    fn a_url_becomes_what_a_peer_is_told() {
        let couchdb: CouchDb = "http://ad%3Bmin:p%40ss%3Aword%2F@[::1]:5984/".parse().unwrap();
        assert_eq!(couchdb.address(), "[::1]:5984");
        assert_eq!((couchdb.host(), couchdb.port()), ("::1".to_owned(), 5984));
        assert_eq!((couchdb.username(), couchdb.password().reveal()), ("ad;min", "p@ss:word/"));
        let plain: CouchDb = "http://a:b@couch".parse().unwrap();
        assert_eq!(plain.address(), "couch:80");
    }

    #[test]
    fn what_a_peer_can_not_use_is_refused_with_the_form_that_it_can() {
        for (url, says) in [
            ("127.0.0.1:5984", "no URL"),
            ("http://", "no URL"),
            ("http://u:p@h:70000", "no URL"),
            ("https://u:p@h:6984", "https:// is not possible"),
            ("couchdb", "no URL"),
            ("http://h:5984", "no user"),
            ("http://u@h:5984", "no password"),
            ("http://:p@h:5984", "no user"),
            ("http://u%3Av:p@h:5984", "no user"),
            ("http://u:p%00@h:5984", "no password"),
            ("http://u:%ff@h:5984", "no password"),
            ("http://u:p@h:5984/mychannel_", "a path"),
            ("http://u:p@h:5984?q", "a path"),
        ] {
            let error = url.parse::<CouchDb>().unwrap_err().to_string();
            assert!(error.starts_with(says) && error.contains("http://USER:PASSWORD@HOST:PORT"), "{url}: {error}");
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
