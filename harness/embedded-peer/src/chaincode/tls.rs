//! The peer's TLS client for chaincode servers, with the rules and error texts of Go's x509: names
//! come only from SANs, an IP address needs an IP SAN, and a root certificate is trusted as a
//! server certificate.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::connection::TlsInfo;

/// The TLS configuration for a server. The error is Fabric's.
pub(super) fn client_config(info: &TlsInfo) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    // Invalid certificates are skipped, as in Go's certificate pools.
    for certificate in CertificateDer::pem_slice_iter(info.root_certificates.as_bytes()).flatten() {
        if roots.add(certificate.clone()).is_ok() {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("error adding root certificate".to_owned());
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let verifier = Arc::new(Verifier { webpki, roots: certificates });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &info.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = client_pair(certificate, key)
                .map_err(|error| format!("failed to load client certificate: failed to create key pair: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let reason = match error {
                    rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
                    other => format!("tls: {other}"),
                };
                format!("failed to load client certificate: failed to create key pair: {reason}")
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn client_pair(
    certificate: &str,
    key: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), &'static str> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).flatten().collect();
    if chain.is_empty() {
        return Err("tls: failed to find any PEM data in certificate input");
    }
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "tls: failed to find any PEM data in key input")?;
    Ok((chain, key))
}

/// Verifies server certificates as Go does.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(error) = verified else { return verified };
        let Ok((_, certificate)) = X509Certificate::from_der(end_entity) else { return Err(error) };
        // A certificate that is itself a root is accepted, whatever its extensions.
        if self.roots.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let validity = certificate.validity();
            if (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&at)
                && names(&certificate).matches(server_name)
            {
                return Ok(ServerCertVerified::assertion());
            }
        }
        Err(rustls::Error::General(verification_error(&error, &certificate, server_name, now)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// The names in a certificate.
struct Names {
    dns: Vec<String>,
    ip: Vec<std::net::IpAddr>,
    has_any: bool,
}

fn names(certificate: &X509Certificate<'_>) -> Names {
    let mut names = Names { dns: Vec::new(), ip: Vec::new(), has_any: false };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return names };
    names.has_any = !extension.value.general_names.is_empty();
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
                names.ip.extend(address.ok());
            }
            _ => {}
        }
    }
    names
}

impl Names {
    fn matches(&self, name: &ServerName<'_>) -> bool {
        match name {
            ServerName::DnsName(name) => self.dns.iter().any(|pattern| matches_pattern(pattern, name.as_ref())),
            ServerName::IpAddress(address) => self.ip.contains(&std::net::IpAddr::from(*address)),
            _ => false,
        }
    }
}

fn matches_pattern(pattern: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    match pattern.strip_prefix("*.") {
        Some(rest) => {
            name.split_once('.').is_some_and(|(first, tail)| !first.is_empty() && tail.eq_ignore_ascii_case(rest))
        }
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// Go's text for a rejected certificate.
fn verification_error(
    error: &rustls::Error,
    certificate: &X509Certificate<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> String {
    let reason = match error {
        rustls::Error::InvalidCertificate(reason) => reason,
        other => return format!("tls: failed to verify certificate: {other}"),
    };
    let text = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let (now, end) = (time_text(now.as_secs()), validity_text(certificate.validity().not_after.timestamp()));
            format!("x509: certificate has expired or is not yet valid: current time {now} is after {end}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let (now, start) = (time_text(now.as_secs()), validity_text(certificate.validity().not_before.timestamp()));
            format!("x509: certificate has expired or is not yet valid: current time {now} is before {start}")
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            name_error(&names(certificate), server_name)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "x509: certificate specifies an incompatible key usage".to_owned()
        }
        other => format!("x509: {other}"),
    };
    format!("tls: failed to verify certificate: {text}")
}

fn name_error(names: &Names, server_name: &ServerName<'_>) -> String {
    let wanted = server_name.to_str();
    match server_name {
        ServerName::IpAddress(_) if names.ip.is_empty() => {
            format!("x509: cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
        }
        ServerName::IpAddress(_) => {
            let valid: Vec<String> = names.ip.iter().map(ToString::to_string).collect();
            format!("x509: certificate is valid for {}, not {wanted}", valid.join(", "))
        }
        _ if !names.has_any => "x509: certificate relies on legacy Common Name field, use SANs instead".to_owned(),
        _ if names.dns.is_empty() => {
            format!("x509: certificate is not valid for any names, but wanted to match {wanted}")
        }
        _ => format!("x509: certificate is valid for {}, not {wanted}", names.dns.join(", ")),
    }
}

fn validity_text(timestamp: i64) -> String {
    time_text(u64::try_from(timestamp).unwrap_or(0))
}

/// A UTC time in Go's RFC 3339 format.
fn time_text(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds: timestamp, nanos: 0 }.to_string()
}

/// The text of a connection error, with Go's words where they are known.
pub(super) fn connection_error(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_error(error);
    }
    // HTTP/2 keeps only the text of TLS errors.
    match super::go::os_error(error).split_once("received fatal alert: ") {
        Some((_, name)) => format!("remote error: tls: {}", alert_text(name)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => super::go::os_error(error),
    }
}

fn tls_error(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(text) if text.starts_with("tls: ") => text.clone(),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(&format!("{alert:?}"))),
        other => format!("tls: {other}"),
    }
}

/// Go's text for a TLS alert, by its rustls name.
fn alert_text(name: &str) -> &str {
    match name {
        "CertificateRequired" => "certificate required",
        "BadCertificate" => "bad certificate",
        "UnknownCA" => "unknown certificate authority",
        "CertificateExpired" => "expired certificate",
        "CertificateUnknown" => "unknown certificate",
        "HandshakeFailure" => "handshake failure",
        "ProtocolVersion" => "protocol version not supported",
        "UnrecognisedName" => "unrecognized name",
        "NoApplicationProtocol" => "no application protocol",
        "DecryptError" => "error decrypting message",
        other => other,
    }
}
