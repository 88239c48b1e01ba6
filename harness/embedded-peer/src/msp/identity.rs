//! An identity of an MSP: its certificate, roles and signatures.

use std::time::SystemTime;

use fabric_protos::common::MspPrincipal;
use fabric_protos::common::msp_role::MspRoleType;
use ring::digest::{SHA256, digest};

use super::certificate::{Certificate, CertificateError};
use super::chain::ChainError;
use super::principal::Principal;
use super::setup::{Msp, Unit, chain_hash};
use super::signature::{BadSignature, KeyKind, PublicKey};

/// An identity is malformed or invalid, or a signature of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not a `SerializedIdentity`.
    #[error("could not deserialize a SerializedIdentity")]
    Decode,
    /// The channel has no such MSP.
    #[error("MSP {0} is not defined on channel")]
    UnknownMsp(String),
    /// The MSP is not the node's own.
    #[error("expected MSP ID {expected}, received {received}")]
    OtherMsp {
        /// The node's MSP ID.
        expected: String,
        /// The identity's MSP ID.
        received: String,
    },
    /// The certificate is malformed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate has no chain to a root of the MSP.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The certificate is that of an authority.
    #[error(
        "An X509 certificate with Basic Constraint: Certificate Authority equals true cannot be used as an identity"
    )]
    Authority,
    /// The issuer is an authority that issued other authorities.
    #[error("invalid validation chain. Parent certificate should be a leaf of the certification tree")]
    InnerAuthority,
    /// The kind of key is unsupported, such as RSA.
    #[error("could not validate identity's public key algorithm: it is not supported")]
    Key,
    /// The certificate is revoked.
    #[error("could not validate identity against certification chain: The certificate has been revoked")]
    Revoked,
    /// The organizational units do not make it a member with exactly one role.
    #[error("could not validate identity's OUs: {0}")]
    Units(String),
    /// The signature is invalid.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// An identity whose certificate has a chain to a root of its MSP.
#[derive(Debug)]
pub struct Identity {
    msp_id: String,
    pem: Vec<u8>,
    id: [u8; 32],
    certificate: Certificate,
    issuer_key: KeyKind,
    certifier: Vec<u8>,
    /// Its roles by organizational unit.
    roles: Vec<MspRoleType>,
    units_enforced: bool,
    listed_admin: bool,
    valid: Result<(), IdentityError>,
}

