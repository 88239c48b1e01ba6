//! The address of a server that the user starts.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A host name or an IP address.
    pub host: String,
    /// The port; never 0.
    pub port: u16,
}

impl Address {
    /// Whether it is a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The same port on another host.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), port: self.port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("invalid address {text:?}: {what}; give HOST:PORT, such as localhost:9999");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("no port"))?;
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        let is_host = match (bracketed, host.parse::<IpAddr>()) {
            (Some(host), _) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            (None, Ok(address)) => address.is_ipv4(),
            (None, Err(_)) => host.len() <= 253 && host.split('.').all(is_label),
        };
        if !is_host {
            return Err(wrong("invalid host"));
        }
        let host = bracketed.unwrap_or(host).to_owned();
        if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            return Err(wrong("the unspecified address cannot be reached"));
        }
        Ok(Self { host, port })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, is_loopback) in
            [("localhost:9999", true), ("127.0.0.1:1", true), ("[::1]:65535", true), ("my-cc.example.com:80", false)]
        {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_loopback()), (text, is_loopback));
        }
        for (text, expected) in [
            ("localhost", "no port"),
            ("localhost:", "the port is not a number"),
            ("localhost:0", "the port is not a number"),
            ("localhost:65536", "the port is not a number"),
            (":9999", "invalid host"),
            ("::1:9999", "invalid host"),
            ("a b:9999", "invalid host"),
            ("./a:9999", "invalid host"),
            ("0.0.0.0:9999", "the unspecified address cannot be reached"),
            ("[::]:9999", "the unspecified address cannot be reached"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
