//! The value `MSP` of an organization: how its identities are verified and which roles they have.
//!
//! It has the settings of a node's `msp/config.yaml` with `NodeOUs`. No administrator's certificate is listed,
//! because the organizational unit `admin` makes an administrator.

use fabric_protos::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig};
use prost::Message;

use super::input::MspInput;

/// Fabric's number of an X.509 MSP (`msp/msp.go`).
const FABRIC: i32 = 0;

pub(super) fn configuration(msp: &MspInput) -> MspConfig {
    let ca = msp.ca_certificate_pem.as_bytes().to_vec();
    let unit = |name: &str| {
        Some(FabricOuIdentifier { certificate: ca.clone(), organizational_unit_identifier: name.to_owned() })
    };
    let config = FabricMspConfig {
        name: msp.msp_id.clone(),
        root_certs: vec![ca.clone()],
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".to_owned(),
            identity_identifier_hash_function: "SHA256".to_owned(),
        }),
        tls_root_certs: vec![msp.tls_ca_certificate_pem.as_bytes().to_vec()],
        fabric_node_ous: Some(FabricNodeOUs {
            enable: true,
            client_ou_identifier: unit("client"),
            peer_ou_identifier: unit("peer"),
            admin_ou_identifier: unit("admin"),
            orderer_ou_identifier: unit("orderer"),
        }),
        ..FabricMspConfig::default()
    };
    MspConfig { r#type: FABRIC, config: config.encode_to_vec() }
}
