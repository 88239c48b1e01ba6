//! The principals of policies, decoded.

use fabric_protos::common::msp_identity_anonymity::MspIdentityAnonymityType;
use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, MspRole, OrganizationUnit};
use fabric_protos::msp::SerializedIdentity;
use prost::Message;

use super::certificate::pem_content;

/// How deep combined principals may nest. Fabric has no limit.
const DEEPEST: usize = 16;

/// A decoded principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A role in an MSP.
    Role {
        /// The MSP.
        msp_id: String,
        /// The role.
        role: MspRoleType,
    },
    /// An organizational unit with its certifier.
    Unit {
        /// The MSP.
        msp_id: String,
        /// The unit.
        unit: String,
        /// SHA-256 over the chain.
        certifier: Vec<u8>,
    },
    /// One identity.
    Identity {
        /// The MSP.
        msp_id: String,
        /// Its certificate, DER.
        certificate: Vec<u8>,
    },
    /// Anyone who is not anonymous: any identity with a certificate.
    Nominal,
    /// All of these.
    All(Vec<Principal>),
    /// Nobody: anonymous, of an unknown kind, or malformed.
    Nobody,
}

impl Principal {
    /// Decodes a principal. Nobody satisfies a malformed one, as in Fabric.
    pub fn new(principal: &MspPrincipal) -> Self {
        Self::decode(principal, DEEPEST).unwrap_or(Self::Nobody)
    }

    /// The MSP ID in it, if any.
    pub fn msp_id(&self) -> Option<&str> {
        match self {
            Self::Role { msp_id, .. } | Self::Unit { msp_id, .. } | Self::Identity { msp_id, .. } => Some(msp_id),
            Self::All(principals) => principals.iter().find_map(Self::msp_id),
            Self::Nominal | Self::Nobody => None,
        }
    }

    fn decode(principal: &MspPrincipal, depth: usize) -> Option<Self> {
        let bytes = &*principal.principal;
        Some(match Classification::try_from(principal.principal_classification).ok()? {
            Classification::Role => {
                let role = MspRole::decode(bytes).ok()?;
                Self::Role { role: MspRoleType::try_from(role.role).ok()?, msp_id: role.msp_identifier }
            }
            Classification::OrganizationUnit => {
                let unit = OrganizationUnit::decode(bytes).ok()?;
                Self::Unit {
                    msp_id: unit.msp_identifier,
                    unit: unit.organizational_unit_identifier,
                    certifier: unit.certifiers_identifier,
                }
            }
            Classification::Identity => {
                let identity = SerializedIdentity::decode(bytes).ok()?;
                Self::Identity { msp_id: identity.mspid, certificate: pem_content(&identity.id_bytes).ok()? }
            }
            Classification::Anonymity => {
                let anonymity = MspIdentityAnonymity::decode(bytes).ok()?;
                match MspIdentityAnonymityType::try_from(anonymity.anonymity_type).ok()? {
                    MspIdentityAnonymityType::Nominal => Self::Nominal,
                    MspIdentityAnonymityType::Anonymous => Self::Nobody,
                }
            }
            Classification::Combined => {
                let combined = CombinedPrincipal::decode(bytes).ok()?;
                let depth = depth.checked_sub(1)?;
                let parts: Option<Vec<_>> = combined.principals.iter().map(|part| Self::decode(part, depth)).collect();
                Self::All(parts.filter(|parts| !parts.is_empty())?)
            }
        })
    }
}

/// A role in an MSP, as an encoded principal.
pub fn role(msp_id: &str, role: MspRoleType) -> MspPrincipal {
    let principal = MspRole { msp_identifier: msp_id.to_owned(), role: role.into() };
    MspPrincipal { principal_classification: Classification::Role.into(), principal: principal.encode_to_vec() }
}
