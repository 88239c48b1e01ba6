//! A channel's configuration for discovery: the MSPs and the orderer endpoints
//! (`discovery/support/config`).

use std::collections::BTreeMap;

use fabric_protos::common::ConfigGroup;
use fabric_protos::discovery::{ConfigResult, Endpoint, Endpoints};
use fabric_protos::msp::{FabricMspConfig, MspConfig};
use prost::Message as _;

use crate::config::ChannelConfig;

/// The MSPs and orderers of a channel by MSP ID.
///
/// # Errors
///
/// Fabric's text if an MSP cannot be decoded or an address has no port.
pub(crate) fn of(config: &ChannelConfig) -> Result<ConfigResult, String> {
    let root = config.config().channel_group.as_ref().ok_or("field Config.ChannelGroup is nil")?;
    let group = |name: &str| {
        let missing = format!("key Config.ChannelGroup.Groups[{name}] is missing");
        root.groups.get(name).ok_or(missing)
    };
    let mut msps = BTreeMap::new();
    for organizations in [group("Orderer")?, group("Application")?] {
        for organization in organizations.groups.values() {
            let msp = msp_of(organization)?;
            msps.entry(msp.name.clone()).or_insert(msp);
        }
    }
    let organizations = config.orderer_organizations();
    let has_own = organizations.iter().any(|organization| !organization.endpoints.is_empty());
    let mut orderers = BTreeMap::new();
    for organization in organizations {
        let addresses = if has_own { &*organization.endpoints } else { config.orderer_addresses() };
        let endpoint = addresses.iter().map(|address| endpoint(address)).collect::<Result<_, _>>()?;
        orderers.insert(organization.msp_id.clone(), Endpoints { endpoint });
    }
    Ok(ConfigResult { msps, orderers })
}

fn msp_of(organization: &ConfigGroup) -> Result<FabricMspConfig, String> {
    let value = organization.values.get("MSP").map(|value| value.value.as_slice()).unwrap_or_default();
    let config = MspConfig::decode(value).map_err(|error| format!("failed parsing MSPConfig: {error}"))?;
    FabricMspConfig::decode(config.config.as_slice())
        .map_err(|error| format!("failed marshaling FabricMSPConfig: {error}"))
}

fn endpoint(address: &str) -> Result<Endpoint, String> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("failed parsing orderer endpoint {address}"))?;
    let port = port.parse().map_err(|_| format!("{port} is not a valid port number"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Endpoint { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_host_and_port() {
        let at = |host: &str, port| Ok(Endpoint { host: host.to_owned(), port });
        assert_eq!(endpoint("orderer.example.com:7050"), at("orderer.example.com", 7050));
        assert_eq!(endpoint("[::1]:7050"), at("::1", 7050));
        assert_eq!(endpoint("orderer"), Err("failed parsing orderer endpoint orderer".to_owned()));
        assert_eq!(endpoint("orderer:x"), Err("x is not a valid port number".to_owned()));
    }
}
