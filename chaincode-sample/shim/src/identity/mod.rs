//! The client of a transaction: MSP ID, certificate, attributes and role.
//!
//! The peer has verified signatures and certificate chains; they are not checked again. Idemix
//! credentials have no certificate and are rejected.

mod name;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fabric_protos::msp::SerializedIdentity;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::response::Error;
use crate::stub::Stub;

/// The extension that contains Fabric CA's attributes (`lib/attrmgr` of fabric-ca).
const ATTRIBUTES: Oid<'static> = oid!(1.2.3.4.5.6.7.8.1);

/// Why the client cannot be identified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The peer sent no proposal.
    #[error("the transaction has no creator: the peer sent no proposal")]
    NoCreator,
    /// Not a `msp.SerializedIdentity`.
    #[error("invalid creator")]
    Malformed(#[source] prost::DecodeError),
    /// The identity contains no PEM certificate.
    #[error("the identity of {msp_id} has no X.509 certificate in PEM format: Idemix credentials are not supported")]
    NoCertificate {
        /// The client's MSP ID.
        msp_id: String,
    },
    /// The certificate is invalid.
    #[error("invalid certificate of a client of {msp_id}: {reason}")]
    Certificate {
        /// The client's MSP ID.
        msp_id: String,
        /// Why it is invalid.
        reason: String,
    },
}

/// The role of an identity, from the organizational unit (OU) of its certificate. These are the
/// default names of Fabric's node OUs (`config.yaml` of an MSP).
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
    /// The name of the organizational unit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
            Self::Orderer => "orderer",
        }
    }
}

/// The client of a transaction, from [`Stub::client_identity`].
///
/// ```
/// # use chaincode_shim::{Error, Stub};
/// async fn approve(stub: Stub) -> Result<(), Error> {
///     let client = stub.client_identity()?;
///     if client.msp_id() != "Org1MSP" {
///         return Err(Error::new("permission denied: not a client of Org1").with_status(403));
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
    /// Decodes an `msp.SerializedIdentity`, as returned by [`Stub::creator`].
    ///
    /// # Errors
    ///
    /// When it is invalid or contains no X.509 certificate.
    pub fn from_creator(creator: &[u8]) -> Result<Self, IdentityError> {
        if creator.is_empty() {
            return Err(IdentityError::NoCreator);
        }
        let identity = SerializedIdentity::decode(creator).map_err(IdentityError::Malformed)?;
        let msp_id = identity.mspid;
        let Ok(certificate) = CertificateDer::from_pem_slice(&identity.id_bytes) else {
            return Err(IdentityError::NoCertificate { msp_id });
        };
        let invalid = |reason: String| IdentityError::Certificate { msp_id: msp_id.clone(), reason };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| invalid(error.to_string()))?;
        let id = format!("x509::{}::{}", name::text(parsed.subject()), name::text(parsed.issuer()));
        let units = parsed.subject().iter_organizational_unit();
        let units = units.filter_map(|unit| unit.as_str().ok()).map(str::to_owned).collect();
        let attributes = attributes(&parsed).map_err(&invalid)?;
        Ok(Self { msp_id, id: STANDARD.encode(id), units, attributes, certificate: certificate.to_vec() })
    }

    /// The MSP ID of the client's organization, such as `Org1MSP`.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The client's ID, unique within its MSP: Base64 of `x509::SUBJECT::ISSUER`, as in Fabric's
    /// other shims. A renewed certificate has the same ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The certificate in DER encoding.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The organizational units of the certificate's subject, in order.
    pub fn organizational_units(&self) -> &[String] {
        &self.units
    }

    /// The client's role: the first organizational unit that is a [`NodeRole`], if there is one.
    pub fn role(&self) -> Option<NodeRole> {
        let roles = [NodeRole::Client, NodeRole::Peer, NodeRole::Admin, NodeRole::Orderer];
        let find = |unit: &String| roles.into_iter().find(|role| role.as_str() == unit);
        self.units.iter().find_map(find)
    }

    /// The attributes that Fabric CA added to the certificate.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Checks that the client has this attribute with this value.
    ///
    /// # Errors
    ///
    /// With status 403 if it does not.
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
    /// The client that sent the transaction.
    ///
    /// # Errors
    ///
    /// When the peer sent no proposal, or the client has no X.509 certificate.
    pub fn client_identity(&self) -> Result<ClientIdentity, IdentityError> {
        ClientIdentity::from_creator(self.creator())
    }
}

fn attributes(certificate: &X509Certificate<'_>) -> Result<BTreeMap<String, String>, String> {
    let extension = certificate.get_extension_unique(&ATTRIBUTES).map_err(|error| error.to_string())?;
    let Some(extension) = extension else {
        return Ok(BTreeMap::new());
    };
    let invalid = |error: serde_json::Error| format!("invalid attributes: {error}");
    let mut json: serde_json::Map<String, Value> = serde_json::from_slice(extension.value).map_err(invalid)?;
    json.remove("attrs").map_or(Ok(BTreeMap::new()), |attributes| serde_json::from_value(attributes).map_err(invalid))
}
