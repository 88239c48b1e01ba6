//! Membership service providers: identities, certificates and roles.
//!
//! An [`MspManager`] has the MSPs of a channel, or only a node's own, and deserializes the [`Identity`] in a
//! message's header. The rules are those of Fabric's X.509 MSPs, version 1.4.3 and later; Idemix is not
//! supported. `policy` decides which signatures are sufficient.

mod certificate;
mod chain;
mod identity;
mod local;
mod principal;
mod revocation;
mod setup;
mod signature;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use fabric_protos::msp::{FabricMspConfig, MspConfig, SerializedIdentity};
use prost::Message;

pub use self::certificate::CertificateError;
pub(crate) use self::certificate::expires_at;
pub use self::chain::ChainError;
pub use self::identity::{Identity, IdentityError};
pub use self::local::LocalMspError;
pub use self::principal::{Principal, role};
pub use self::setup::{Msp, MspError};
pub use self::signature::BadSignature;
pub(crate) use self::signature::remember_own;

/// A signature over P-256 with the lower of the two possible S.
#[cfg(any(test, fuzzing))]
pub(crate) fn low_s(signature: &[u8]) -> Vec<u8> {
    signature::with_low_s(signature, signature::KeyKind::P256).unwrap_or_else(|| signature.to_vec())
}

/// Fabric's number of an X.509 MSP (`msp/msp.go`).
const FABRIC: i32 = 0;
/// The number of identities at which the cache is cleared.
const CACHE_LIMIT: usize = 2_048;

/// The MSPs of a channel, or a node's own. Clones share the MSPs.
#[derive(Clone, Debug)]
pub struct MspManager(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    msps: BTreeMap<String, Msp>,
    /// Whether it is a node's own MSP, which has another error for identities of other MSPs.
    local: bool,
    identities: RwLock<HashMap<Vec<u8>, Arc<Identity>>>,
}

impl MspManager {
    /// The MSPs of a channel, from the values `MSP` of its organizations.
    ///
    /// # Errors
    /// [`MspError`]: one is invalid, or two with the same ID differ.
    pub fn new<'a>(configs: impl IntoIterator<Item = &'a MspConfig>) -> Result<Self, MspError> {
        let mut msps: BTreeMap<String, Msp> = BTreeMap::new();
        for config in configs {
            if config.r#type != FABRIC {
                return Err(MspError::Kind(config.r#type));
            }
            let config = FabricMspConfig::decode(&*config.config)?;
            match msps.get(&config.name) {
                Some(known) if known.config != config => return Err(MspError::TwoVersions(config.name)),
                Some(_) => {}
                None => {
                    msps.insert(config.name.clone(), Msp::new(config)?);
                }
            }
        }
        Ok(Self::of(msps, false))
    }

    /// A node's own MSP.
    ///
    /// # Errors
    /// [`MspError`]: it is invalid.
    pub fn local(config: FabricMspConfig) -> Result<Self, MspError> {
        let msp = Msp::new(config)?;
        Ok(Self::of(BTreeMap::from([(msp.id.clone(), msp)]), true))
    }

    fn of(msps: BTreeMap<String, Msp>, local: bool) -> Self {
        Self(Arc::new(Inner { msps, local, identities: RwLock::default() }))
    }

    /// The MSPs, sorted by ID.
    pub fn msps(&self) -> impl Iterator<Item = &Msp> {
        self.0.msps.values()
    }

    /// The MSP with this ID.
    pub fn msp(&self, id: &str) -> Option<&Msp> {
        self.0.msps.get(id)
    }

    /// Deserializes a `msp.SerializedIdentity`, and validates it as a member.
    ///
    /// # Errors
    /// [`IdentityError`]: the MSP is unknown, the certificate has no chain to a root, it is revoked, or its
    /// organizational units do not make it a member.
    pub fn identity(&self, serialized: &[u8]) -> Result<Arc<Identity>, IdentityError> {
        let identity = self.deserialize(serialized)?;
        identity.validate()?;
        Ok(identity)
    }

    /// Like [`identity`](Self::identity), but accepts revoked identities and those without a role;
    /// [`Identity::validate`] rejects them.
    ///
    /// # Errors
    /// [`IdentityError`]: the MSP is unknown, or the certificate has no chain to a root.
    pub fn deserialize(&self, serialized: &[u8]) -> Result<Arc<Identity>, IdentityError> {
        let known = self.0.identities.read().unwrap_or_else(PoisonError::into_inner).get(serialized).cloned();
        if let Some(identity) = known {
            return Ok(identity);
        }
        let identity = Arc::new(self.parse(serialized)?);
        let mut identities = self.0.identities.write().unwrap_or_else(PoisonError::into_inner);
        if identities.len() >= CACHE_LIMIT {
            identities.clear();
        }
        identities.insert(serialized.to_vec(), identity.clone());
        Ok(identity)
    }

    fn parse(&self, serialized: &[u8]) -> Result<Identity, IdentityError> {
        let SerializedIdentity { mspid, id_bytes } =
            SerializedIdentity::decode(serialized).map_err(|_| IdentityError::Decode)?;
        let Some(msp) = self.0.msps.get(&mspid) else {
            return Err(match self.0.msps.keys().next() {
                Some(expected) if self.0.local => {
                    IdentityError::OtherMsp { expected: expected.clone(), received: mspid }
                }
                _ => IdentityError::UnknownMsp(mspid),
            });
        };
        Identity::new(msp, &id_bytes, certificate::Certificate::from_pem(&id_bytes)?)
    }
}

#[cfg(test)]
mod tests;
