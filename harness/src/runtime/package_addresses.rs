//! The addresses at which a user's package lets peers look for its server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fabric_network::placement::is_host;

use super::ServerRequest;
use crate::server::ServerSource;

/// Addresses at which a runtime with names of its own can place the server: one port, and hosts that it makes resolve.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PackageAddresses {
    pub(super) port: u16,
    pub(super) hosts: BTreeSet<String>,
    /// The names that the server's certificate needs.
    pub(super) names: BTreeSet<String>,
}

impl PackageAddresses {
    /// Those of a server that the runtime starts; `None` if it cannot be there.
    pub(super) fn of(request: &ServerRequest<'_>) -> Option<Self> {
        let ServerRequest { source: ServerSource::Program(_) | ServerSource::Image(_), addresses, names, .. } = request
        else {
            return None;
        };
        let mut ports = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        for address in addresses {
            let (host, port) = address.rsplit_once(':')?;
            ports.insert(port.parse::<u16>().ok().filter(|port| *port > 0)?);
            hosts.insert(host.to_owned());
        }
        // TLS libraries such as rustls refuse a server name that ends like an IP address.
        let is_name = |host: &str| {
            let last = host.rsplit('.').next().unwrap_or_default();
            is_host(host) && !last.chars().all(|c| c.is_ascii_digit())
        };
        let is_found = |host: &String| match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_loopback(),
            Ok(IpAddr::V6(_)) => false,
            Err(_) => is_name(host),
        };
        let is_possible = ports.len() == 1 && hosts.iter().all(is_found) && names.iter().all(|name| is_name(name));
        let port = ports.pop_first().filter(|_| is_possible)?;
        Some(Self { port, names: hosts.union(names).cloned().collect(), hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_at_the_addresses_of_its_package_if_they_have_one_port_and_can_be_resolved() {
        let source = ServerSource::default();
        let port = |addresses: &[&str], name: &str| {
            let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let request = ServerRequest {
                addresses: texts(addresses),
                names: texts(&[name]),
                ..ServerRequest::new("basic", &source)
            };
            PackageAddresses::of(&request).map(|found| found.port)
        };
        assert_eq!(port(&["peer0org1_basic_ccaas:9999", "peer0org2_basic_ccaas:9999"], "x"), Some(9999));
        assert_eq!(port(&["127.0.0.1:9999"], "x"), Some(9999));
        for (addresses, name) in [
            (&[][..], "x"),
            (&["a:1", "b:2"], "x"),
            (&["a:0"], "x"),
            (&["10.0.0.1:9999"], "x"),
            (&["[::1]:9999"], "x"),
            (&["dns:///a:9999"], "x"),
            (&["a b:9999"], "x"),
            (&["a:9999"], "a b"),
            (&["basic_1.0:9999"], "x"),
            (&["a:9999"], "basic_1.0"),
            (&["a"], "x"),
        ] {
            assert_eq!(port(addresses, name), None, "{addresses:?} {name}");
        }
    }
}
