//! A node's own MSP from the files of its `msp` directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fabric_protos::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use serde::Deserialize;

use super::MspManager;
use super::setup::MspError;

/// A node's own MSP can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LocalMspError {
    /// The file that names the roles is no such YAML.
    #[error("failed unmarshalling configuration file config.yaml: {cause}")]
    Configuration {
        /// What the parser says.
        cause: String,
    },
    /// The file that names the roles names a certificate that is not there.
    #[error("failed loading OrganizationalUnit certificate at [{}]", .0.display())]
    MissingCertificate(PathBuf),
    /// What the files say can't be used.
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
    /// A node's own MSP from the files of its `msp` directory: paths relative to it, and contents.
    /// Files that have nothing to say about whom to trust are left alone.
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
        // A certificate that is not there is as good as none; Fabric only warns.
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

/// The PEM files of one directory, in the order of their names.
fn pem_files(files: &BTreeMap<PathBuf, Vec<u8>>, directory: &str) -> Vec<Vec<u8>> {
    let inside = files.iter().filter(|(path, _)| path.parent() == Some(Path::new(directory)));
    let pem = inside.filter(|(_, content)| super::certificate::pem_content(content).is_ok());
    pem.map(|(_, content)| content.clone()).collect()
}
