//! A member of an MSP: a certificate, what it may sign, and the roles it has.

use std::time::SystemTime;

use fabric_protos::common::MspPrincipal;
use fabric_protos::common::msp_role::MspRoleType;
use ring::digest::{SHA256, digest};

use super::certificate::{Certificate, CertificateError};
use super::chain::ChainError;
use super::principal::Principal;
use super::setup::{Msp, Unit, chain_hash};
use super::signature::{BadSignature, KeyKind, PublicKey};

/// Bytes are not an identity, or one that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a `SerializedIdentity`.
    #[error("could not deserialize a SerializedIdentity")]
    Decode,
    /// The channel has no such organization.
    #[error("MSP {0} is not defined on channel")]
    UnknownMsp(String),
    /// A node knows only its own organization.
    #[error("expected MSP ID {expected}, received {received}")]
    OtherMsp {
        /// The node's.
        expected: String,
        /// The identity's.
        received: String,
    },
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate leads to no root of the MSP.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An authority acts as a member.
    #[error(
        "An X509 certificate with Basic Constraint: Certificate Authority equals true cannot be used as an identity"
    )]
    Authority,
    /// Issued by an authority whose work is to certify other authorities.
    #[error("invalid validation chain. Parent certificate should be a leaf of the certification tree")]
    InnerAuthority,
    /// RSA or another key that Fabric does not take.
    #[error("could not validate identity's public key algorithm: it is not supported")]
    Key,
    /// On a revocation list.
    #[error("could not validate identity against certification chain: The certificate has been revoked")]
    Revoked,
    /// The organizational units do not make it a member, or not one of one kind.
    #[error("could not validate identity's OUs: {0}")]
    Units(String),
    /// The signature is not good.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// An identity whose certificate leads to its MSP's roots.
#[derive(Debug)]
pub struct Identity {
    msp_id: String,
    pem: Vec<u8>,
    id: [u8; 32],
    certificate: Certificate,
    issuer_key: KeyKind,
    certifier: Vec<u8>,
    /// By organizational unit.
    roles: Vec<MspRoleType>,
    units_enforced: bool,
    listed_admin: bool,
    valid: Result<(), IdentityError>,
}

impl Identity {
    /// Checks the chain, and finds out whether the identity is valid and what it is.
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

    /// The MSP that it belongs to.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate as it came, PEM.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// The certificate, DER. Its own signature has the lower S, even if the one that came had not.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate.der
    }

    /// SHA-256 of [`certificate`](Self::certificate): with the MSP ID, what tells identities apart.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// When the certificate expires. Fabric's MSPs do not look at it; services do, where they take
    /// messages from clients.
    pub fn expires_at(&self) -> SystemTime {
        self.certificate.expires_at()
    }

    /// Whether it is a member: not revoked, of exactly one kind if the MSP has `NodeOUs`.
    ///
    /// # Errors
    /// [`IdentityError`], the reason.
    pub fn validate(&self) -> Result<(), IdentityError> {
        self.valid.clone()
    }

    /// Whether `signature` is its own over `message`. A good one is remembered and costs little
    /// the second time.
    ///
    /// # Errors
    /// [`IdentityError::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), IdentityError> {
        Ok(self.certificate.key.verify(message, signature)?)
    }

    /// Whether it is what the principal names.
    pub fn satisfies(&self, principal: &MspPrincipal) -> bool {
        self.is(&Principal::new(principal))
    }

    /// As [`satisfies`](Self::satisfies), for a principal that is asked for often.
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

    /// Whether its MSP tells roles apart by organizational unit.
    pub fn has_node_units(&self) -> bool {
        self.units_enforced
    }

    /// What a listed administrator must be.
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
        // Of two roles with the same unit, the one that Fabric looks up last counts.
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
