//! Who sent a transaction: MSP, certificate, attributes, role.
//!
//! Reads what the peer has already checked: signatures and chains are not
//! verified here. Idemix credentials hold no certificate and are refused.

mod name;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Error, Stub};

/// The extension in which Fabric CA puts attributes (`lib/attrmgr` of
/// fabric-ca).
const ATTRIBUTES: Oid<'static> = oid!(1.2.3.4.5.6.7.8.1);

/// Why the client cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The peer sent no proposal.
    #[error("the transaction has no creator: the peer sent no proposal")]
    NoCreator,
    /// Not a `msp.SerializedIdentity`.
    #[error("the creator cannot be read")]
    Malformed(#[source] prost::DecodeError),
    /// No PEM certificate; an Idemix credential is none.
    #[error("the identity of {msp_id} has no X.509 certificate in PEM form: Idemix credentials are not supported")]
    NoCertificate {
        /// Its MSP.
        msp_id: String,
    },
    /// A certificate that cannot be read.
    #[error("the certificate of the client of {msp_id} cannot be read: {reason}")]
    Certificate {
        /// Its MSP.
        msp_id: String,
        /// Why.
        reason: String,
    },
}

/// What a certificate makes its owner, by the organizational units that
/// Fabric's node OUs are called by default (`config.yaml` of an MSP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeRole {
    /// `client`.
    Client,
    /// `peer`.
    Peer,
    /// `admin`.
    Admin,
    /// `orderer`.
    Orderer,
}

impl NodeRole {
    /// The organizational unit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
            Self::Orderer => "orderer",
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The client of a transaction, from [`Stub::client_identity`].
///
/// ```
/// # use chaincode_shim::{Error, Stub};
/// async fn approve(stub: Stub) -> Result<(), Error> {
///     let client = stub.client_identity()?;
///     if client.msp_id() != "Org1MSP" {
///         return Err(Error::new("only Org1 approves").with_status(403));
///     }
///     client.require_attribute("approver", "true")
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    msp_id: String,
    certificate: Vec<u8>,
    id: String,
    units: Vec<String>,
    attributes: BTreeMap<String, String>,
}

impl ClientIdentity {
    /// Reads an encoded `msp.SerializedIdentity`, as [`Stub::creator`] is.
    ///
    /// # Errors
    ///
    /// When it is something else, or holds no X.509 certificate.
    pub fn from_creator(creator: &[u8]) -> Result<Self, IdentityError> {
        if creator.is_empty() {
            return Err(IdentityError::NoCreator);
        }
        let identity = SerializedIdentity::decode(creator).map_err(IdentityError::Malformed)?;
        let msp_id = identity.mspid;
        let Ok(certificate) = CertificateDer::from_pem_slice(&identity.id_bytes) else {
            return Err(IdentityError::NoCertificate { msp_id });
        };
        let unreadable = |reason: String| IdentityError::Certificate { msp_id: msp_id.clone(), reason };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| unreadable(error.to_string()))?;
        let id = format!("x509::{}::{}", name::text(parsed.subject()), name::text(parsed.issuer()));
        let units = parsed.subject().iter_organizational_unit();
        let units = units.filter_map(|unit| unit.as_str().ok()).map(str::to_owned).collect();
        let attributes = attributes(&parsed).map_err(&unreadable)?;
        Ok(Self { msp_id, id: STANDARD.encode(id), units, attributes, certificate: certificate.to_vec() })
    }

    /// The organization's MSP ID, like `Org1MSP`.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// Names the client within its MSP, and stays the same when its
    /// certificate is renewed: Base64 of `x509::SUBJECT::ISSUER`, the same
    /// text as Fabric's other shims give.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The organizational units of the certificate's subject, in its order.
    pub fn organizational_units(&self) -> &[String] {
        &self.units
    }

    /// What node OUs make of the client; none when the certificate names no
    /// such unit. The first one counts.
    pub fn role(&self) -> Option<NodeRole> {
        let roles = [NodeRole::Client, NodeRole::Peer, NodeRole::Admin, NodeRole::Orderer];
        let find = |unit: &String| roles.into_iter().find(|role| role.as_str() == unit);
        self.units.iter().find_map(find)
    }

    /// The attributes that Fabric CA wrote into the certificate.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// One of them.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Fails the transaction unless the client has this attribute with this
    /// value.
    ///
    /// # Errors
    ///
    /// With status 403 when it has not.
    pub fn require_attribute(&self, name: &str, value: &str) -> Result<(), Error> {
        match self.attribute(name) {
            Some(has) if has == value => Ok(()),
            Some(has) => Err(format!("attribute '{name}' equals '{has}', not '{value}'")),
            None => Err(format!("attribute '{name}' was not found")),
        }
        .map_err(|text| Error::new(text).with_status(403))
    }
}

impl Stub {
    /// Who sent the transaction.
    ///
    /// # Errors
    ///
    /// When the peer sent no proposal, or the client has no X.509
    /// certificate.
    pub fn client_identity(&self) -> Result<ClientIdentity, IdentityError> {
        ClientIdentity::from_creator(self.creator())
    }
}

fn attributes(certificate: &X509Certificate<'_>) -> Result<BTreeMap<String, String>, String> {
    let extension = certificate.get_extension_unique(&ATTRIBUTES).map_err(|error| error.to_string())?;
    let Some(extension) = extension else {
        return Ok(BTreeMap::new());
    };
    let odd = |error: serde_json::Error| format!("its attributes are not JSON as Fabric CA writes it: {error}");
    let mut json: serde_json::Map<String, Value> = serde_json::from_slice(extension.value).map_err(odd)?;
    json.remove("attrs").map_or(Ok(BTreeMap::new()), |attributes| serde_json::from_value(attributes).map_err(odd))
}
