//! The settings of core.yaml that a peer supports. Others are ignored.
//!
//! `chaincode` reads the chaincode settings.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::ledger::StateDatabase;

/// The supported settings of core.yaml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PeerConfiguration {
    /// `peer`.
    pub peer: PeerSection,
    /// `ledger`.
    pub ledger: LedgerSection,
    /// `operations`.
    pub operations: OperationsSection,
    /// `metrics`.
    pub metrics: MetricsSection,
}

/// The section `operations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OperationsSection {
    /// Its TLS. The operations service is served only with TLS.
    pub tls: TlsSection,
}

/// The section `metrics`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetricsSection {
    /// The metrics provider; only `prometheus` is supported.
    pub provider: String,
}

/// The section `peer`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PeerSection {
    /// Name of the peer.
    pub id: String,
    /// MSP ID of its organization.
    pub local_msp_id: String,
    /// The directory of its MSP, relative to the configuration. Default: `msp`.
    pub msp_config_path: PathBuf,
    /// The directory of its data, relative to the configuration.
    pub file_system_path: PathBuf,
    /// Its address for others, `HOST:PORT`.
    pub address: String,
    /// TLS of its services.
    pub tls: TlsSection,
    /// How far a client's clock may differ.
    pub authentication: AuthenticationSection,
    /// The gateway service.
    pub gateway: GatewaySection,
    /// The discovery service.
    pub discovery: DiscoverySection,
    /// Private data.
    pub gossip: GossipSection,
}

impl Default for PeerSection {
    fn default() -> Self {
        Self {
            id: String::new(),
            local_msp_id: String::new(),
            msp_config_path: "msp".into(),
            file_system_path: "data".into(),
            address: String::new(),
            tls: TlsSection::default(),
            authentication: AuthenticationSection::default(),
            gateway: GatewaySection::default(),
            discovery: DiscoverySection::default(),
            gossip: GossipSection::default(),
        }
    }
}

/// TLS files, relative to the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsSection {
    /// Whether TLS is enabled. Only the operations service reads it; the others always use TLS.
    pub enabled: bool,
    /// Certificate.
    pub cert: FileName,
    /// Key.
    pub key: FileName,
    /// Root certificate.
    #[serde(rename = "rootcert")]
    pub root_cert: FileName,
    /// Whether clients must present a certificate.
    pub client_auth_required: bool,
    /// The root certificates of clients.
    #[serde(rename = "clientRootCAs")]
    pub client_root_cas: FileNames,
}

/// `file: …`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileName {
    /// The file.
    pub file: PathBuf,
}

/// `files: […]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileNames {
    /// The files.
    pub files: Vec<PathBuf>,
}

/// The section `peer.authentication`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AuthenticationSection {
    /// How far the timestamp of a deliver request may differ. Default: 15 minutes.
    #[serde(deserialize_with = "crate::node::duration::deserialize")]
    pub timewindow: Duration,
}

impl Default for AuthenticationSection {
    fn default() -> Self {
        Self { timewindow: Duration::from_mins(15) }
    }
}

/// The section `peer.gateway`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewaySection {
    /// Whether it is served. Default: `true`.
    pub enabled: bool,
    /// The timeout of endorsers. Default: 30 s.
    #[serde(deserialize_with = "crate::node::duration::deserialize")]
    pub endorsement_timeout: Duration,
    /// The timeout of orderers. Default: 30 s.
    #[serde(deserialize_with = "crate::node::duration::deserialize")]
    pub broadcast_timeout: Duration,
}

impl Default for GatewaySection {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        Self { enabled: true, endorsement_timeout: timeout, broadcast_timeout: timeout }
    }
}

/// The section `peer.discovery`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DiscoverySection {
    /// Whether it is served. Default: `true`.
    pub enabled: bool,
    /// Whether members without the admin role may query the peer's organization.
    pub org_members_allowed_access: bool,
}

impl Default for DiscoverySection {
    fn default() -> Self {
        Self { enabled: true, org_members_allowed_access: false }
    }
}

/// The section `peer.gossip`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GossipSection {
    /// Private data between peers.
    pub pvt_data: PrivateDataSection,
}

/// The section `peer.gossip.pvtData`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PrivateDataSection {
    /// For how many blocks the transient store keeps private data. Default: 1000.
    #[serde(rename = "transientstoreMaxBlockRetention")]
    pub transient_store_max_block_retention: u64,
}

impl Default for PrivateDataSection {
    fn default() -> Self {
        Self { transient_store_max_block_retention: 1000 }
    }
}

/// The section `ledger`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LedgerSection {
    /// `ledger.state`.
    pub state: StateSection,
}

/// The section `ledger.state`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StateSection {
    /// The maximum number of rows in a query's result. Default: 100,000.
    pub total_query_limit: usize,
    /// `goleveldb` or `CouchDB`. Default: `goleveldb`.
    pub state_database: String,
}

impl StateSection {
    /// The database whose queries the world state supports. The state is in memory with either.
    pub fn database(&self) -> StateDatabase {
        if self.state_database == "CouchDB" { StateDatabase::CouchDb } else { StateDatabase::LevelDb }
    }
}

impl Default for StateSection {
    fn default() -> Self {
        Self { total_query_limit: 100_000, state_database: "goleveldb".to_owned() }
    }
}

impl PeerConfiguration {
    /// Reads a core.yaml.
    ///
    /// # Errors
    ///
    /// What is invalid in it.
    pub fn from_core_yaml(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_have_fabrics_defaults() {
        let text = "peer:\n  id: peer0\n  localMspId: Org1MSP\n  tls:\n    cert: {file: tls/server.crt}\n  \
                    gateway: {endorsementTimeout: 1m30s}\n  authentication: {timewindow: 5m}\nvm: {endpoint: ''}\n\
                    ledger: {state: {totalQueryLimit: 7}}\n";
        let configuration = PeerConfiguration::from_core_yaml(text).unwrap();
        let peer = &configuration.peer;
        assert_eq!((peer.id.as_str(), peer.local_msp_id.as_str()), ("peer0", "Org1MSP"));
        assert_eq!(peer.tls.cert.file, PathBuf::from("tls/server.crt"));
        assert_eq!(peer.gateway.endorsement_timeout, Duration::from_secs(90));
        assert_eq!(peer.gateway.broadcast_timeout, Duration::from_secs(30));
        assert_eq!(peer.authentication.timewindow, Duration::from_mins(5));
        assert_eq!(configuration.ledger.state.total_query_limit, 7);
        assert!(peer.discovery.enabled && peer.gateway.enabled);
        assert!(PeerConfiguration::from_core_yaml("peer: {authentication: {timewindow: soon}}").is_err());
    }
}
