//! Where chaincode servers are, and what their objects are called.

use std::path::Path;

use fabric_network::render::operator::kubernetes::objects::CHAINCODE_DIRECTORY;

use crate::runtime::chaincode::ChaincodePlacement;
use crate::runtime::error::RuntimeError;
use crate::server::ServerSource;

/// Where each chaincode server listens, in a pod of its own.
pub(super) const CHAINCODE_PORT: u16 = 9999;

/// A server in the cluster, or one that the cluster reaches.
pub(super) fn place_chaincode(
    name: &str,
    number: usize,
    source: &ServerSource,
    run: &Path,
) -> Result<ChaincodePlacement, RuntimeError> {
    let refused = |what: &'static str| Err(RuntimeError::OutOfReach { name: name.to_owned(), what });
    match source {
        ServerSource::Program(_) | ServerSource::Image(_) => Ok(ChaincodePlacement {
            address: format!("{}:{CHAINCODE_PORT}", instance_of(name, number)),
            listen: format!("0.0.0.0:{CHAINCODE_PORT}"),
            dial: None,
            directory: CHAINCODE_DIRECTORY.into(),
        }),
        ServerSource::Command { .. } => refused("is a command of this machine"),
        ServerSource::Address { address, .. } if address.is_loopback() => {
            refused("is at an address of this machine's loopback")
        }
        ServerSource::Address { address, directory } => Ok(ChaincodePlacement {
            address: address.to_string(),
            dial: Some(address.to_string()),
            listen: address.at("0.0.0.0").to_string(),
            directory: directory.clone().unwrap_or_else(|| run.join(name)),
        }),
    }
}

/// A DNS label made of the chaincode's name, which may have `_` and upper-case letters. No node's objects
/// have such a name, since these begin as the node's full name does.
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
