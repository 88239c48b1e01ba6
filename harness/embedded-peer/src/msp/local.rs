//! A node's own MSP from the files of its `msp` directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fabric_protos::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use serde::Deserialize;

use super::MspManager;
use super::setup::MspError;

/// A node's own MSP is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalMspError {
    /// `config.yaml` is malformed.
    #[error("failed unmarshalling configuration file config.yaml: {cause}")]
    Configuration {
        /// The parser's error.
        cause: String,
    },
    /// A certificate that `config.yaml` refers to is missing.
    #[error("failed loading OrganizationalUnit certificate at [{}]", .0.display())]
    MissingCertificate(PathBuf),
    /// The MSP is invalid.
    #[error(transparent)]
    Msp(#[from] MspError),
}

/// `config.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configuration {
    organizational_unit_identifiers: Vec<Unit>,
    #[serde(rename = "NodeOUs")]
    node_ous: Option<NodeUnits>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Unit {
    certificate: PathBuf,
    organizational_unit_identifier: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeUnits {
    #[serde(rename = "Enable")]
    enable: bool,
    #[serde(rename = "ClientOUIdentifier")]
    client: Option<Unit>,
    #[serde(rename = "PeerOUIdentifier")]
    peer: Option<Unit>,
    #[serde(rename = "AdminOUIdentifier")]
    admin: Option<Unit>,
    #[serde(rename = "OrdererOUIdentifier")]
    orderer: Option<Unit>,
}

impl MspManager {
    /// A node's own MSP from the files of its `msp` directory, by relative path. Other files are ignored.
    ///
    /// # Errors
    /// [`LocalMspError`].
    pub fn from_files(msp_id: &str, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Self, LocalMspError> {
        let configuration: Configuration = match files.get(Path::new("config.yaml")) {
            Some(text) => serde_saphyr::from_slice(text)
                .map_err(|error| LocalMspError::Configuration { cause: error.to_string() })?,
            None => Configuration::default(),
        };
        let mut units = Vec::new();
        for unit in configuration.organizational_unit_identifiers {
            let certificate = files.get(&unit.certificate).cloned();
            let certificate = certificate.ok_or(LocalMspError::MissingCertificate(unit.certificate))?;
            let organizational_unit_identifier = unit.organizational_unit_identifier;
            units.push(FabricOuIdentifier { certificate, organizational_unit_identifier });
        }
        let config = FabricMspConfig {
            name: msp_id.to_owned(),
            root_certs: pem_files(files, "cacerts"),
            intermediate_certs: pem_files(files, "intermediatecerts"),
            admins: pem_files(files, "admincerts"),
            revocation_list: pem_files(files, "crls"),
            organizational_unit_identifiers: units,
            crypto_config: Some(FabricCryptoConfig {
                signature_hash_family: "SHA2".to_owned(),
                identity_identifier_hash_function: "SHA256".to_owned(),
            }),
            tls_root_certs: pem_files(files, "tlscacerts"),
            tls_intermediate_certs: pem_files(files, "tlsintermediatecerts"),
            fabric_node_ous: configuration.node_ous.filter(|units| units.enable).map(|units| node_units(units, files)),
            signing_identity: None,
        };
        Ok(Self::local(config)?)
    }
}

fn node_units(units: NodeUnits, files: &BTreeMap<PathBuf, Vec<u8>>) -> FabricNodeOUs {
    let unit = |unit: Option<Unit>| {
        let unit = unit.filter(|unit| !unit.organizational_unit_identifier.is_empty())?;
        // A missing certificate is ignored; Fabric only logs a warning.
        let certificate = files.get(&unit.certificate).cloned().unwrap_or_default();
        Some(FabricOuIdentifier { certificate, organizational_unit_identifier: unit.organizational_unit_identifier })
    };
    FabricNodeOUs {
        enable: true,
        client_ou_identifier: unit(units.client),
        peer_ou_identifier: unit(units.peer),
        admin_ou_identifier: unit(units.admin),
        orderer_ou_identifier: unit(units.orderer),
    }
}

/// The PEM files of a directory, sorted by name.
fn pem_files(files: &BTreeMap<PathBuf, Vec<u8>>, directory: &str) -> Vec<Vec<u8>> {
    let inside = files.iter().filter(|(path, _)| path.parent() == Some(Path::new(directory)));
    let pem = inside.filter(|(_, content)| super::certificate::pem_content(content).is_ok());
    pem.map(|(_, content)| content.clone()).collect()
}
