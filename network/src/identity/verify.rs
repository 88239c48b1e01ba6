//! Checks existing certificates: key, issuer, names, role, validity. They come from an operator and may be
//! anything.

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

use super::PrivateKey;
use super::authority::Purpose;

/// A certificate that parses.
pub(super) struct Parsed(Pem);

impl Parsed {
    /// The first certificate of a text.
    pub(super) fn new(pem: &str) -> Result<Self, String> {
        let (_, pem) =
            parse_x509_pem(pem.as_bytes()).map_err(|error| format!("is not a certificate in PEM: {error}"))?;
        let parsed = Self(pem);
        parsed.certificate()?;
        Ok(parsed)
    }

    /// Every certificate of a text.
    pub(super) fn all(pem: &str) -> Result<Vec<Self>, String> {
        let pems = Pem::iter_from_buffer(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let pems = pems.map_err(|error| format!("is not a certificate in PEM: {error}"))?;
        let all: Vec<Self> = pems.into_iter().map(Self).collect();
        all.iter().try_for_each(|parsed| parsed.certificate().map(drop))?;
        if all.is_empty() { Err("has no certificate in PEM".to_owned()) } else { Ok(all) }
    }

    /// Whether the two are the same certificate.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.contents == other.0.contents
    }

    fn certificate(&self) -> Result<X509Certificate<'_>, String> {
        self.0.parse_x509().map_err(|error| format!("is not a certificate: {error}"))
    }

    /// The start of its validity.
    pub(super) fn not_before(&self) -> Option<SystemTime> {
        seconds(self.certificate().ok()?.validity().not_before.timestamp())
    }

    /// The end of its validity.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        seconds(self.certificate().ok()?.validity().not_after.timestamp())
    }

    /// Checks that it is the certificate of an authority, valid at `now`.
    pub(super) fn check_authority(&self, now: SystemTime) -> Result<(), String> {
        let certificate = self.certificate()?;
        if !certificate.is_ca() {
            return Err("is not a CA certificate: its basic constraints do not have CA".to_owned());
        }
        check_time(&certificate, now)
    }

    /// Checks that the key belongs to it, and is of a supported kind.
    pub(super) fn check_key(&self, key: &PrivateKey) -> Result<KeyPair, String> {
        let pair = read_key(key)?;
        if pair.der_bytes() == &*self.certificate()?.public_key().subject_public_key.data {
            Ok(pair)
        } else {
            Err("does not match its key".to_owned())
        }
    }

    /// Checks that one of these authorities issued it, that it suits the purpose, and that it is valid at `now`.
    pub(super) fn check_issued(
        &self,
        authorities: &[Self],
        purpose: &Purpose<'_>,
        now: SystemTime,
    ) -> Result<(), String> {
        let certificate = self.certificate()?;
        let issuers = authorities.iter().map(Self::certificate).collect::<Result<Vec<_>, _>>()?;
        let is_issued_by = |issuer: &X509Certificate<'_>| {
            certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        };
        if !issuers.iter().any(is_issued_by) {
            let names: Vec<String> = issuers.iter().map(|issuer| issuer.subject().to_string()).collect();
            return Err(format!("was not issued by the existing authority ({})", names.join("; ")));
        }
        check_time(&certificate, now)?;
        match purpose {
            Purpose::Sign { role } => check_role(&certificate, role),
            Purpose::Node { names } | Purpose::Server { names } => check_names(&certificate, names),
            Purpose::Client => Ok(()),
        }
    }
}

fn read_key(key: &PrivateKey) -> Result<KeyPair, String> {
    let pair = KeyPair::from_pem(key.as_pem()).map_err(|_| {
        "has an invalid key: expected PKCS#8 in PEM without a password; convert it with \
         `openssl pkcs8 -topk8 -nocrypt`"
            .to_owned()
    })?;
    if pair.algorithm() == &PKCS_ECDSA_P256_SHA256 {
        Ok(pair)
    } else {
        Err("has an unsupported key: expected ECDSA P-256".to_owned())
    }
}

fn check_time(certificate: &X509Certificate<'_>, now: SystemTime) -> Result<(), String> {
    let validity = certificate.validity();
    match seconds(validity.not_after.timestamp()) {
        Some(end) if end > now => Ok(()),
        _ => Err(format!("expired at {}; remove it and its key to generate new ones", validity.not_after)),
    }
}

fn check_role(certificate: &X509Certificate<'_>, role: &str) -> Result<(), String> {
    let mut units = certificate.subject().iter_organizational_unit().filter_map(|unit| unit.as_str().ok());
    if units.any(|unit| unit == role) {
        Ok(())
    } else {
        Err(format!("has no organizational unit {role}, which defines the role in an MSP"))
    }
}

fn check_names(certificate: &X509Certificate<'_>, names: &[String]) -> Result<(), String> {
    let extension = certificate.subject_alternative_name().map_err(|error| format!("has invalid names: {error}"))?;
    let has: Vec<String> = extension.iter().flat_map(|names| &names.value.general_names).filter_map(name_of).collect();
    let missing: Vec<&str> = names.iter().filter(|name| !has.contains(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("is not valid for {}; remove it and its key to generate new ones", missing.join(", ")))
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn seconds(timestamp: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(timestamp).ok()?))
}
