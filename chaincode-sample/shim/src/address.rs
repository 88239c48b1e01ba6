//! The address to listen on: `host:port`, `:port` (all interfaces, as in Go) or `[IPv6]:port`.
//!
//! IP addresses and `localhost` need no resolver; other names do.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};

/// The time limit for resolving a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a listen address is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not a listen address: {reason}; expected host:port, such as 0.0.0.0:9999, :9999 or [::1]:9999")]
pub struct AddressError {
    address: String,
    reason: &'static str,
}

/// The address to listen on.
///
/// ```
/// use chaincode_shim::ListenAddress;
///
/// let address: ListenAddress = ":9999".parse().unwrap();
/// assert_eq!(address.to_string(), ":9999");
/// assert!("9999".parse::<ListenAddress>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    All,
    Ip(IpAddr),
    Name(String),
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        let invalid = |reason| AddressError { address: address.to_owned(), reason };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid("the port is missing"))?;
        let port = Some(port)
            .filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| invalid("the port is not a number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = if host.is_empty() {
            Host::All
        } else if let Some(host) = bracketed {
            let ip = host.parse::<Ipv6Addr>();
            Host::Ip(ip.map_err(|_| invalid("the text in brackets is not an IPv6 address"))?.into())
        } else if host.contains(':') {
            return Err(invalid("an IPv6 address needs brackets"));
        } else if let Ok(ip) = host.parse::<Ipv4Addr>() {
            Host::Ip(ip.into())
        } else if host.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter)) {
            Host::Name(host.to_owned())
        } else {
            return Err(invalid("the host is neither a name nor an IP address"));
        };
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::All => write!(formatter, ":{}", self.port),
            Host::Ip(ip) => write!(formatter, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(formatter, "{name}:{}", self.port),
        }
    }
}

impl ListenAddress {
    /// Binds the first of its addresses that is available.
    pub(crate) async fn bind(&self) -> io::Result<TcpListener> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.candidates().await? {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(listener),
                // Do not fall back to IPv4 if the port is in use on IPv6.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn candidates(&self) -> io::Result<Vec<SocketAddr>> {
        let ips = match &self.host {
            // The IPv6 socket also accepts IPv4 connections; the second address is for systems
            // without IPv6.
            Host::All => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) if name == "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
            Host::Name(name) => {
                let found = tokio::time::timeout(RESOLVE_TIMEOUT, lookup_host((name.as_str(), 0)));
                let found = found
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "timed out after 5 s resolving the name"))??;
                found.map(|address| address.ip()).collect()
            }
        };
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_parsed_and_formatted() {
        for text in [
            ":9999",
            "0.0.0.0:9999",
            "127.0.0.1:0",
            "[::1]:9999",
            "[::]:65535",
            "localhost:9999",
            "asset-transfer-basic.org1.example.com:9999",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn an_invalid_address_is_rejected_with_the_reason() {
        for (text, reason) in [
            ("", "the port is missing"),
            ("9999", "the port is missing"),
            ("host:", "the port is not"),
            ("host:65536", "the port is not"),
            ("host:+1", "the port is not"),
            ("::1:9999", "needs brackets"),
            ("[::g]:9999", "not an IPv6 address"),
            ("http://host:9999", "needs brackets"),
            ("a host:9999", "neither a name"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[tokio::test]
    async fn all_interfaces_include_ipv4() {
        let address: ListenAddress = ":0".parse().unwrap();
        let listener = address.bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
}
