//! The places of chaincode servers, and the names of their objects.

use std::net::IpAddr;
use std::path::Path;

use fabric_network::render::operator::kubernetes::objects::CHAINCODE_DIRECTORY;

use super::Error;
use crate::runtime::chaincode::not_in_cluster;
use crate::runtime::package_addresses::PackageAddresses;
use crate::runtime::{ChaincodePlacement, ServerRequest};
use crate::server::ServerSource;

/// The port of a chaincode server, in a pod of its own, unless its package has another.
pub(super) const CHAINCODE_PORT: u16 = 9999;

/// Places a server in the cluster at this port, or one that the cluster reaches.
pub(super) fn place_chaincode(
    name: &str,
    number: usize,
    source: &ServerSource,
    run: &Path,
    port: u16,
) -> Result<ChaincodePlacement, Error> {
    match source {
        ServerSource::Program(_) | ServerSource::Image(_) => Ok(ChaincodePlacement {
            address: format!("{}:{port}", instance_of(name, number)),
            listen: format!("0.0.0.0:{port}"),
            dial: None,
            directory: CHAINCODE_DIRECTORY.into(),
        }),
        ServerSource::Address { address, directory } if !address.is_loopback() => Ok(ChaincodePlacement {
            address: address.to_string(),
            dial: Some(address.to_string()),
            listen: address.at("0.0.0.0").to_string(),
            directory: directory.clone().unwrap_or_else(|| run.join(name)),
        }),
        ServerSource::Command { .. } | ServerSource::Address { .. } => {
            Err(Error::OutOfReach { name: name.to_owned(), reason: not_in_cluster(source).unwrap_or_default() })
        }
    }
}

/// The addresses of a server's package, if the hosts file of a pod can have them. It cannot have a name with `_`, and a
/// server without privileges cannot listen on a port below 1024.
pub(super) fn package_addresses(request: &ServerRequest<'_>) -> Option<PackageAddresses> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| label.chars().all(is_plain) && !label.starts_with('-') && !label.ends_with('-');
    let is_alias = |host: &String| host.parse::<IpAddr>().is_err() && host.split('.').all(is_label);
    let found = PackageAddresses::of(request)?;
    (found.port >= 1024 && found.hosts.iter().all(is_alias)).then_some(found)
}

/// A DNS label from the chaincode's name, which may have `_` and upper-case letters. It differs from the names
/// of nodes' objects, which begin like the node's full name.
pub(super) fn instance_of(name: &str, number: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().map(plain).take(30).collect();
    format!("chaincode{number}-{}", label.trim_matches('-')).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chaincode_name_becomes_a_label() {
        assert_eq!(instance_of("asset-transfer_Basic", 0), "chaincode0-asset-transfer-basic");
        assert_eq!(instance_of("___", 12), "chaincode12");
        assert!(instance_of(&"x".repeat(90), 3).len() <= 52);
    }

    #[test]
    fn a_server_is_at_the_addresses_of_its_package_if_a_pod_can_resolve_them() {
        let source = ServerSource::default();
        let is_there = |address: &str| {
            let addresses = [address.to_owned()].into();
            package_addresses(&ServerRequest { addresses, ..ServerRequest::new("basic", &source) }).is_some()
        };
        for address in ["basic-ccaas:9999", "basic.org1.example.com:1024"] {
            assert!(is_there(address), "{address}");
        }
        for address in ["peer0org1_basic_ccaas:9999", "Basic:9999", "-a:9999", "basic:443", "127.0.0.1:9999"] {
            assert!(!is_there(address), "{address}");
        }
    }
}
