//! Parses PEM certificates and keys: names, validity, and whether a private key matches a certificate.
//! Verifies no chain, and prints no key material.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::PrivateKeyInfoRef;
use rustls_pki_types::pem::{self, SectionKind};
use sec1::{EcParameters, EcPrivateKey};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{DateTime, Decode, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoRef;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// The first byte of an uncompressed point (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Why a text contains no certificate or key; the text says what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// No block of the expected type, but this.
    #[error("{0}")]
    Missing(String),
    /// A block of the expected type with invalid content.
    #[error("a PEM {0} with invalid content")]
    Content(&'static str),
    /// An encrypted key.
    #[error("an encrypted private key")]
    Encrypted,
}

/// A public key, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKey {
    /// Curve and encoded point.
    Ec(ObjectIdentifier, Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// Another algorithm, and the encoded key.
    Other(ObjectIdentifier, Vec<u8>),
}

/// The parts of an X.509 certificate that matter for a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject for messages, similar to RFC 4514.
    pub subject: String,
    /// DNS names and IP addresses (subject alternative names).
    pub names: Vec<String>,
    /// Whether issuer and subject are the same.
    pub self_issued: bool,
    /// Whether it is a CA certificate.
    pub authority: bool,
    /// Whether its extended key usage allows client authentication.
    pub client_use: bool,
    /// The public key, if it can be parsed.
    pub public_key: Option<PublicKey>,
    not_before: DateTime,
    not_after: DateTime,
}

/// The validity of a certificate at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Valid.
    Valid,
    /// Expired at this time (RFC 3339).
    Expired(String),
    /// Not valid before this time (RFC 3339).
    NotYet(String),
}

impl Certificate {
    fn from_der(bytes: &[u8]) -> Option<Self> {
        let certificate = CertificateInner::<Raw>::from_der(bytes).ok()?;
        let tbs = certificate.tbs_certificate();
        let names = tbs
            .get_extension::<SubjectAltName>()
            .ok()?
            .map_or_else(Vec::new, |(_, names)| names.0.iter().filter_map(name_of).collect());
        let constraints = tbs.get_extension::<BasicConstraints>().ok()?;
        let uses = tbs.get_extension::<ExtendedKeyUsage>().ok()?;
        let key = x509_cert::der::Encode::to_der(tbs.subject_public_key_info()).ok()?;
        Some(Self {
            subject: format_name(tbs.subject()),
            names,
            self_issued: tbs.subject() == tbs.issuer(),
            authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            client_use: uses.is_none_or(|(_, uses)| uses.0.iter().any(|u| [CLIENT_AUTH, ANY_USE].contains(u))),
            public_key: SubjectPublicKeyInfoRef::from_der(&key).ok().and_then(|key| public_key(&key)),
            not_before: tbs.validity().not_before.to_date_time(),
            not_after: tbs.validity().not_after.to_date_time(),
        })
    }

    /// The end of the validity (RFC 3339).
    pub fn not_after(&self) -> String {
        self.not_after.to_string()
    }

    /// The validity at a time.
    pub fn validity(&self, now: SystemTime) -> Validity {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if now > self.not_after.unix_duration() {
            Validity::Expired(self.not_after.to_string())
        } else if now < self.not_before.unix_duration() {
            Validity::NotYet(self.not_before.to_string())
        } else {
            Validity::Valid
        }
    }

    /// Whether the certificate has this host name or IP address. The common name does not count.
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.names.iter().any(|name| name.parse() == Ok(address));
        }
        let host = host.trim_end_matches('.');
        self.names.iter().any(|name| match (name.strip_prefix("*."), host.split_once('.')) {
            (Some(parent), Some((_, rest))) => rest.eq_ignore_ascii_case(parent),
            _ => name.eq_ignore_ascii_case(host),
        })
    }
}

/// Formats a subject. Knows only common attributes, since a table of all of them is large.
fn format_name(name: &Name) -> String {
    let attributes = name.iter().map(|attribute| {
        let oid = attribute.oid.to_string();
        let short = match oid.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.5" => "serialNumber",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            other => other,
        };
        format!("{short}={}", String::from_utf8_lossy(attribute.value.value()))
    });
    let mut attributes: Vec<String> = attributes.collect();
    attributes.reverse();
    attributes.join(",")
}

fn name_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => match *address.as_bytes() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            ref bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn public_key(info: &SubjectPublicKeyInfoRef<'_>) -> Option<PublicKey> {
    let bits = info.subject_public_key.as_bytes()?;
    let algorithm = info.algorithm.oid;
    match algorithm {
        EC => Some(PublicKey::Ec(info.algorithm.parameters_oid().ok()?, bits.to_vec())),
        RSA => {
            let (modulus, exponent) = rsa_numbers(bits, false)?;
            Some(PublicKey::Rsa(modulus, exponent))
        }
        _ => Some(PublicKey::Other(algorithm, bits.to_vec())),
    }
}

