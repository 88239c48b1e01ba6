//! The places of chaincode servers, and the names of their objects.

use std::path::Path;

use fabric_network::render::operator::kubernetes::objects::CHAINCODE_DIRECTORY;

use super::Error;
use crate::runtime::ChaincodePlacement;
use crate::runtime::chaincode::not_in_cluster;
use crate::server::ServerSource;

/// The port of each chaincode server, in a pod of its own.
pub(super) const CHAINCODE_PORT: u16 = 9999;

/// Places a server in the cluster, or one that the cluster reaches.
pub(super) fn place_chaincode(
    name: &str,
    number: usize,
    source: &ServerSource,
    run: &Path,
) -> Result<ChaincodePlacement, Error> {
    match source {
        ServerSource::Program(_) | ServerSource::Image(_) => Ok(ChaincodePlacement {
            address: format!("{}:{CHAINCODE_PORT}", instance_of(name, number)),
            listen: format!("0.0.0.0:{CHAINCODE_PORT}"),
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

/// A DNS label from the chaincode's name, which may have `_` and upper-case letters. It differs from the names
/// of nodes' objects, which begin like the node's full name.
pub(super) fn instance_of(name: &str, number: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.chars().map(plain).take(30).collect();
    format!("chaincode{number}-{}", label.trim_matches('-')).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::instance_of;

    #[test]
    fn a_chaincode_name_becomes_a_label() {
        assert_eq!(instance_of("asset-transfer_Basic", 0), "chaincode0-asset-transfer-basic");
        assert_eq!(instance_of("___", 12), "chaincode12");
        assert!(instance_of(&"x".repeat(90), 3).len() <= 52);
    }
}
