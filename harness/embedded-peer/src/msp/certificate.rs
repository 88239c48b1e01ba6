//! An X.509 certificate, as an MSP uses it.

use std::time::{Duration, SystemTime};

use fabric_primitives::der;
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512};
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;

use super::signature::{KeyKind, PublicKey, with_low_s};

/// A certificate is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Invalid PEM.
    #[error("could not decode the PEM structure")]
    Pem,
    /// The PEM does not contain an X.509 certificate.
    #[error("parseCertificate failed: {cause}")]
    X509 {
        /// The parser's error.
        cause: String,
    },
}

/// Why a certificate may not be part of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// An unknown critical extension.
    Critical,
    /// An extended key usage without server authentication, which Go requires by default.
    Usage,
}

/// A certificate. Comparisons and hashes use its DER.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) units: Vec<String>,
    pub(super) serial: Vec<u8>,
    pub(super) subject_key: Option<Vec<u8>>,
    /// Whether its basic constraints make it a CA.
    pub(super) is_ca: bool,
    /// `false` if it has a key usage without certificate signing.
    pub(super) may_issue: bool,
    pub(super) path_length: Option<u32>,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) key: PublicKey,
    signed_with_ecdsa: bool,
}

impl Certificate {
    /// The first certificate in a PEM text.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        Self::from_der(pem_content(pem)?)
    }

    pub(super) fn from_der(der: Vec<u8>) -> Result<Self, CertificateError> {
        let wrong = |cause: String| CertificateError::X509 { cause };
        let (rest, parsed) = parse_x509_certificate(&der).map_err(|error| wrong(error.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong("trailing data".to_owned()));
        }
        if parsed.signature_value.unused_bits != 0 {
            return Err(wrong("the signature is not a whole number of bytes".to_owned()));
        }
        // Only the inner identifier is signed.
        let same = outer_algorithm(&der, &parsed)
            .is_some_and(|outer| parsed.tbs_certificate.as_ref().windows(outer.len()).any(|inner| inner == outer));
        if !same || parsed.tbs_certificate.signature != parsed.signature_algorithm {
            return Err(wrong("inner and outer signature algorithm identifiers don't match".to_owned()));
        }
        let facts = Facts::of(&parsed);
        let algorithm = &parsed.signature_algorithm.algorithm;
        let ecdsa = [OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512];
        let units = parsed.subject().iter_organizational_unit();
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            units: units.filter_map(|unit| unit.as_str().ok().map(ToOwned::to_owned)).collect(),
            serial: parsed.raw_serial().to_vec(),
            subject_key: facts.subject_key,
            is_ca: facts.is_ca,
            path_length: facts.path_length,
            may_issue: facts.may_issue,
            obstacle: facts.obstacle,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            key: PublicKey::of(parsed.public_key()),
            signed_with_ecdsa: ecdsa.contains(algorithm),
            der,
        })
    }

    /// Whether `issuer` signed it.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        let parsed = parse_x509_certificate(&self.der).ok().zip(parse_x509_certificate(&issuer.der).ok());
        parsed.is_some_and(|((_, own), (_, issuer))| own.verify_signature(Some(issuer.public_key())).is_ok())
    }

    /// The certificate with the lower S in its signature. Fabric normalizes certificates so before it hashes
    /// and compares them (`msp/cert.go`).
    pub(super) fn with_low_s(self, issuer_key: KeyKind) -> Result<Self, CertificateError> {
        match self.low_s_der(issuer_key) {
            Some(der) => Self::from_der(der),
            None => Ok(self),
        }
    }

    fn low_s_der(&self, issuer_key: KeyKind) -> Option<Vec<u8>> {
        if !self.signed_with_ecdsa {
            return None;
        }
        let (_, parsed) = parse_x509_certificate(&self.der).ok()?;
        let signature = with_low_s(&parsed.signature_value.data, issuer_key)?;
        let algorithm = outer_algorithm(&self.der, &parsed)?;
        let bits = der::element(der::BIT_STRING, &[&[0], &*signature].concat());
        Some(der::element(der::SEQUENCE, &[parsed.tbs_certificate.as_ref(), algorithm, &*bits].concat()))
    }

    /// When it expires.
    pub(super) fn expires_at(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.not_after.unsigned_abs());
        let instant = if self.not_after < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        instant.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The expiry of a serialized identity's certificate; `None` if it is not a certificate
/// (`common/crypto/expiration.go`).
pub(crate) fn expires_at(identity: &[u8]) -> Option<SystemTime> {
    let identity = SerializedIdentity::decode(identity).ok()?;
    let (_, pem) = parse_x509_pem(&identity.id_bytes).ok()?;
    let (_, certificate) = parse_x509_certificate(&pem.contents).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The encoded signature algorithm outside of the signed part.
fn outer_algorithm<'a>(der: &'a [u8], parsed: &X509Certificate<'_>) -> Option<&'a [u8]> {
    let start = header_length(der)? + parsed.tbs_certificate.as_ref().len();
    let bits = der::element(der::BIT_STRING, &[&[0], &*parsed.signature_value.data].concat());
    der.get(start..der.len().checked_sub(bits.len())?)
}

/// The DER in the first block of a PEM text.
pub(super) fn pem_content(pem: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let (_, block) = parse_x509_pem(pem).map_err(|_| CertificateError::Pem)?;
    Ok(block.contents)
}

/// The content of the extensions.
struct Facts {
    subject_key: Option<Vec<u8>>,
    is_ca: bool,
    path_length: Option<u32>,
    may_issue: bool,
    obstacle: Option<Obstacle>,
}

impl Facts {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut facts = Self { subject_key: None, is_ca: false, path_length: None, may_issue: true, obstacle: None };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(key) => facts.subject_key = Some(key.0.to_vec()),
                ParsedExtension::BasicConstraints(constraints) => {
                    facts.is_ca = constraints.ca;
                    facts.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => facts.may_issue = usage.key_cert_sign(),
                ParsedExtension::ExtendedKeyUsage(usage) if !usage.any && !usage.server_auth => {
                    facts.obstacle.get_or_insert(Obstacle::Usage);
                }
                ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. }
                    if extension.critical =>
                {
                    facts.obstacle = Some(Obstacle::Critical);
                }
                _ => {}
            }
        }
        facts
    }
}

/// How long tag and length of an element are.
fn header_length(element: &[u8]) -> Option<usize> {
    let length = *element.get(1)?;
    Some(if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) })
}
