//! The settings of orderer.yaml that an orderer supports. Others are ignored.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Error as _;

/// The supported settings of orderer.yaml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct OrdererConfiguration {
    /// `General`.
    pub general: GeneralSection,
    /// `ChannelParticipation`.
    pub channel_participation: ParticipationSection,
    /// `Admin`.
    pub admin: AdminSection,
    /// `Operations`.
    pub operations: OperationsSection,
    /// `Metrics`.
    pub metrics: MetricsSection,
}

/// The section `Operations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct OperationsSection {
    /// Its TLS. The operations service is served only with TLS.
    #[serde(rename = "TLS")]
    pub tls: TlsSection,
}

/// The section `Metrics`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MetricsSection {
    /// The metrics provider; only `prometheus` is supported.
    pub provider: String,
}

/// The section `General`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GeneralSection {
    /// MSP ID of its organization.
    #[serde(rename = "LocalMSPID")]
    pub local_msp_id: String,
    /// The directory of its MSP, relative to the configuration.
    #[serde(rename = "LocalMSPDir")]
    pub local_msp_dir: PathBuf,
    /// TLS of its services.
    #[serde(rename = "TLS")]
    pub tls: TlsSection,
    /// How far a client's clock may differ.
    pub authentication: AuthenticationSection,
}

/// TLS files, relative to the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TlsSection {
    /// Whether TLS is enabled. Only the operations service reads it; the others always use TLS.
    pub enabled: bool,
    /// Certificate.
    pub certificate: PathBuf,
    /// Key.
    pub private_key: PathBuf,
    /// Whether clients must present a certificate.
    pub client_auth_required: bool,
    /// The root certificates of clients.
    #[serde(rename = "ClientRootCAs")]
    pub client_root_cas: Vec<PathBuf>,
}

/// The section `General.Authentication`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AuthenticationSection {
    /// How far the timestamp of a deliver request may differ. Default: 15 minutes.
    #[serde(deserialize_with = "crate::node::duration::deserialize")]
    pub time_window: Duration,
    /// Whether expired identities are taken. Default: no.
    pub no_expiration_checks: bool,
}

impl Default for AuthenticationSection {
    fn default() -> Self {
        Self { time_window: Duration::from_mins(15), no_expiration_checks: false }
    }
}

/// The section `ChannelParticipation`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ParticipationSection {
    /// Whether it is served.
    pub enabled: bool,
    /// The maximum size of a request's body, in bytes. Default: 0, which rejects every request, as in Fabric.
    #[serde(deserialize_with = "size")]
    pub max_request_body_size: u64,
}

/// The section `Admin`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AdminSection {
    /// TLS of the channel participation API.
    #[serde(rename = "TLS")]
    pub tls: TlsSection,
}

impl OrdererConfiguration {
    /// Reads an orderer.yaml.
    ///
    /// # Errors
    ///
    /// What is invalid in it.
    pub fn from_orderer_yaml(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

/// `1 MB`, `512k`, `1048576`; a kilobyte has 1024 bytes (`orderer/common/localconfig`).
fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).ok_or_else(|| D::Error::custom(format!("invalid size `{text}`")))
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let text = "General:\n  LocalMSPID: OrdererMSP\n  ListenPort: 7050\n  TLS: {Certificate: tls/server.crt}\n  \
                    Authentication: {TimeWindow: 1m}\nChannelParticipation: {Enabled: true, MaxRequestBodySize: 1 MB}\n\
                    Admin:\n  TLS: {ClientAuthRequired: true, ClientRootCAs: [tls/ca.crt]}\n";
        let configuration = OrdererConfiguration::from_orderer_yaml(text).unwrap();
        assert_eq!(configuration.general.local_msp_id, "OrdererMSP");
        assert_eq!(configuration.general.tls.certificate, PathBuf::from("tls/server.crt"));
        assert_eq!(configuration.general.authentication.time_window, Duration::from_mins(1));
        assert_eq!(configuration.channel_participation.max_request_body_size, 1024 * 1024);
        assert!(configuration.channel_participation.enabled && configuration.admin.tls.client_auth_required);
        assert_eq!(configuration.admin.tls.client_root_cas, [PathBuf::from("tls/ca.crt")]);
    }

    #[test]
    fn sizes_have_units_or_none() {
        assert_eq!(["7", "2k", "3 MB", "1g"].map(parse_size), [Some(7), Some(2048), Some(3 << 20), Some(1 << 30)]);
        assert_eq!(["", "MB", "1 XB", "99999999999999999g"].map(parse_size), [None; 4]);
    }
}
