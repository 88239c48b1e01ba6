//! Parses the address of a chaincode server: host:port, or a gRPC target. Opens no connection.

use std::net::IpAddr;

use crate::quote::quoted;

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The name or IP address that the server's certificate must have; `None` for a Unix socket.
    pub(crate) host: Option<String>,
}

/// Why an address is invalid; the text says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is empty.
    #[error("host:port, such as \"mycc.example.com:9999\"")]
    Missing,
    /// An unsupported scheme.
    #[error("host:port without {}", quoted(&format!("{}://", .0)))]
    Scheme(String),
    /// No port or an invalid one.
    #[error("host:port with a port from 1 to 65535, such as \"mycc.example.com:9999\"")]
    Port,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address in brackets, such as \"[::1]:9999\"")]
    Brackets,
    /// A character that host names cannot have.
    #[error("a host name or IP address without {0:?}")]
    Character(char),
}

/// Parses an address as the peer's gRPC client does.
pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Missing);
    }
    let mut target = text;
    if let Some((scheme, rest)) = text.split_once("://") {
        match scheme {
            "dns" | "passthrough" => target = rest.split_once('/').map_or(rest, |(_, target)| target),
            "unix" | "unix-abstract" => return Ok(Address { host: None }),
            other => return Err(AddressError::Scheme(other.chars().take(20).collect())),
        }
    } else if text.starts_with("unix:/") {
        return Ok(Address { host: None });
    }
    let (host, port) = target.rsplit_once(':').ok_or(AddressError::Port)?;
    let host = host_of(host)?;
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Address { host: Some(host) }),
        _ => Err(AddressError::Port),
    }
}

fn host_of(host: &str) -> Result<String, AddressError> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(AddressError::Brackets)?;
        let unscoped = inner.split('%').next().unwrap_or(inner);
        return match unscoped.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => Ok(unscoped.to_owned()),
            _ => Err(AddressError::Brackets),
        };
    }
    if host.contains(':') {
        return Err(AddressError::Brackets);
    }
    match host.chars().find(|c| !(c.is_alphanumeric() || ".-_".contains(*c))) {
        Some(character) => Err(AddressError::Character(character)),
        None => Ok(host.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_addresses_are_parsed() {
        for (text, host) in [
            ("mycc:9999", Some("mycc")),
            ("my_cc.example.com:1", Some("my_cc.example.com")),
            ("127.0.0.1:65535", Some("127.0.0.1")),
            ("[::1]:9999", Some("::1")),
            ("[fe80::1%eth0]:9999", Some("fe80::1")),
            ("dns:///mycc:9999", Some("mycc")),
            ("dns://8.8.8.8/mycc:9999", Some("mycc")),
            (":9999", Some("")),
            ("unix:///run/cc.sock", None),
            ("unix:/run/cc.sock", None),
        ] {
            assert_eq!(parse(text).map(|address| address.host), Ok(host.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn an_error_stays_on_one_line() {
        let error = parse("a\nb://c:1").unwrap_err().to_string();
        assert_eq!(error, r#"host:port without "a\u{a}b://""#);
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        use AddressError::{Brackets, Character, Missing, Port, Scheme};
        for (text, error) in [
            ("", Missing),
            ("mycc", Port),
            ("mycc:", Port),
            ("mycc:0", Port),
            ("mycc:65536", Port),
            ("mycc:+80", Port),
            ("mycc:http", Port),
            ("https://mycc:9999", Scheme("https".into())),
            ("::1:9999", Brackets),
            ("[::1:9999", Brackets),
            ("[mycc]:9999", Brackets),
            ("my cc:9999", Character(' ')),
            ("<no value>:9999", Character('<')),
            ("a@b:1", Character('@')),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