/// Modulus and exponent of an RSA key. A private key has a version before them.
fn rsa_numbers(der: &[u8], private: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let sequence = AnyRef::from_der(der).ok()?;
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    if private {
        u8::decode(&mut reader).ok()?;
    }
    let modulus = UintRef::decode(&mut reader).ok()?;
    let exponent = UintRef::decode(&mut reader).ok()?;
    Some((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
}

/// All certificates of a PEM text, in order. Ignores blocks of other types.
///
/// # Errors
/// [`PemError`] if there is no certificate, or an invalid one.
pub fn certificates(text: &str) -> Result<Vec<Certificate>, PemError> {
    let mut certificates = Vec::new();
    for (kind, der) in blocks(text)? {
        if kind == SectionKind::Certificate {
            certificates.push(Certificate::from_der(&der).ok_or(PemError::Content("CERTIFICATE"))?);
        }
    }
    if certificates.is_empty() {
        return Err(PemError::Missing(describe(text)));
    }
    Ok(certificates)
}

/// The public key of the first private key in a PEM text; `None` if the key does not contain it and the
/// algorithm is not supported. Like Go, accepts PKCS#1, PKCS#8 and SEC 1 under any of their labels.
///
/// # Errors
/// [`PemError`] if there is no private key, or an invalid or encrypted one.
pub(crate) fn public_key_of(text: &str) -> Result<Option<PublicKey>, PemError> {
    if text.contains("ENCRYPTED") {
        return Err(PemError::Encrypted);
    }
    let key = blocks(text)?.into_iter().find(|(kind, _)| {
        matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
    });
    let Some((_, der)) = key else {
        return Err(PemError::Missing(describe(text)));
    };
    if let Ok(info) = PrivateKeyInfoRef::from_der(&der) {
        return of_pkcs8(&info).ok_or(PemError::Content("PRIVATE KEY"));
    }
    if let Ok(key) = EcPrivateKey::from_der(&der) {
        let curve = key.parameters.and_then(EcParameters::named_curve);
        return curve.and_then(|curve| of_ec(&key, curve)).ok_or(PemError::Content("EC PRIVATE KEY"));
    }
    match rsa_numbers(&der, true) {
        Some((modulus, exponent)) => Ok(Some(PublicKey::Rsa(modulus, exponent))),
        None => Err(PemError::Content("PRIVATE KEY")),
    }
}

/// The outer `None` means an invalid key, the inner one an unknown public key.
#[allow(clippy::option_option)]
fn of_pkcs8(info: &PrivateKeyInfoRef<'_>) -> Option<Option<PublicKey>> {
    let secret = info.private_key.as_bytes();
    match info.algorithm.oid {
        EC => of_ec(&EcPrivateKey::from_der(secret).ok()?, info.algorithm.parameters_oid().ok()?),
        RSA => rsa_numbers(secret, true).map(|(modulus, exponent)| Some(PublicKey::Rsa(modulus, exponent))),
        other => {
            let bits = info.public_key.and_then(|key| key.as_bytes().map(<[u8]>::to_vec));
            Some(bits.map(|bits| PublicKey::Other(other, bits)))
        }
    }
}

#[allow(clippy::option_option)]
fn of_ec(key: &EcPrivateKey<'_>, curve: ObjectIdentifier) -> Option<Option<PublicKey>> {
    // Most keys contain the uncompressed point, as certificates do. Otherwise it is computed.
    let contained = key.public_key.filter(|point| point.first() == Some(&UNCOMPRESSED));
    match contained {
        Some(point) => return Some(Some(PublicKey::Ec(curve, point.to_vec()))),
        None if curve != P256 => return Some(None),
        None => {}
    }
    let secret = p256::SecretKey::from_slice(key.private_key).ok()?;
    let point = secret.public_key().to_sec1_point(false);
    Some(Some(PublicKey::Ec(curve, point.as_bytes().to_vec())))
}

fn blocks(text: &str) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    use rustls_pki_types::pem::PemObject;
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, pem::Error>>()
        .map_err(|_| PemError::Missing("a truncated PEM block or invalid base64".to_owned()))
}

/// Describes a text without showing its content.
fn describe(text: &str) -> String {
    let label = text.split("-----BEGIN ").nth(1).and_then(|rest| rest.split_once("-----"));
    match label {
        Some((label, _))
            if label.len() <= 40
                && label.bytes().all(|b| b.is_ascii_uppercase() || b == b' ' || b.is_ascii_digit()) =>
        {
            format!("a PEM {label}")
        }
        _ => format!("{} bytes that are not PEM", text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::pkcs8::LineEnding;
    use x509_cert::der::pem::encode_string;

    /// Modulus 0xC5A3 and exponent 0x010001, as they are encoded in both halves of a key.
    const NUMBERS: [u8; 10] = [0x02, 3, 0, 0xc5, 0xa3, 0x02, 3, 1, 0, 1];
    /// The algorithm identifier of RSA.
    const ALGORITHM: [u8; 15] = [0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

    fn encoded(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
    }

    #[test]
    fn rsa_keys_match_their_public_keys() {
        let expected = PublicKey::Rsa(vec![0xc5, 0xa3], vec![1, 0, 1]);
        let bits = encoded(0x03, &[&[0], &encoded(0x30, &[&NUMBERS])]);
        let info = encoded(0x30, &[&ALGORITHM, &bits]);
        assert_eq!(public_key(&SubjectPublicKeyInfoRef::from_der(&info).unwrap()), Some(expected.clone()));

        let pkcs1 = encoded(0x30, &[&[0x02, 1, 0], &NUMBERS]);
        let pkcs8 = encoded(0x30, &[&[0x02, 1, 0], &ALGORITHM, &encoded(0x04, &[&pkcs1])]);
        for (label, der) in [("RSA PRIVATE KEY", pkcs1), ("PRIVATE KEY", pkcs8)] {
            let pem = encode_string(label, LineEnding::LF, &der).unwrap();
            assert_eq!(public_key_of(&pem), Ok(Some(expected.clone())), "{label}");
        }
    }
}
