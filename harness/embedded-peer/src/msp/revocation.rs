//! The certificate revocation lists of an MSP.
//!
//! Revocation applies as soon as the list is in the configuration, whatever the time in it
//! (`msp/mspimplvalidate.go`).

use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;
use x509_parser::parse_x509_crl;

use super::certificate::{Certificate, pem_content};
use super::setup::MspError;

/// A list: its issuer and its serial numbers.
#[derive(Debug)]
struct List {
    der: Vec<u8>,
    authority_key: Vec<u8>,
    serials: Vec<Vec<u8>>,
}

/// The lists of one MSP.
#[derive(Debug, Default)]
pub(super) struct Revocations(Vec<List>);

impl Revocations {
    /// Reads lists, PEM or DER.
    pub(super) fn new(lists: &[Vec<u8>]) -> Result<Self, MspError> {
        lists.iter().map(|list| read(list).ok_or(MspError::RevocationList)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a list that `issuer` has signed contains `certificate`.
    pub(super) fn revokes(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.0.iter().any(|list| {
            issuer.subject_key.as_deref() == Some(&*list.authority_key)
                && list.serials.iter().any(|serial| significant(serial) == significant(&certificate.serial))
                && is_signed_by(&list.der, issuer)
        })
    }
}

fn read(list: &[u8]) -> Option<List> {
    let der = if list.starts_with(b"-----BEGIN") { pem_content(list).ok()? } else { list.to_vec() };
    let (_, parsed) = parse_x509_crl(&der).ok()?;
    let authority_key = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
        _ => None,
    });
    let authority_key = authority_key?.0.to_vec();
    let serials = parsed.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect();
    Some(List { der, authority_key, serials })
}

fn is_signed_by(list: &[u8], issuer: &Certificate) -> bool {
    let parsed = parse_x509_crl(list).ok().zip(parse_x509_certificate(&issuer.der).ok());
    parsed.is_some_and(|((_, list), (_, issuer))| list.verify_signature(issuer.public_key()).is_ok())
}

/// Strips leading zeros.
fn significant(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len())..]
}