impl Identity {
    /// Builds the chain, and determines validity and roles.
    pub(super) fn new(msp: &Msp, pem: &[u8], certificate: Certificate) -> Result<Self, IdentityError> {
        let chain = msp.authorities.chain(&certificate)?;
        let issuer = chain.first();
        let issuer_key = issuer.map_or(certificate.key.kind(), |issuer| issuer.key.kind());
        let certificate = certificate.with_low_s(issuer_key)?;
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, &certificate.der).as_ref());
        let certifier = chain_hash(&chain);
        let units = [
            (&msp.units.client, MspRoleType::Client),
            (&msp.units.peer, MspRoleType::Peer),
            (&msp.units.admin, MspRoleType::Admin),
            (&msp.units.orderer, MspRoleType::Orderer),
        ];
        let has = |unit: &Unit| msp.units.enforced && certificate.units.contains(&unit.name);
        let roles = units.into_iter().filter(|(unit, _)| unit.as_ref().is_some_and(has)).map(|(_, role)| role);
        let roles = roles.collect();
        let valid = check_key(&certificate.key).and_then(|()| {
            let issuer = issuer.filter(|_| !certificate.is_ca).ok_or(IdentityError::Authority)?;
            if msp.inner.contains(&issuer.der) {
                return Err(IdentityError::InnerAuthority);
            }
            if msp.revocations.revokes(&certificate, issuer) {
                return Err(IdentityError::Revoked);
            }
            check_units(msp, &certificate, &certifier).map_err(IdentityError::Units)
        });
        Ok(Self {
            msp_id: msp.id.clone(),
            pem: pem.to_vec(),
            id,
            issuer_key,
            certifier,
            roles,
            units_enforced: msp.units.enforced,
            listed_admin: msp.administrators.contains(&certificate.der),
            valid,
            certificate,
        })
    }

    /// Its MSP ID.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate as received, PEM.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// The certificate, DER. Its signature is normalized to the lower S.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate.der
    }

    /// SHA-256 of [`certificate`](Self::certificate), which identifies the identity in its MSP.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// When the certificate expires. MSPs do not check it; services do, for messages of clients.
    pub fn expires_at(&self) -> SystemTime {
        self.certificate.expires_at()
    }

    /// Checks that it is a member: not revoked, and with exactly one role if the MSP has `NodeOUs`.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn validate(&self) -> Result<(), IdentityError> {
        self.valid.clone()
    }

    /// Verifies its `signature` over `message`. Valid signatures are cached.
    ///
    /// # Errors
    /// [`IdentityError::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), IdentityError> {
        Ok(self.certificate.key.verify(message, signature)?)
    }

    /// Whether it satisfies a principal.
    pub fn satisfies(&self, principal: &MspPrincipal) -> bool {
        self.is(&Principal::new(principal))
    }

    /// Like [`satisfies`](Self::satisfies), for a decoded principal.
    pub fn is(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Role { msp_id, role } => *msp_id == self.msp_id && self.has_role(*role),
            Principal::Unit { msp_id, unit, certifier } => {
                *msp_id == self.msp_id
                    && self.valid.is_ok()
                    && self.certificate.units.contains(unit)
                    && *certifier == self.certifier
            }
            Principal::Identity { msp_id, certificate } => {
                *msp_id == self.msp_id && self.has_certificate(certificate) && self.valid.is_ok()
            }
            Principal::Nominal => true,
            Principal::All(principals) => principals.iter().all(|principal| self.is(principal)),
            Principal::Nobody => false,
        }
    }

    fn has_role(&self, role: MspRoleType) -> bool {
        let valid = self.valid.is_ok();
        match role {
            MspRoleType::Member => valid,
            MspRoleType::Admin if self.listed_admin => true,
            role => valid && self.roles.contains(&role),
        }
    }

    fn has_certificate(&self, der: &[u8]) -> bool {
        if der == self.certificate.der {
            return true;
        }
        let other = Certificate::from_der(der.to_vec()).and_then(|other| other.with_low_s(self.issuer_key));
        other.is_ok_and(|other| other.der == self.certificate.der)
    }

    /// Whether its MSP assigns roles by organizational unit.
    pub fn has_node_units(&self) -> bool {
        self.units_enforced
    }

    /// Checks the roles of a listed administrator.
    pub(super) fn is_client_or_admin(&self) -> Result<(), IdentityError> {
        if self.units_enforced && self.roles.iter().any(|role| matches!(role, MspRoleType::Client | MspRoleType::Admin))
        {
            return Ok(());
        }
        Err(IdentityError::Units("the administrator is neither client nor admin".to_owned()))
    }
}

fn check_key(key: &PublicKey) -> Result<(), IdentityError> {
    if key.kind() == KeyKind::Other { Err(IdentityError::Key) } else { Ok(()) }
}

/// The rules of `validateIdentityOUsV142`.
fn check_units(msp: &Msp, certificate: &Certificate, certifier: &[u8]) -> Result<(), String> {
    let units = &certificate.units;
    let listed = || format!("{units:?}");
    if !msp.required_units.is_empty() {
        let recognized = |unit: &String| {
            msp.required_units.get(unit).is_some_and(|certifiers| certifiers.iter().any(|one| one == certifier))
        };
        if units.is_empty() {
            return Err("the identity certificate does not contain an Organizational Unit (OU)".to_owned());
        }
        if !units.iter().any(recognized) {
            return Err(format!("none of the identity's organizational units {} are in MSP {}", listed(), msp.id));
        }
    }
    if !msp.units.enforced {
        return Ok(());
    }
    let nodes = [&msp.units.orderer, &msp.units.admin, &msp.units.peer, &msp.units.client];
    let mut kinds = 0;
    for unit in units {
        // If two roles have the same unit, the one that Fabric looks up last applies.
        let Some(node) = nodes.iter().copied().flatten().find(|node| node.name == *unit) else { continue };
        if !node.certifier.is_empty() && node.certifier != certifier {
            return Err(format!("certifiersIdentifier does not match: {}, MSP: [{}]", listed(), msp.id));
        }
        kinds += 1;
    }
    match kinds {
        0 => Err(format!(
            "the identity does not have an OU that resolves to client, peer, orderer, or admin role. OUs: {}, MSP: [{}]",
            listed(),
            msp.id
        )),
        1 => Ok(()),
        _ => Err(format!(
            "the identity must have a client, a peer, an orderer, or an admin OU role to be valid, not a combination of them. OUs: {}, MSP: [{}]",
            listed(),
            msp.id
        )),
    }
}
